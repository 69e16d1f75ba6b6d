"""Displacements: folding refused, slopes against finite differences, the inverse, what lies beyond the knots."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medframe.base import BadGeometry, Rng
from medframe.geometry import Displacement, Space, knot_lattice, rotation
from medframe.geometry.displacement import smallest_stretch

law = settings(max_examples=12, deadline=None, database=None)


def random_knots(random, d):
    affine = np.eye(d + 1)
    affine[:-1, :-1] = rotation(random.uniform(-3, 3, 1 if d == 2 else 3)) * random.uniform(4, 9, d)
    affine[:-1, -1] = random.uniform(-30, 30, d)
    return Space(tuple(random.integers(2, 5, d)), affine)


def bend(random, d, order):
    """As large as surely does not fold: no slope matrix reaches a norm of 1."""
    knots = random_knots(random, d)
    most = 0.45 * knots.spacing.min() / d
    values = random.uniform(-most, most, (d, *knots.shape)).astype(np.float32)
    return Displacement(torch.from_numpy(values), knots, order)


def stretches(displacement, places, step=1e-4):
    """Jacobian determinants by central differences."""
    d = places.shape[-1]
    columns = [
        (displacement(places + step * axis) - displacement(places - step * axis)) / (2 * step) for axis in np.eye(d)
    ]
    return np.linalg.det(np.stack(columns, -1))


@law
@given(st.integers(0, 10**9), st.sampled_from([2, 3]), st.sampled_from([1, 3]))
def test_the_smallest_stretch_is_that_of_finite_differences(seed, d, order):
    random = Rng(seed).generator()
    made = bend(random, d, order)
    told = smallest_stretch(made.values, made.knots, order)
    # all over the knots and a cell beyond them
    places = made.knots.to_world(random.uniform(-1, np.array(made.knots.shape), (400, d)))
    seen = stretches(made, places)
    assert seen.min() > told - (1e-4 if order == 1 else 0.05)  # a spline is told from samples
    assert seen.min() < 1 - 0.5 * (1 - told)  # and places at random come near the extreme


@law
@given(st.integers(0, 10**9), st.sampled_from([2, 3]), st.sampled_from([1, 3]))
def test_the_inverse_leads_back(seed, d, order):
    random = Rng(seed).generator()
    made = bend(random, d, order)
    places = made.knots.to_world(random.uniform(-2, np.array(made.knots.shape) + 1, (50, d)))
    np.testing.assert_allclose(made.inverted(made(places)), places, atol=2e-5)
    np.testing.assert_allclose(made(made.inverted(places)), places, atol=2e-5)
    assert made.inverted.inverted.inverse == made.inverse
    assert np.abs(made(places) - places).max(0).tolist() <= (made.reach + 1e-6).tolist()


def test_by_hand():
    knots = Space((3,), np.diag([10.0, 1.0]))  # at 0, 10 and 20 mm
    linear = Displacement(torch.tensor([[0.0, 2.0, 1.0]]), knots, 1)
    places = np.array([[0.0], [5.0], [10.0], [15.0], [20.0], [99.0], [-7.0]])
    np.testing.assert_allclose(linear(places)[:, 0], [0, 6, 12, 16.5, 21, 100, -7])
    assert smallest_stretch(linear.values, knots, 1) == pytest.approx(0.9)
    # at a knot a cubic B-spline weighs 1/6, 4/6, 1/6
    cubic = Displacement(torch.tensor([[0.0, 3.0, 0.0]]), knots, 3)
    np.testing.assert_allclose(cubic([[10.0]])[0, 0], 12)
    np.testing.assert_allclose(linear.reach, [2])


def test_nothing_moves_without_values():
    knots = Space((4, 4), np.diag([5.0, 5.0, 1.0]))
    still = Displacement(torch.zeros(2, 4, 4), knots)
    np.testing.assert_allclose(still([[3.0, 4.0]]), [[3, 4]])
    assert smallest_stretch(still.values, knots, 3) == 1


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_folding_is_refused(d, order):
    knots = Space((4,) * d, np.diag([5.0] * d + [1.0]))
    values = torch.zeros(d, *knots.shape)
    values[(0, *[1] * d)] = 40.0
    with pytest.raises(BadGeometry, match=r"folds.*Jacobian determinant of -.*above 0 everywhere.*Lower the amplitude"):
        Displacement(values, knots, order)


@pytest.mark.parametrize("order", [1, 3])
def test_folding_beyond_the_knots_is_refused(order):
    """Between the knots the field turns by 120 degrees, which keeps areas; beyond them one of its slopes is gone."""
    n = 2 if order == 1 else 8
    knots = Space((n, n), np.eye(3))
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    slopes = rotation([2 * np.pi / 3]) - np.eye(2)
    values = torch.from_numpy(np.einsum("ij,jxy->ixy", slopes, grid).astype(np.float32))
    with pytest.raises(BadGeometry, match="folds"):
        Displacement(values, knots, order)


def test_axes_of_a_single_knot_are_flat():
    knots = Space((3, 1), np.diag([5.0, 5.0, 1.0]))
    values = torch.tensor([[[0.0], [2.0], [0.0]], [[1.0], [0.0], [0.0]]])
    for order in (1, 3):
        made = Displacement(values, knots, order)
        np.testing.assert_allclose(made([[3.0, 0.0]]) - [[3.0, 0.0]], made([[3.0, 70.0]]) - [[3.0, 70.0]], atol=1e-9)


@pytest.mark.parametrize(
    ("values", "order", "match"),
    [
        (torch.zeros(2, 3, 3), 1, r"found \(2, 3, 3\); expected \(2, 4, 4\)"),
        (torch.zeros(3, 4, 4), 1, r"found \(3, 4, 4\)"),
        (torch.zeros(2, 4, 4), 2, "order 1 or 3; found 2"),
        (torch.full((2, 4, 4), float("nan")), 3, "NaN or infinity"),
    ],
)
def test_mistakes_are_named(values, order, match):
    with pytest.raises(BadGeometry, match=match):
        Displacement(values, Space((4, 4), np.eye(3)), order)


def test_a_displacement_is_a_value():
    random = Rng(0).generator()
    made = bend(random, 2, 3)
    again = pickle.loads(pickle.dumps(made))
    places = made.knots.to_world(random.uniform(0, 2, (5, 2)))
    assert np.array_equal(again(places), made(places))
    assert made.inverted.undoes(made)
    assert made.undoes(made.inverted)
    assert not made.undoes(made)
    assert not again.inverted.undoes(made)  # another field, equal by chance
    assert "inverse of a displacement" in repr(made.inverted)
    assert " x " in repr(made)


def test_knots_cover_the_field_of_view_with_a_ring():
    space = Space((21, 9), np.diag([1.0, 4.0, 1.0]))
    knots = knot_lattice(space, [7.0, 100.0])
    assert knots.shape == (6, 4)  # three cells of 20 / 3 mm, and one
    for corner in ((0, 0), (20, 8)):
        at = knots.to_index(space.to_world(corner))
        assert (at >= 1 - 1e-9).all()
        assert (at <= np.array(knots.shape) - 2 + 1e-9).all()
    assert knot_lattice(Space((1, 5), np.eye(3)), [2.0, 2.0]).shape == (4, 5)
