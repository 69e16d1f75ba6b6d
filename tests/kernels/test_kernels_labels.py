"""Decisions while resampling, against volumes that are made for every class and compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medframe.base.errors import BadArgument, BadLabel
from medframe.kernels import label_vote, logit_argmax, native, reference
from medframe.kernels.stages import BORDERS, Knots

DTYPES = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32, torch.int64, torch.bool)
SHAPES = {  # output, input
    1: (((21,), (13,)), ((4,), (1,)), ((300,), (270,))),
    2: (((11, 17), (13, 9)), ((6, 7), (1, 8)), ((5, 5), (8, 1))),
    3: (((9, 8, 11), (9, 12, 11)), ((6, 7, 5), (1, 7, 9)), ((4, 5, 6), (7, 9, 1))),
}


def labels_of(rng, shape, dtype):
    """Blobs of a few classes, so that cells of one class and borders of two and three occur; extreme values too."""
    classes = torch.tensor([0, 1]) if dtype == torch.bool else torch.tensor([0, 3, 5, torch.iinfo(dtype).max])
    coarse = rng.integers(0, len(classes), (2, *[-(-n // 2) for n in shape]))
    for axis, n in enumerate(shape, start=1):
        coarse = coarse.repeat(2, axis).take(range(n), axis)
    return classes[torch.from_numpy(coarse)].to(dtype)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_native_vote_is_the_vote_of_one_hot_volumes(core, chain, kind, rank, border):
    for n, (shape, in_shape) in enumerate(SHAPES[rank]):
        rng = np.random.default_rng(n)
        stages = chain(kind, rng, shape, in_shape)
        dtype = DTYPES[(n + rank + BORDERS.index(border)) % len(DTYPES)]
        labels = labels_of(rng, in_shape, dtype)
        options = {"order": 1, "border": border, "fill": 1.0, "smooth": (0.0,) * rank}
        assert native.declines_label_vote(labels, stages, shape, **options) is None
        due = reference.label_vote(labels, stages, shape, **options)
        found = native.label_vote(labels, stages, shape, **options)
        assert found.dtype == dtype
        if any(isinstance(s, Knots) for s in stages):  # float32 displacements: equal where the vote is clear
            assert (found != due).float().mean() < 0.01
        else:
            assert torch.equal(found, due)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_ties_go_to_the_lowest_class(core, dtype):
    labels = labels_of(np.random.default_rng(0), (12, 11, 10), dtype)
    twice = np.diag([0.5, 0.5, 0.5, 1.0])  # every other voxel lies half way between two, four or eight
    turned = np.eye(4)
    turned[:2, :2] = [[0.5, 0.5], [-0.5, 0.5]]
    turned[1, 3] = 5
    for matrix in (twice, turned):
        options = {"order": 1, "border": "zero", "fill": 2.0, "smooth": (0.0,) * 3}
        due = reference.label_vote(labels, [matrix], (21, 20, 19), **options)
        assert torch.equal(native.label_vote(labels, [matrix], (21, 20, 19), **options), due)


@pytest.mark.parametrize(("order", "smooth"), [(3, None), (1, (0.8, 0.0, 0.5)), (3, (0.5, 0.5, 0.5))])
def test_splines_and_blurred_classes_vote_the_same(core, order, smooth, monkeypatch):
    rng = np.random.default_rng(4)
    labels = labels_of(rng, (9, 8, 10), torch.int16)
    matrix = np.diag([0.75, 0.5, 0.6, 1.0])
    found = label_vote(labels, [matrix], (10, 12, 11), order=order, smooth=smooth)
    monkeypatch.setenv("MEDFRAME_KERNELS", "reference")
    assert torch.equal(found, label_vote(labels, [matrix], (10, 12, 11), order=order, smooth=smooth))


def test_the_rule_of_ties_by_hand():
    """Shares within 1e-6 are equal; a class that leads by more wins, whatever its value."""
    labels = torch.tensor([[7, 2]], dtype=torch.uint8)
    places = [0.5, 0.5 - 4e-7, 0.5 + 4e-7, 0.5 - 1e-5, 0.5 + 1e-5]
    for back_end in [reference.label_vote] + ([native.label_vote] if native.core() else []):
        found = [
            int(
                back_end(
                    labels,
                    [np.array([[1, place], [0, 1]])],
                    (1,),
                    order=1,
                    border="zero",
                    fill=0.0,
                    smooth=(0.0,),
                )
            )
            for place in places
        ]
        assert found == [2, 2, 2, 7, 2]


def test_the_number_of_threads_changes_no_label(core):
    labels = labels_of(np.random.default_rng(2), (40, 41, 39), torch.uint8)
    matrix = np.eye(4)
    matrix[0, 1], matrix[1, 0] = 0.3, -0.3
    found = []
    for threads in (1, 2, 3):  # the fixture sets it back
        torch.set_num_threads(threads)
        found.append(label_vote(labels, [matrix], (40, 41, 39)))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": torch.zeros(1, 4, 4)}, BadLabel, "integer"),
        ({"order": 0}, BadArgument, "pull"),
        ({"order": 2}, BadArgument, "order"),
        ({"smooth": (1.0,)}, BadArgument, "sigma"),
        ({"shape": (0, 4)}, BadArgument, "empty"),
    ],
)
def test_bad_votes_are_told(change, error, message):
    call = {"labels": torch.zeros(1, 4, 4, dtype=torch.uint8), "stages": [np.eye(3)], "shape": (4, 4), **change}
    with pytest.raises(error, match=message):
        label_vote(call.pop("labels"), call.pop("stages"), call.pop("shape"), **call)


LOGITS = (torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_decision_is_that_of_resampled_volumes(core, chain, kind, rank, order):
    for n, (shape, in_shape) in enumerate(SHAPES[rank]):
        classes = 1 if n == 1 else 4
        rng = np.random.default_rng(n)
        stages = chain(kind, rng, shape, in_shape)
        border, dtype = BORDERS[(n + order) % 4], LOGITS[(n + rank) % 3]
        logits = torch.from_numpy(rng.normal(size=(classes, *in_shape))).to(dtype)
        fill = [2.0, -1.0, 0.5, 3.0][:classes]
        each = [
            reference.pull(
                logits[k : k + 1].double(), stages, shape, order=order, border=border, fill=fill[k], dtype=torch.float64
            )
            for k in range(classes)
        ]
        volumes = torch.cat(each)
        options = {"order": order, "border": border, "fill": fill}
        likely = logit_argmax(logits, stages, shape, **options, probabilities=[1, 0])
        if classes == 1:
            due, margin = (volumes > 0).long(), volumes.abs()
            share = torch.cat([torch.sigmoid(volumes), torch.sigmoid(-volumes)])
        else:
            top = volumes.topk(2, 0).values
            due, margin = volumes.argmax(0, keepdim=True), top[:1] - top[1:]
            share = torch.softmax(volumes, 0)[[1, 0]]
        labels = logit_argmax(logits, stages, shape, **options)
        assert labels.shape == (1, *shape)
        assert labels.dtype == torch.uint8
        clear = margin > 1e-3
        assert clear.any()
        assert torch.equal(labels.long()[clear], due[clear])
        assert likely.dtype == torch.float32
        assert float((likely - share).abs().max()) < 1e-3
        monkey = {**options, "dtype": torch.int16, "probabilities": None}
        told = reference.logit_argmax(logits, stages, shape, **monkey)
        assert torch.equal(told.long()[clear], due[clear])


def test_equal_logits_and_numbers_that_are_none(core):
    logits = torch.tensor([[1.0, 2.0, float("nan"), 0.0], [1.0, 3.0, 1.0, float("nan")]])
    for back_end in (native, reference):
        found = back_end.logit_argmax(
            logits,
            [np.eye(2)],
            (4,),
            order=0,
            border="border",
            fill=[0.0, 0.0],
            dtype=torch.uint8,
            probabilities=None,
        )
        assert found.tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(2, 4, 4, dtype=torch.int16)}, "floating"),
        ({"dtype": torch.int32}, "hold"),
        ({"logits": torch.zeros(257, 4, 4)}, "hold"),
        ({"fill": (1.0, 2.0, 3.0)}, "fill"),
        ({"probabilities": [2]}, "class"),
        ({"probabilities": []}, "class"),
    ],
)
def test_bad_decisions_are_told(change, message):
    call = {"logits": torch.zeros(2, 4, 4), "stages": [np.eye(3)], "shape": (4, 4), **change}
    with pytest.raises(BadArgument, match=message):
        logit_argmax(call.pop("logits"), call.pop("stages"), call.pop("shape"), **call)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_read_and_written_exactly(core, dtype):
    """All bit patterns through a copy of order 1, to float32 and back, are what torch makes of them."""
    every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(dtype)
    volume = every[every.isfinite()].reshape(1, 1, -1)
    shape = tuple(volume.shape[1:])
    options = {"order": 1, "border": "border", "fill": 0.0}
    wide = native.pull(volume, [np.eye(3)], shape, **options, dtype=torch.float32)
    assert torch.equal(wide, volume.float())
    for stages in ([np.eye(3)], [np.eye(3), Knots(torch.zeros(2, 2, 2), np.eye(3), 1)]):
        assert torch.equal(native.pull(volume, stages, shape, **options, dtype=dtype), volume)
    between = native.pull(volume, [np.array([[1, 0, 0], [0, 1, 0.3], [0, 0, 1.0]])], shape, **options, dtype=dtype)
    exact = native.pull(
        volume, [np.array([[1, 0, 0], [0, 1, 0.3], [0, 0, 1.0]])], shape, **options, dtype=torch.float32
    )
    assert torch.equal(between, exact.to(dtype))
