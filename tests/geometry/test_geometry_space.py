"""Lattices against nibabel and numbers found by hand."""

import json
import pickle
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medframe.base import BadGeometry, Rng
from medframe.geometry import Space, rotation
from medframe.geometry.orientation import named_axes, parse_axcodes

law = settings(max_examples=80, deadline=None, database=None)
CODES = ["".join(p) for axes in permutations(("LR", "PA", "IS")) for p in product(*axes)]


def random_affine(seed, d=3, shear=0.0):
    random = Rng(seed).generator()
    linear = rotation(random.uniform(-np.pi, np.pi, {1: 1, 2: 1, 3: 3}[d])) if d > 1 else np.eye(1)
    affine = np.eye(d + 1)
    skew = np.eye(d) + random.uniform(-shear, shear, (d, d))
    affine[:-1, :-1] = linear @ skew * random.uniform(0.3, 6, d) * random.choice([-1, 1], d)
    affine[:-1, -1] = random.uniform(-200, 200, d)
    return affine


@law
@given(st.integers(0, 10**9), st.sampled_from([0.0, 0.2]))
def test_axcodes_are_those_of_nibabel(seed, shear):
    affine = random_affine(seed, shear=shear)
    assert Space((3, 4, 5), affine).axcodes == "".join(nib.aff2axcodes(affine))


@pytest.mark.parametrize("codes", CODES)
def test_all_orientations_are_reached_and_left_without_moving_tissue(codes):
    space = Space((3, 4, 5), random_affine(CODES.index(codes)))
    out = space.reoriented(codes)
    assert out.axcodes == codes
    assert sorted(out.shape) == [3, 4, 5]
    places = space.to_world(list(product(*map(range, space.shape))))
    index = out.to_index(places)
    np.testing.assert_allclose(index, np.rint(index), atol=1e-9)
    assert len(np.unique(np.rint(index), axis=0)) == 60
    assert index.min() > -0.5
    assert (index < np.array(out.shape) - 0.5).all()
    assert out.reoriented(space.axcodes) == space


def test_orientation_in_the_plane():
    space = Space((3, 4), [[0, -1, 5], [2, 0, 7], [0, 0, 1]])
    assert space.axcodes == "AL"
    out = space.reoriented("RA")
    assert out.shape == (4, 3)
    np.testing.assert_allclose(out.affine, [[1, 0, 2], [0, 2, 7], [0, 0, 1]])


def test_letters():
    assert parse_axcodes("las", 3) == ((0, 1, 2), (-1, 1, 1))
    affine = np.diag([1.0, 1.0, 1.0, 1.0])[[2, 0, 1, 3]]  # the axes follow A, S, R
    assert Space((2, 2, 2), affine).axcodes == "ASR"
    assert named_axes("R", affine) == (2,)
    assert named_axes("pI", affine) == (0, 1)
    for wrong in ("RA", "RAI ", "RRS", "XYZ", ""):
        with pytest.raises(BadGeometry, match="expected one letter each of L/R, P/A, I/S"):
            parse_axcodes(wrong, 3)


@law
@given(st.integers(0, 10**9), st.sampled_from([1, 2, 3]))
def test_world_and_index_are_inverse(seed, d):
    space = Space((4, 5, 6)[:d], random_affine(seed, d, 0.2))
    index = Rng(seed).generator().uniform(-9, 9, (7, d))
    np.testing.assert_allclose(space.to_index(space.to_world(index)), index, atol=1e-8)
    np.testing.assert_allclose(space.to_world(np.zeros(d)), space.origin)
    np.testing.assert_allclose(space.direction * space.spacing, space.affine[:-1, :-1])
    np.testing.assert_allclose(space.voxel_volume, abs(np.linalg.det(space.affine)))


@law
@given(st.integers(0, 10**9), st.lists(st.floats(0.4, 9), min_size=3, max_size=3))
def test_with_spacing_keeps_the_middle_and_is_exact(seed, mm):
    space = Space((7, 11, 5), random_affine(seed, shear=0.1))
    out = space.with_spacing(mm)
    np.testing.assert_allclose(out.spacing, mm)
    np.testing.assert_allclose(out.world_centre, space.world_centre, atol=1e-9)
    np.testing.assert_allclose(out.direction, space.direction, atol=1e-12)
    assert out.shape == tuple(max(1, int(e / m + 0.5 + 1e-6)) for e, m in zip(space.extent, mm, strict=True))


@pytest.mark.parametrize(
    ("size", "spacing", "mm", "due"),
    [(10, 1.0, 2.0, 5), (5, 1.0, 2.0, 3), (3, 1.0, 2.0, 2), (512, 0.7, 0.7, 512), (3, 1.0, 9.0, 1), (30, 0.1, 0.3, 10)],
)
def test_sizes_round_halves_up(size, spacing, mm, due):
    assert Space((size,), np.diag([spacing, 1.0])).with_spacing([mm]).shape == (due,)


def test_with_shape_and_window():
    space = Space((4, 6), np.diag([1.0, 2.0, 1.0]))
    out = space.with_shape((2, 12))
    np.testing.assert_allclose(out.affine, [[2, 0, 0.5], [0, 1, -0.5], [0, 0, 1]])
    np.testing.assert_allclose(out.extent, space.extent)
    window = space.window((-1, 2), (3, 3))
    np.testing.assert_allclose(window.origin, [-1, 4])
    assert window.shape == (3, 3)
    np.testing.assert_allclose(space.world_centre, [1.5, 5])
    assert [Space((2,) * d, np.eye(d + 1)).rotations for d in (1, 2, 3)] == [0, 1, 3]


def test_equality_is_within_a_tolerance():
    space = Space((4, 6), np.diag([1.0, 2.0, 1.0]))
    near, far = space.affine.copy(), space.affine.copy()
    near[0, 2] += 1e-7
    far[0, 0] *= 1.01  # 0.03 mm at the far end
    assert space == Space((4, 6), near)
    assert hash(space) == hash(Space((4, 6), near))
    assert space != Space((4, 6), far)
    assert space.distance(Space((4, 6), far)) == pytest.approx(0.03)
    assert space.matches(Space((4, 6), far))
    assert not space.matches(Space((4, 6), far), tolerance=0.02)
    assert space != Space((6, 4), space.affine)
    assert not space.matches(Space((4, 6, 1), np.eye(4)))
    assert space != "a lattice"


def test_a_space_is_a_value():
    space = Space([3, 4, 5], random_affine(1).tolist())
    with pytest.raises(ValueError, match="read-only"):
        space.affine[0, 0] = 2
    again = pickle.loads(pickle.dumps(space))
    assert np.array_equal(again.affine, space.affine)
    assert not again.affine.flags.writeable
    stored = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert stored.shape == space.shape
    assert np.array_equal(stored.affine, space.affine)
    assert str(Space((2, 3), np.diag([0.5, 2.0, 1.0]))) == "2 x 3 voxels of 0.5 x 2 mm, RA, origin (0, 0)"


@pytest.mark.parametrize(
    ("shape", "affine", "match"),
    [
        ((), np.eye(1), "one to three axes"),
        ((2, 2, 2, 2), np.eye(5), "one to three axes"),
        ((2, 0), np.eye(3), r"found shape \(2, 0\)"),
        ((2, 2), np.eye(4), r"found \(4, 4\); expected \(3, 3\)"),
        ((2, 2), np.diag([1, np.nan, 1]), "NaN or infinity"),
        ((2, 2), np.diag([1, np.inf, 1]), "NaN or infinity"),
        ((2, 2), np.diag([1, 0, 1]), "an axis of no length"),
        ((2, 2), np.diag([1, 1e7, 1]), "an axis of no length"),
        ((2, 2), [[1, 1, 0], [1, 1, 0], [0, 0, 1]], "singular"),
        ((2, 2), [[1, 0, 0], [0, 1, 0], [0, 1, 1]], "homogeneous"),
    ],
)
def test_what_is_no_lattice_is_refused(shape, affine, match):
    with pytest.raises(BadGeometry, match=match):
        Space(shape, affine)


def test_spacings_and_shapes_are_checked():
    space = Space((4, 6), np.eye(3))
    with pytest.raises(BadGeometry, match="positive millimetres"):
        space.with_spacing((1, -1))
    with pytest.raises(BadGeometry, match="at least 1"):
        space.with_shape((0, 3))
