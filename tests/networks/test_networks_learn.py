"""Networks learn: segmentation of two real cases, a real classification task, and the making of real slices.

MEDFRAME_LEARN_RECORD=FILE keeps what was reached as JSON, from which docs/networks.md makes its table.
"""

import json
import os
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import scipy.stats
import torch
from slices import autoencoder, diffusion, draw, means, pneumonia

from medframe import networks
from medframe.losses import DeepSupervisionLoss, DiceCELoss
from medframe.networks import ResNet

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
HIPPOCAMPUS = DATA / "msd_hippocampus"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not DATA.exists(), reason="../shared/data is absent"),
]

THREE = {"kernel_size": [3] * 3, "strides": [1, 2, 2], "channels": (8, 16, 32)}
FEATURES = {"features": (8, 8, 16, 16, 32, 8)}
STAGES = {"channels": (8, 16, 32), "strides": (2, 2)}
BLOCKS = {"blocks_down": (1, 1, 1), "blocks_up": (1, 1), "init_filters": 8}
LAYERS = (
    {"name": "conv_0", "n_features": 8, "kernel_size": 3},
    {"name": "res_1", "n_features": 8, "kernels": (3, 3), "repeat": 2},
    {"name": "res_2", "n_features": 16, "kernels": (3, 3), "repeat": 2},
    {"name": "conv_1", "n_features": 16, "kernel_size": 1},
    {"name": "conv_2", "kernel_size": 1},
)
SMALL, LARGE = (24, 32, 24), (32, 32, 32)
# the smallest sensible form of each, the size of its crops, and how many steps it may take
SEGMENTATION = {
    "UNet": ({**STAGES, "num_res_units": 1}, SMALL, 300),
    "DynUNet": ({**THREE, "deep_supervision": True}, SMALL, 200),
    "ResEncUNet": ({**THREE, "n_blocks_per_stage": (1, 1, 1)}, SMALL, 200),
    "BasicUNet": (FEATURES, LARGE, 200),
    "UNetPlusPlus": (FEATURES, LARGE, 200),
    "AttentionUNet": (STAGES, SMALL, 300),
    "FlexibleUNet": (
        {"backbone": "resnet10", "decoder_channels": (32, 16, 16, 8, 8)},
        (32, 64, 32),
        300,
    ),
    "SegResNet": (BLOCKS, SMALL, 200),
    "SegResNetDS": ({**BLOCKS, "dsdepth": 2}, SMALL, 200),
    "SegResNetVAE": ({**BLOCKS, "input_image_size": SMALL, "vae_nz": 4}, SMALL, 300),
    "VNet": ({"init_filters": 4}, LARGE, 300),
    "HighResNet": ({"layer_params": LAYERS}, SMALL, 300),
    "MedNeXt": ({"init_filters": 8, "blocks_down": (1, 1), "blocks_up": (1, 1), "blocks_bottleneck": 1}, SMALL, 300),
    "UNETR": ({"img_size": LARGE, "feature_size": 8, "hidden_size": 48, "mlp_dim": 96, "num_heads": 4}, LARGE, 300),
    "SwinUNETR": (
        {"feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 4), "window_size": 4},
        (32, 64, 32),
        300,
    ),
}
_SEEN: dict[str, dict[str, object]] = {}


@pytest.fixture(scope="module", autouse=True)
def record():
    yield
    path = os.environ.get("MEDFRAME_LEARN_RECORD")
    if path:
        Path(path).write_text(json.dumps({"torch": torch.__version__, "reached": _SEEN}, indent=1) + "\n")


def keep(name, start, **found):
    _SEEN[name] = {**{k: round(v, 4) for k, v in found.items()}, "seconds": round(time.process_time() - start, 1)}
    print(name, _SEEN[name])


def cases(size):
    """Two cases, (2, 1, *size) normalised intensities and labels, cut around the hippocampus or padded."""
    images, labels = [], []
    for path in sorted((HIPPOCAMPUS / "labelsTr").glob("hippo*.nii*"))[:2]:
        label = np.asarray(nibabel.load(path).dataobj).astype(np.int64)
        image = np.asarray(nibabel.load(HIPPOCAMPUS / "imagesTr" / path.name).dataobj).astype(np.float32)
        image = (image - image.mean()) / image.std()
        centre = [int(i.mean()) for i in np.nonzero(label)]
        pad = [(n, n) for n in size]
        cut = tuple(slice(n + c - n // 2, n + c + n - n // 2) for n, c in zip(size, centre, strict=True))
        images.append(np.pad(image, pad)[cut])
        labels.append(np.pad(label, pad)[cut])
    return torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.stack(labels))[:, None]


def worst_dice(network, x, labels):
    """The lower Dice of the two parts, over both cases."""
    with torch.no_grad():
        answer = network.eval()(x)
    network.train()
    answer = answer[0] if isinstance(answer, list | tuple) else answer
    found = answer.argmax(1, keepdim=True)
    return min(
        float(2 * ((found == c) & (labels == c)).sum() / ((found == c).sum() + (labels == c).sum())) for c in (1, 2)
    )


@pytest.mark.parametrize("name", SEGMENTATION)
def test_overfits_two_cases(name):
    args, size, steps = SEGMENTATION[name]
    x, labels = cases(size)
    torch.manual_seed(0)
    network = getattr(networks, name)(spatial_dims=3, in_channels=1, out_channels=3, **args)
    optimiser = torch.optim.AdamW(network.parameters(), 4e-3)
    rate = torch.optim.lr_scheduler.LinearLR(optimiser, 0.1, 1.0, 10)
    loss = DeepSupervisionLoss(DiceCELoss(include_background=False, batch=True))
    start, dice = time.process_time(), 0.0
    for step in range(1, steps + 1):
        answer, more = network(x), 0.0
        if name == "SegResNetVAE":
            answer, more = answer
        optimiser.zero_grad()
        (loss(answer, labels) + 0.01 * more).backward()
        optimiser.step()
        rate.step()
        if step % 10 == 0:
            dice = worst_dice(network, x, labels)
            if dice > 0.9:
                break
    keep(name, start, parameters=sum(p.numel() for p in network.parameters()), steps=step, dice=dice)
    assert dice > 0.9


def area_under_curve(scores, truth):
    """From ranks: the share of pairs that stand in the right order."""
    ranks = scipy.stats.rankdata(scores)
    there = truth > 0
    positives, negatives = there.sum(), (~there).sum()
    return (ranks[there].sum() - positives * (positives + 1) / 2) / (positives * negatives)


def test_a_classifier_reaches_the_published_range():
    """Published with the data: J. Yang et al., "MedMNIST v2", Scientific Data 2023, doi:10.1038/s41597-022-01721-8."""
    x, y = pneumonia("train")
    held_out, truth = pneumonia("val")
    torch.manual_seed(0)
    network = ResNet(2, 1, 1, depth=18, features=16, conv1_kernel_size=3, conv1_stride=1, max_pool=False)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.02)
    epochs, batch = 4, 64
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * (len(x) // batch))
    weight = (y == 0).sum() / (y == 1).sum()
    start = time.process_time()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for chosen in order[: len(x) // batch * batch].split(batch):
            dx, dy = torch.randint(-2, 3, (2,)).tolist()
            shifted = x[chosen].roll((dx, dy), (2, 3))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                network(shifted)[:, 0], y[chosen], pos_weight=weight
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
    with torch.no_grad():
        scores = network.eval()(held_out)[:, 0].numpy()
    found = float(area_under_curve(scores, truth.numpy()))
    keep("ResNet", start, auc=found)
    assert found > 0.97


def test_an_autoencoder_learns_slices():
    start, (x, _), (held_out, _) = time.process_time(), pneumonia("train"), pneumonia("val")
    network, losses = autoencoder(x, 150)
    first, last = means(losses)
    with torch.no_grad():
        error = float((network(held_out[:64])[0] - held_out[:64]).abs().mean())
    alike = float((held_out[:64] - x.mean(0)).abs().mean())
    keep("AutoencoderKL", start, first=first, last=last, error=error, error_of_mean=alike)
    assert last < 0.4 * first
    assert error < 0.5 * alike  # far better than to give every image the mean one


def test_a_diffusion_network_learns_slices():
    start, (x, _) = time.process_time(), pneumonia("train")
    x = torch.nn.functional.interpolate(x, (16, 16), mode="area")
    network, losses = diffusion(x, 300)
    first, last = means(losses)
    drawn = draw(network, 16, (16, 16))
    apart, blank = float((drawn.mean(0) - x.mean(0)).abs().mean()), float(x.mean(0).abs().mean())
    keep("DiffusionModelUNet", start, first=first, last=last, apart=apart, apart_of_noise=blank)
    assert last < 0.25 * first
    assert apart < 0.7 * blank  # the mean of what it draws is nearer to that of what it saw than noise is
