"""Distances at some voxels and boxes of labels: both back ends against SciPy, near, far and empty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medframe.base.errors import BadArgument, BadLabel
from medframe.kernels import distances_at, label_boxes

SHAPES = [(7,), (5, 6), (1, 9), (9, 1), (6, 7, 8), (1, 6, 7), (6, 1, 7), (6, 7, 1), (1, 1, 1)]


@pytest.fixture(params=("native", "reference"))
def backend(request, monkeypatch, core):
    monkeypatch.setenv("MEDFRAME_KERNELS", request.param)
    return request.param


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.02, 0.3, 0.95])
def test_distances_are_scipys(backend, shape, density):
    rng = np.random.default_rng(len(shape))
    mask, at = (rng.random(shape) < d for d in (density, 0.4))
    mask.flat[-1] = True
    spacing = (0.7, 1.1, 2.5)[: len(shape)]
    due = ndimage.distance_transform_edt(~mask, sampling=spacing)[at]
    found = distances_at(torch.from_numpy(mask), torch.from_numpy(at), spacing)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, due, rtol=1e-14)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("apart", [1, 60])
def test_near_and_far_surfaces(core, apart, threads):
    """Near ones are searched; far ones would take too long and go through the transform."""
    mask, at = np.zeros((70, 40, 50), bool), np.zeros((70, 40, 50), bool)
    mask[2:5, 5:30, 7:40] = at[2 + apart : 5 + apart, 5:30, 7:40] = True
    due = ndimage.distance_transform_edt(~mask, sampling=(1.5, 0.5, 1.0))[at]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = distances_at(torch.from_numpy(mask), torch.from_numpy(at), (1.5, 0.5, 1.0))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(found, due, rtol=1e-14)


def test_the_search_gives_up_when_it_is_told_to(core):
    mask, at = np.zeros((1, 30, 30, 30), np.uint8), np.zeros((1, 30, 30, 30), np.uint8)
    mask[0, 0, 0, 0] = at[0, -1] = 1
    out = np.empty(900)
    assert not core.distances_at(mask, at, out, [1.0, 1.0, 1.0], 1000, 1)
    assert core.distances_at(mask, at, out, [1.0, 1.0, 1.0], 10**9, 1)
    y, x = np.divmod(np.arange(900), 30)
    np.testing.assert_allclose(out, np.sqrt(29**2 + y**2 + x**2))


def test_the_extension_refuses_what_does_not_fit(core):
    one, out = np.ones((1, 2, 3, 4), np.uint8), np.empty(24)
    for bad in ((one[:, :1], one, out), (one, one, out[:5]), (one, one, out.astype(np.float32)), (one[0], one[0], out)):
        with pytest.raises(ValueError, match=r"."):
            core.distances_at(*bad, [1.0, 1.0, 1.0], 10, 1)
    bounds = np.zeros((2, 3), np.int64)
    for low, high in ((bounds, bounds[:1]), (bounds[:, :2], bounds), (bounds.astype(np.int32), bounds)):
        with pytest.raises(ValueError, match=r"."):
            core.label_boxes(one, low, high)


def test_nothing_to_reach_and_nowhere_to_look(backend):
    nothing, everywhere = torch.zeros(3, 4, dtype=torch.bool), torch.ones(3, 4, dtype=torch.bool)
    assert distances_at(nothing, everywhere, 1.0).tolist() == [float("inf")] * 12
    assert distances_at(everywhere, nothing, 1.0).tolist() == []


def test_views_are_read_as_they_look(backend):
    rng = np.random.default_rng(0)
    mask, at = (torch.from_numpy(rng.random((6, 7, 5)) < 0.3) for _ in range(2))
    turned = distances_at(mask.permute(2, 0, 1), at.permute(2, 0, 1), (3.0, 1.0, 2.0))
    plain = distances_at(mask.permute(2, 0, 1).contiguous(), at.permute(2, 0, 1).contiguous(), (3.0, 1.0, 2.0))
    assert torch.equal(turned, plain)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_boxes_are_scipys(backend, shape, dtype):
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 9, shape)).to(dtype)
    found = label_boxes(labels, 7).tolist()
    slices = ndimage.find_objects(labels.numpy(), 7)
    slices += [None] * (7 - len(slices))
    due = [[[0] * len(shape)] * 2 if box is None else [[s.start for s in box], [s.stop for s in box]] for box in slices]
    assert found == due


def test_negative_and_large_labels_have_no_box(backend):
    labels = torch.tensor([[-3, 300, 2], [0, 2, -1]], dtype=torch.int16)
    assert label_boxes(labels, 2).tolist() == [[[0, 0], [0, 0]], [[0, 1], [2, 3]]]
    assert label_boxes(labels, 0).shape == (0, 2, 2)


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (BadArgument, lambda: distances_at(torch.ones(3, dtype=torch.bool), torch.ones(4, dtype=torch.bool))),
        (BadArgument, lambda: distances_at(torch.ones(3), torch.ones(3))),
        (BadArgument, lambda: distances_at(*[torch.ones(3, dtype=torch.bool)] * 2, (1.0, 2.0))),
        (BadLabel, lambda: label_boxes(torch.ones(3), 1)),
        (BadArgument, lambda: label_boxes(torch.ones(1, 1, 1, 1, dtype=torch.int32), 1)),
        (BadArgument, lambda: label_boxes(torch.ones(3, dtype=torch.int32), -1)),
    ],
)
def test_bad_arguments(error, make):
    with pytest.raises(error):
        make()
