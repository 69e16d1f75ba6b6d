"""What chooses the best weights must count what it says it counts."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medframe.image import Image, LabelMap
from medframe.metrics import Dice, score_case
from medframe.networks import DynUNet
from medframe.plan.config import RunConfig
from medframe.plan.pipeline import build_inferer, build_loss, build_optimiser
from medframe.plan.training import Monitor


class Painter(torch.nn.Module):
    """Sees class 1 above 0.5 and class 2 above 1.5."""

    multiple = (1, 1, 1)

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        shares = torch.cat([(x < 0.5), (x >= 0.5) & (x < 1.5), x >= 1.5], 1)
        return shares.float() * 20


def test_monitor_dice_is_the_mean_of_the_cases_dice():
    generator = torch.Generator().manual_seed(0)
    samples, due = [], {1: [], 2: []}
    for k in range(3):
        truth = torch.randint(0, 3, (1, 6, 7, 5), generator=generator).to(torch.uint8)
        seen = torch.randint(0, 3, (1, 6, 7, 5), generator=generator).float()
        samples.append({"image": Image(seen), "label": LabelMap(truth)})
        rows = score_case(seen[0].to(torch.uint8), truth[0], (1, 1, 1), {1: "a", 2: "b"}, (Dice(),), case=str(k))
        for row in rows:
            due[row.label].append(row["dice"])
    config = RunConfig(classes={0: "background", 1: "a", 2: "b"}, patch=(8, 8, 8))
    step = SimpleNamespace(eval_model=Painter(), precision="float32")

    class Cases(list):
        settled = list.__getitem__

    scores = Monitor(config, step, Cases(samples), "cpu")()
    assert scores["dice a"] == pytest.approx(np.mean(due[1]))
    assert scores["dice b"] == pytest.approx(np.mean(due[2]))
    assert scores["dice"] == pytest.approx(np.mean([np.mean(due[1]), np.mean(due[2])]))


def test_small_cases_are_predicted_at_once_and_large_ones_by_windows():
    config = RunConfig(patch=(16, 16, 16))
    assert type(build_inferer(config, (17, 20, 18), (4, 4, 4), "float32")).__name__ == "WholeImage"
    assert type(build_inferer(config, (64, 64, 64), (4, 4, 4), "float32")).__name__ == "SlidingWindow"


def test_norms_and_biases_are_not_decayed():
    network = DynUNet(3, 1, 2, [3, 3], [1, 2], channels=[4, 8])
    groups = build_optimiser(RunConfig(weight_decay=0.1), network).param_groups
    assert {g["weight_decay"] for g in groups} == {0.1, 0.0}
    assert all(p.ndim <= 1 for g in groups if g["weight_decay"] == 0.0 for p in g["params"])
    assert sum(len(g["params"]) for g in groups) == len(list(network.parameters()))
    assert build_optimiser(RunConfig(optimiser="sgd"), network).defaults["nesterov"]


def test_the_loss_follows_deep_supervision():
    assert type(build_loss(RunConfig(deep_supervision=True))).__name__ == "DeepSupervisionLoss"
    assert type(build_loss(RunConfig(deep_supervision=False))).__name__ == "DiceCELoss"
