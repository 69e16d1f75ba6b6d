"""Whole-voxel moves: recognised, equal to numpy, and equal to the interpolation they spare."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medframe.base import Rng
from medframe.geometry import Displacement, Interpolation, Space, Warp, homogeneous, knot_lattice, resample, rotation
from medframe.geometry.lossless import move, moves_of, reaches
from medframe.image import TensorSource
from medframe.kernels import pull

law = settings(max_examples=80, deadline=None, database=None)
NUMPY = {"zero": "constant", "border": "edge", "reflect": "reflect", "wrap": "wrap"}


def random_moves(random, d):
    """A signed permutation with an offset, and a shape to fill."""
    order = random.permutation(d)
    linear = np.zeros((d, d))
    linear[order, np.arange(d)] = random.choice([-1, 1], d)
    return Warp(tuple(random.integers(1, 7, d)), (homogeneous(linear, random.integers(-7, 12, d)),))


@law
@given(st.integers(0, 10**9), st.sampled_from([1, 2, 3]), st.sampled_from(sorted(NUMPY)))
def test_moves_are_those_of_numpy(seed, d, border):
    random = Rng(seed).generator()
    block = random.integers(0, 200, (2, *random.integers(1, 7, d))).astype(np.int16)
    warp = random_moves(random, d)
    pad = 20
    extra = {"constant_values": -5} if border == "zero" else {}
    wide = np.pad(block, [(0, 0)] + [(pad, pad)] * d, NUMPY[border], **extra)
    index = warp(np.stack(np.meshgrid(*map(np.arange, warp.shape), indexing="ij"), -1)).astype(int) + pad
    due = wide[(slice(None), *np.moveaxis(index, -1, 0))]
    how = Interpolation(1, border, -5 if border == "zero" else 0)
    source = TensorSource(torch.from_numpy(block))
    out = resample(source, warp, how)
    assert out.dtype == torch.int16
    np.testing.assert_array_equal(out.numpy(), due)
    np.testing.assert_array_equal(move(source.tensor, moves_of(warp), border, how.fill).numpy(), due)


@law
@given(st.integers(0, 10**9), st.sampled_from([1, 2, 3]), st.sampled_from(sorted(NUMPY)), st.sampled_from([0, 1]))
def test_moves_are_the_interpolation_they_spare(seed, d, border, order):
    random = Rng(seed).generator()
    block = torch.from_numpy(random.random((1, *random.integers(1, 7, d))).astype(np.float32))
    warp = random_moves(random, d)
    out = resample(TensorSource(block), warp, Interpolation(order, border, 0.25))
    due = pull(block, warp.kernel_stages, warp.shape, order=order, border=border, fill=0.25)
    torch.testing.assert_close(out, due, atol=1e-6, rtol=0)


@law
@given(st.integers(0, 10**9), st.sampled_from([1, 2, 3]))
def test_only_the_window_that_is_read_is_needed(seed, d):
    random = Rng(seed).generator()
    shape = tuple(random.integers(1, 9, d))
    warp = random_moves(random, d)
    window = reaches(moves_of(warp), shape)
    reads = warp(np.stack(np.meshgrid(*map(np.arange, warp.shape), indexing="ij"), -1)).reshape(-1, d)
    for axis, part in enumerate(window):
        assert 0 <= part.start < part.stop <= shape[axis]
        inside = reads[:, axis][(reads[:, axis] >= 0) & (reads[:, axis] < shape[axis])]
        if len(inside):
            assert (part.start, part.stop) == (inside.min(), inside.max() + 1)


def test_a_copy_where_nothing_lies_outside_is_a_view():
    block = torch.arange(24.0).reshape(1, 4, 6)
    out = resample(TensorSource(block), Warp.window((1, 2), (2, 3)), Interpolation())
    assert out.data_ptr() == block[:, 1:, 2:].data_ptr()
    assert torch.equal(out, block[:, 1:3, 2:5])


@pytest.mark.parametrize(
    ("matrix", "shape", "whole"),
    [
        (np.eye(3), (4, 4), True),
        (homogeneous(np.eye(2), [0.5, 0]), (4, 4), False),
        (homogeneous(np.eye(2), [1e-6, 0]), (4, 4), True),  # what rounding leaves of a header's numbers
        (np.diag([1 + 1e-4, 1, 1]), (5, 4), False),  # off by 4e-4 voxels at the far end
        (np.diag([1 + 1e-6, 1, 1]), (5, 4), True),
        (np.diag([1 + 1e-6, 1, 1]), (5000, 4), False),
        (np.diag([2.0, 1, 1]), (4, 4), False),
        (np.diag([1.4, 1, 1]), (1, 4), True),  # a single voxel has no pitch
        (homogeneous([[1, 1], [0, 1]], [0, 0]), (4, 4), False),
        (homogeneous(rotation([np.pi / 2]), [3, 0]), (4, 4), True),
        (homogeneous(rotation([np.pi / 4]), [3, 0]), (4, 4), False),
        (homogeneous([[1, 0], [1, 0]], [0, 0]), (4, 4), False),
    ],
)
def test_what_is_whole(matrix, shape, whole):
    assert (moves_of(Warp(shape, (matrix,))) is not None) == whole


def test_a_bend_is_never_whole():
    space = Space((4, 4), np.eye(3))
    knots = knot_lattice(space, np.full(2, 2.0))
    bend = Displacement(torch.zeros(2, *knots.shape), knots)
    assert moves_of(Warp.through_world(space, bend)) is None
