"""Pipelines: random streams, choices, explanations."""

from collections import Counter

import numpy as np
import pytest
import torch

from medframe.base import BadArgument, BadLabel, Rng
from medframe.image import Image, LabelMap
from medframe.transforms import (
    Compose,
    CropForeground,
    Elastic,
    Flip,
    GaussianNoise,
    Lambda,
    Normalize,
    OneOf,
    Orientation,
    RandomCrop,
    Rotate,
    Scale,
    Settle,
    SomeOf,
    Spacing,
)

DATA = torch.from_numpy(Rng(0).generator().random((1, 12, 13, 14)).astype(np.float32))
LPS = np.diag([-1.0, -1.0, 2.0, 1.0])


def sample():
    return {"image": Image(DATA, LPS), "label": LabelMap((DATA * 3).to(torch.uint8), LPS)}


def drawn(pipeline, name, count=0):
    """The key of a step's stream."""
    streams = [(type(step).__name__, rng) for step, rng in pipeline.streams(Rng(5))]
    return [rng for kind, rng in streams if kind == name][count]


def test_adding_or_moving_a_step_leaves_the_draws_of_the_others():
    short = Compose([Rotate(), GaussianNoise()])
    long = Compose([GaussianNoise(), Flip(0), Normalize(), Rotate()])
    for name in ("Rotate", "GaussianNoise"):
        assert drawn(short, name) == drawn(long, name)
    twice = Compose([Rotate(), Scale(), Rotate()])
    assert drawn(twice, "Rotate", 0) != drawn(twice, "Rotate", 1)
    # seen from outside: noise is the same field with or without steps before it
    noise = GaussianNoise(1.0)
    plain = Compose([noise])(torch.zeros(1, 5, 5), Rng(1))
    assert torch.equal(plain, Compose([Flip(0), Normalize(), noise])(torch.zeros(1, 5, 5), Rng(1)))


def test_nested_pipelines_draw_for_themselves():
    two = Compose([Compose([GaussianNoise(1.0)]), Compose([GaussianNoise(1.0)])])
    once, twice = two.steps[0](torch.zeros(1, 9), Rng(0)), two(torch.zeros(1, 9), Rng(0))
    assert not torch.equal(once, twice)
    assert not torch.equal(twice, 2 * once)


def test_a_chain_is_interpolated_once():
    chain = Compose(
        [Orientation("RAS"), Spacing(1.5), Rotate(20), Scale(1.1), Elastic(2.0, 8.0), RandomCrop((4, 5, 6))]
    )
    told = chain.explain(sample(), Rng(0))
    assert told.interpolations == 2  # the image and the label map, each once, when the batch asks
    assert [step.waiting for step in told.steps] == [2, 2, 2, 2, 2, 2, 0]
    (image_read, label_read) = told.steps[-1].reads
    assert image_read.shape == (1, 4, 5, 6)
    assert image_read.stages == "M D M"
    assert all(read <= whole for read, whole in zip(image_read.window, DATA.shape, strict=True))
    assert "(batch)" in str(told)
    assert "interpolated" in repr(told)
    assert label_read.kind == "interpolated"


def test_explain_names_what_cuts_the_chain():
    told = Compose([Spacing(1.5), Normalize(), Rotate(10)]).explain(sample(), Rng(0))
    assert [len(step.reads) for step in told.steps] == [0, 1, 0, 2]
    assert told.interpolations == 3  # Normalize read the image; Rotate has it interpolated again
    assert Compose([Flip(0), CropForeground(0.5)]).explain(DATA).interpolations == 0
    assert [r.kind for r in Compose([Flip(0)]).explain(Image(DATA)).steps[-1].reads] == ["copy"]
    assert str(Compose([Flip(0)]).explain(sample())).startswith("Flip()")
    assert Compose([Settle()]).explain(sample()).steps[0].reads == ()


def test_a_patch_reads_a_patch():
    large = Image(torch.zeros(1, 64, 64, 64))
    told = Compose([Rotate(10), RandomCrop((8, 8, 8))]).explain(large, Rng(3))
    (read,) = told.steps[-1].reads
    assert max(read.window[1:]) <= 16


def test_one_of_picks_by_weight():
    step = OneOf([Flip(0), Flip(1), Flip(2)], weights=(1, 3, 0))
    flipped = [DATA.flip(k + 1) for k in range(3)]
    seen = Counter()
    for k in range(400):
        out = step(DATA, Rng(k))
        seen[next(i for i, due in enumerate(flipped) if torch.equal(out, due))] += 1
    assert seen[2] == 0
    assert 70 < seen[0] < 130
    assert not OneOf([Flip(0)]).random
    assert OneOf([Flip(0), Flip(1)]).random


def test_some_of_keeps_the_order():
    steps = [Lambda(_plus_one), Lambda(_double), Lambda(_square)]
    chosen = {float(SomeOf(steps, 2)(torch.tensor([[3.0]]), Rng(k))) for k in range(40)}
    assert chosen == {8.0, 16.0, 36.0}  # (3 + 1) * 2, (3 + 1)^2, (3 * 2)^2
    counts = Counter(float(SomeOf([Lambda(_double)] * 3, (0, 3))(torch.tensor([[1.0]]), Rng(k))) for k in range(200))
    assert set(counts) == {1.0, 2.0, 4.0, 8.0}
    assert min(counts.values()) > 25
    assert not SomeOf([Flip(0), Flip(1)], 2).random
    assert SomeOf([Flip(0), Flip(1)], 1).random


def test_steps_after_several_crops_act_on_each():
    chain = Compose([RandomCrop((4, 4, 4), count=3), GaussianNoise(0.5), RandomCrop((2, 2, 2), count=2)])
    made = chain(sample(), Rng(0))
    assert len(made) == 6
    assert {m["image"].shape for m in made} == {(1, 2, 2, 2)}
    assert len({m["image"].data.sum().item() for m in made}) == 6


def test_p_of_a_pipeline_is_for_all_of_it():
    chain = Compose([Flip(0), Flip(1)], p=0.5)
    outcomes = {tuple(chain(DATA, Rng(k)).flatten()[:3].tolist()) for k in range(30)}
    assert outcomes == {tuple(x.flatten()[:3].tolist()) for x in (DATA, DATA.flip(1, 2))}


def _plus_one(data):
    return data + 1


def _double(data):
    return data * 2


def _square(data):
    return data**2


def test_lambda():
    assert torch.equal(Lambda(_double)(DATA), DATA * 2)
    labels = Lambda(_double, labels=True)(sample())
    assert torch.equal(labels["label"].data, (DATA * 3).to(torch.uint8) * 2)
    assert torch.equal(labels["image"].data, DATA)
    with pytest.raises(BadLabel, match="float32"):
        Lambda(torch.Tensor.float, labels=True)(sample())
    # what a cache is named by: function, members and chance
    shown = [
        repr(Lambda(f, **kw)) for f in (_double, _square) for kw in ({}, {"keys": "a"}, {"p": 0.5}, {"labels": True})
    ]
    assert len(set(shown)) == 8
    assert shown[1].endswith("test_transforms_compose._double, keys='a')")
    assert "0x" not in "".join(shown)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Compose([Flip(0), DATA.flip]), "takes transforms"),
        (lambda: Compose(7), "takes transforms; found 7"),
        (lambda: OneOf([]), "at least one step"),
        (lambda: OneOf([Flip(0)], weights=(1, 2)), "expected 1 numbers"),
        (lambda: OneOf([Flip(0)], weights=(0,)), "non-negative weight"),
        (lambda: SomeOf([Flip(0)], 2), "found 2; expected 0 to 1"),
        (lambda: SomeOf([Flip(0)], (1, 0)), "expected 0 to 1"),
        (lambda: Lambda("abs"), "found str"),
    ],
)
def test_bad_parameters_are_refused(make, match):
    with pytest.raises(BadArgument, match=match):
        make()
