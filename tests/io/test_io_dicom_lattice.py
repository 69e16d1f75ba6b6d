"""Planes and the lattice they make up."""

import numpy as np
import pytest
from dicom_maker import orthogonal

from medframe.base.errors import BadArgument, BadGeometry
from medframe.geometry import Space
from medframe.io.dicom import Plane, stack
from medframe.io.dicom.lattice import places, tilt, upright

AXIAL = (1, 0, 0, 0, 1, 0)


def plane(position, orientation=AXIAL, *, spacing=(3.0, 2.0), rows=6, columns=5, where="x.dcm"):
    return Plane(tuple(position), tuple(orientation), spacing, rows, columns, where)


def planes(depths, **facts):
    return [plane((-11, -22, z), where=f"{n}.dcm", **facts) for n, z in enumerate(depths)]


def test_axes_are_columns_rows_slices_in_ras():
    space, order = stack(planes([35.5, 33, 38]))
    assert order == (1, 0, 2)
    assert space.shape == (5, 6, 3)
    assert space.axcodes == "LPS"
    np.testing.assert_allclose(space.affine, [[-2, 0, 0, 11], [0, -3, 0, 22], [0, 0, 2.5, 33], [0, 0, 0, 1]])


def test_any_direction_sorts_along_its_normal(rng):
    for _ in range(50):
        axes = orthogonal(rng)
        origin, step = rng.uniform(-200, 200, 3), rng.uniform(0.3, 8)
        shear = rng.uniform(-1, 1, 2) * step if rng.random() < 0.5 else np.zeros(2)
        along = axes[:, 2] * step + axes[:, :2] @ shear
        turn = rng.permutation(9)
        space, order = stack([plane(origin + along * k, axes[:, :2].T.ravel()) for k in turn])
        assert [turn[k] for k in order] == list(range(9))
        due = np.stack([axes[:, 0] * 2, axes[:, 1] * 3, along], axis=1)
        np.testing.assert_allclose(space.affine[:3, :3], np.diag([-1, -1, 1]) @ due, atol=1e-6)
        np.testing.assert_allclose(space.origin, origin * (-1, -1, 1), atol=1e-9)


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        ([0, 5, 10, 20], r"1 slice is missing; found 10 mm between 2\.dcm \(at 10 mm\) and 3\.dcm \(at 20 mm\)"),
        ([0, 5, 15, 25, 30, 35, 40], "2 slices are missing"),
        ([0, 5, 10, 17], "not evenly spaced"),
        ([0, 5, 5, 10], r"several images lie at one position; found 1\.dcm and 2\.dcm at 5 mm"),
        ([0, 0, 0], "several images lie at one position"),
    ],
)
def test_what_is_no_even_stack_names_files_and_positions(depths, message):
    with pytest.raises(BadGeometry, match=message):
        stack(planes(depths))


def test_small_errors_that_add_up_are_found():
    gaps = 5 * np.linspace(0.992, 1.008, 99)  # each gap within a percent of the median
    with pytest.raises(BadGeometry, match="not evenly spaced"):
        stack(planes(np.cumsum(gaps)))
    space, _ = stack(planes(np.cumsum(gaps[40:60])))
    assert space.spacing[2] == pytest.approx(5, abs=0.01)


def test_the_spacing_is_the_simplest_that_the_rounding_allows():
    for due in (2.5, 0.625, 1.0, 3.27, 0.7999878):
        exact, _ = stack(planes(due * np.arange(40)))
        assert exact.spacing[2] == pytest.approx(due, rel=1e-12)
        rounded, _ = stack(planes(np.round(due * np.arange(40), 3)))
        assert rounded.spacing[2] == pytest.approx(due, rel=1e-4)
    jitter, _ = stack(planes([2.5 * k + 0.001 * (k % 2) for k in range(8)]))
    assert jitter.spacing[2] == 2.5


def test_tolerance_is_a_part_of_the_spacing_or_a_hundredth_of_a_millimetre():
    stack(planes([0, 5, 10.05, 15]))
    with pytest.raises(BadGeometry):
        stack(planes([0, 5, 10.06, 15]))
    stack(planes([0, 5, 10.2, 15]), tolerance=0.05)
    stack(planes([0, 0.1, 0.205, 0.3]))
    with pytest.raises(BadGeometry):
        stack(planes([0, 0.1, 0.22, 0.3]))


def test_a_gap_is_resampled_when_asked_for():
    space, order = stack(planes([0, 5, 10, 20, 25]), on_gap="resample")
    assert space.shape == (5, 6, 6)
    assert space.spacing[2] == pytest.approx(5)
    np.testing.assert_allclose(places(planes([0, 5, 10, 20, 25]), space), [0, 1, 2, 4, 5], atol=1e-9)
    assert order == (0, 1, 2, 3, 4)
    uneven, _ = stack(planes([0, 5, 11, 15]), on_gap="resample")
    assert uneven.shape[2] == 4
    assert uneven.affine[2, 3] + 3 * uneven.spacing[2] == pytest.approx(15)


def test_slices_that_lie_beside_each_other_are_no_stack():
    odd = planes([0, 5, 10, 15])
    odd[2] = plane((-9, -22, 10), where="2.dcm")
    with pytest.raises(BadGeometry, match="do not lie behind each other"):
        stack(odd)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"rows": 9, "columns": 9}, "9 x 9 pixels in 1 image: loc.dcm"),
        ({"orientation": (0, 1, 0, 0, 0, -1)}, "orientation"),
        ({"spacing": (1.0, 1.0)}, "pixel spacing"),
    ],
)
def test_mixed_planes_name_the_odd_ones(facts, message):
    odd = plane((0, 0, 90), where="loc.dcm", **facts)
    with pytest.raises(BadGeometry, match=message):
        stack([*planes([0, 5, 10]), odd])


@pytest.mark.parametrize(
    "facts",
    [
        {"position": (0, 0, np.nan)},
        {"orientation": (1, 0, 0, 0.5, 0.5, 0)},
        {"orientation": (0, 0, 0, 0, 0, 0)},
        {"orientation": (1, 0, 0)},
        {"spacing": (0.0, 1.0)},
        {"spacing": (-1.0, 1.0)},
        {"rows": 0},
    ],
)
def test_invalid_planes(facts):
    with pytest.raises(BadGeometry, match=r"x\.dcm"):
        plane(**{"position": (0, 0, 0), **facts})


def test_one_plane_needs_a_thickness():
    with pytest.raises(BadGeometry, match="how thick"):
        stack(planes([0]))
    space, order = stack(planes([7]), thickness=4.0)
    assert (space.shape, space.spacing[2], order) == ((5, 6, 1), 4.0, (0,))
    with pytest.raises(BadArgument):
        stack([])
    with pytest.raises(BadArgument, match="on_gap"):
        stack(planes([0, 5]), on_gap="guess")


def test_an_upright_lattice_holds_all_of_a_sheared_one(rng):
    for _ in range(50):
        linear = orthogonal(rng) * rng.uniform(0.5, 3, 3)
        if rng.random() < 0.5:
            linear = linear[:, [1, 0, 2]]  # left-handed
        linear[:, 2] += linear[:, :2] @ rng.uniform(-0.5, 0.5, 2)
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = linear, rng.uniform(-50, 50, 3)
        sheared = Space((20, 30, 10), affine)
        standing = upright(sheared)
        assert tilt(standing) == pytest.approx(0, abs=1e-5)
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in sheared.shape])).reshape(3, -1).T
        index = standing.to_index(sheared.to_world(corners))
        assert (index > -1e-4).all()
        assert (index < np.array(standing.shape) - 1 + 1e-4).all()
        # slices stay slices: their index is whole, and the lattice is no larger than it must be
        np.testing.assert_allclose(index[:, 2], corners[:, 2], atol=1e-6)
        assert (np.array(standing.shape[:2]) - (index[:, :2].max(0) - index[:, :2].min(0)) < 3).all()
