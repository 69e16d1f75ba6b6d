"""The algebra of warps: composition, inversion, and the window of what is read."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medframe.base import BadGeometry, Rng
from medframe.geometry import Displacement, Space, Warp, about, homogeneous, knot_lattice, rotation

law = settings(max_examples=60, deadline=None, database=None)


def random_space(random, d):
    affine = np.eye(d + 1)
    affine[:-1, :-1] = rotation(random.uniform(-3, 3, 1 if d == 2 else 3)) * random.uniform(0.5, 3, d)
    affine[:-1, -1] = random.uniform(-50, 50, d)
    return Space(tuple(random.integers(2, 12, d)), affine)


def random_bend(random, space, order=3):
    knots = knot_lattice(space, np.full(space.ndim, 8.0))
    values = random.uniform(-0.1, 0.1, (space.ndim, *knots.shape)) * knots.spacing.min()
    return Displacement(torch.from_numpy(values.astype(np.float32)), knots, order)


def random_warp(random, space, bends):
    """An affine warp of `space`, with a displacement in it if asked for."""
    linear = rotation(random.uniform(-3, 3, 1 if space.ndim == 2 else 3)) * random.uniform(0.5, 2, space.ndim)
    shape = tuple(random.integers(2, 12, space.ndim))
    warp = Warp.about_centre(space, linear, shape)
    return Warp.through_world(space, random_bend(random, space)).then(warp) if bends else warp


@law
@given(st.integers(0, 10**9), st.sampled_from([2, 3]), st.booleans(), st.booleans())
def test_then_is_one_after_the_other(seed, d, first_bends, second_bends):
    random = Rng(seed).generator()
    space = random_space(random, d)
    first = random_warp(random, space, first_bends)
    between = Space(first.shape, space.affine @ first.matrix)
    second = random_warp(random, between, second_bends)
    index = random.uniform(-3, 15, (9, d))
    both = first.then(second)
    assert both.shape == second.shape
    np.testing.assert_allclose(both(index), first(second(index)), atol=1e-8)
    assert len(both.stages) <= 3 + 2 * (first_bends and second_bends)  # neighbours are one matrix


@law
@given(st.integers(0, 10**9), st.sampled_from([2, 3]), st.booleans())
def test_invert_leads_back(seed, d, bends):
    random = Rng(seed).generator()
    space = random_space(random, d)
    warp = random_warp(random, space, bends)
    back = warp.invert(space.shape)
    assert back.shape == space.shape
    index = random.uniform(-1, 12, (9, d))
    np.testing.assert_allclose(back(warp(index)), index, atol=1e-4)
    whole = warp.then(back)
    assert not whole.displacements  # there and back again is no deformation at all
    np.testing.assert_allclose(whole.matrix, np.eye(d + 1), atol=1e-9)


@law
@given(st.integers(0, 10**9), st.sampled_from([1, 2, 3]), st.booleans(), st.integers(0, 3))
def test_the_footprint_holds_every_read(seed, d, bends, margin):
    random = Rng(seed).generator()
    space = random_space(random, d) if d > 1 else Space((9,), np.diag([random.uniform(0.5, 2), 1.0]))
    if d > 1:
        warp = random_warp(random, space, bends)
    else:
        warp = Warp((5,), (homogeneous([[random.uniform(-2, 2)]], random.uniform(-9, 9, 1)),))
    lo, hi = warp.bounds()
    corners = np.stack(np.meshgrid(*map(np.arange, warp.shape), indexing="ij"), -1).reshape(-1, d)
    reads = warp(corners)
    assert (reads >= lo - 1e-6).all()
    assert (reads <= hi + 1e-6).all()
    window = warp.footprint(space.shape, margin)
    for axis, part in enumerate(window):
        assert 0 <= part.start < part.stop <= space.shape[axis]
        inside = reads[:, axis][(reads[:, axis] >= 0) & (reads[:, axis] <= space.shape[axis] - 1)]
        if len(inside):
            assert part.start <= max(np.floor(inside.min() + 1e-6) - margin, 0)
            assert part.stop > min(np.ceil(inside.max() - 1e-6) + margin, space.shape[axis] - 1)


def test_the_footprint_of_a_window_is_the_window():
    warp = Warp.window((3, -2), (4, 5))
    assert warp.footprint((10, 10)) == (slice(3, 7), slice(0, 3))
    assert warp.footprint((10, 10), 1) == (slice(2, 8), slice(0, 4))
    assert Warp.window((30, 0), (4, 5)).footprint((10, 10)) == (slice(9, 10), slice(0, 5))  # never empty


def test_constructors():
    space = Space((5, 4), np.diag([2.0, 3.0, 1.0]))
    np.testing.assert_allclose(Warp.window((1, 2), (3, 3))([0, 0]), [1, 2])
    np.testing.assert_allclose(Warp.about_centre(space, 2 * np.eye(2))(space.centre), space.centre)
    np.testing.assert_allclose(Warp.about_centre(space, np.eye(2), (3, 4))([0, 0]), [1, 0])
    other = Space((2, 2), np.array([[0, 1.0, 4], [1.0, 0, 3], [0, 0, 1]]))
    np.testing.assert_allclose(Warp.between(space, other)([1, 2]), [3, 4 / 3])  # world (6, 4)
    shift = homogeneous(np.eye(2), [2, 0])
    np.testing.assert_allclose(Warp.through_world(space, shift)([0, 0]), [1, 0])
    np.testing.assert_allclose(about([1, 2], -np.eye(2)) @ [1, 2, 1], [1, 2, 1])
    with pytest.raises(BadGeometry, match=r"found \(3, 3\); expected rank 2"):
        about([1, 2], np.eye(3))


def test_reads_counted_from_a_window():
    warp = Warp.window((3, 4), (2, 2))
    np.testing.assert_allclose(warp.from_window((3, 1))([0, 0]), [0, 3])


def test_matrices_merge_and_bends_cancel():
    random = Rng(0).generator()
    space = random_space(random, 3)
    one, two = random_bend(random, space), random_bend(random, space)
    a, b = np.diag([2.0, 1, 1, 1]), np.diag([1, 3.0, 1, 1])
    assert len(Warp(space.shape, (a, b, a)).stages) == 1
    np.testing.assert_allclose(Warp(space.shape, (a, b)).matrix, b @ a)
    assert len(Warp(space.shape, (a, one, b, b, two, a)).stages) == 5
    assert len(Warp(space.shape, (a, one, one.inverted, b)).stages) == 1
    assert len(Warp(space.shape, (a, one, b, np.linalg.inv(b), one.inverted, b)).stages) == 1
    assert len(Warp(space.shape, (a, one, two, two.inverted, one.inverted)).stages) == 1
    assert len(Warp(space.shape, (a, one, two.inverted)).displacements) == 2
    assert len(Warp(space.shape, ()).stages) == 1
    assert Warp((3, 3), ()).matrix.tolist() == np.eye(3).tolist()
