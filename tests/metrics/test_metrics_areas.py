"""Surface elements against marching cubes, shapes of known area, and distances against all pairs."""

import itertools
import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from medframe.base import BadArgument
from medframe.metrics import (
    AverageSurfaceDistance,
    ClassPair,
    Hausdorff,
    SurfaceDice,
    SurfaceDistances,
    area_distances,
    score_case,
    surface_areas,
)

METRICS = (
    Hausdorff(by="area"),
    Hausdorff(95, by="area"),
    AverageSurfaceDistance(False, by="area"),
    AverageSurfaceDistance(by="area"),
    SurfaceDice(1.5, by="area"),
)


def of_eight(code):
    mask = np.zeros((4, 4, 4))
    for bit, corner in enumerate(itertools.product((1, 2), repeat=3)):
        mask[corner] = code >> bit & 1
    return mask


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 2.5)])
def test_flat_elements_equal_marching_cubes(spacing):
    measure = pytest.importorskip("skimage.measure")
    compared = 0
    for code in range(1, 255):
        cube = of_eight(code)[1:3, 1:3, 1:3]
        few = np.argwhere(cube == (cube.sum() <= 4))
        if len(few) > 2 or (len(few) == 2 and np.abs(few[0] - few[1]).sum() > 1):
            continue  # several patches, or one that is not flat: tools divide them in other ways
        vertices, faces, *_ = measure.marching_cubes(cube, 0.5, spacing=spacing, method="lorensen")
        expected = measure.mesh_surface_area(vertices, faces)
        assert surface_areas(cube, spacing)[1, 1, 1] == pytest.approx(expected, rel=1e-5)
        compared += 1
    assert compared == 2 * (8 + 12)


def test_elements_have_the_cube_s_symmetries():
    codes = range(256)
    areas = np.array([surface_areas(of_eight(code), (1, 1, 1))[2, 2, 2] for code in codes])
    np.testing.assert_allclose(areas, areas[::-1])  # inside and outside exchanged
    for turn in ((1, 2, 0), (1, 0, 2)):
        turned = [surface_areas(of_eight(code).transpose(turn), (1, 1, 1))[2, 2, 2] for code in codes]
        np.testing.assert_allclose(areas, turned)
    flipped = [surface_areas(of_eight(code)[::-1], (1, 1, 1))[2, 2, 2] for code in codes]
    np.testing.assert_allclose(areas, flipped)


@pytest.mark.parametrize(
    ("corners", "area"),
    [
        ([(0, 0, 0)], math.sqrt(3) / 8),
        ([(0, 0, 0), (0, 0, 1)], math.sqrt(2) / 2),
        ([(0, 0, 0), (0, 1, 1)], math.sqrt(3) / 4),
        ([(0, 0, 0), (0, 0, 1), (0, 1, 0)], 0.5 + 3 * math.sqrt(3) / 8),
        ([(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)], 1.0),
        ([(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)], 3 * math.sqrt(3) / 4),
        ([(0, 0, 1), (0, 0, 0), (0, 1, 0), (1, 1, 0)], math.sqrt(3) / 2 + math.sqrt(2) / 2),
    ],
)
def test_areas_of_the_patches_by_hand(corners, area):
    cube = np.zeros((2, 2, 2), bool)
    cube[tuple(np.transpose(corners))] = True
    assert surface_areas(cube, (1, 1, 1))[1, 1, 1] == pytest.approx(area)


def test_a_ball_has_nearly_the_area_of_a_ball():
    grid = np.indices((41, 41, 41)) - 20
    mask = (grid**2).sum(axis=0) <= 15**2
    assert surface_areas(mask, (2, 2, 2)).sum() == pytest.approx(4 * math.pi * 30**2, rel=0.1)


def test_an_edge_in_the_plane_has_its_length():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    # sides of 2 x 4 voxel distances, and four corners of half a diagonal
    expected = 2 * 2 * 0.5 + 2 * 4 * 3 + 4 * math.hypot(0.5, 3) / 2
    assert surface_areas(mask, (0.5, 3.0)).sum() == pytest.approx(expected)
    assert surface_areas(np.array([0, 1, 1, 0, 1]), (2.0,)).tolist() == [0, 1, 0, 1, 1, 1]


@pytest.mark.parametrize(("shape", "spacing"), [((9, 11), (0.7, 1.9)), ((6, 7, 5), (2.5, 0.6, 1.3))])
def test_metrics_equal_all_pairs(shape, spacing):
    rng = np.random.default_rng(6)
    a, b = (rng.random(shape) < 0.5 for _ in range(2))
    areas = [surface_areas(m, spacing) for m in (a, b)]
    points = [np.argwhere(area > 0) * np.array(spacing) for area in areas]
    weights = [area[area > 0] for area in areas]
    pairs = cdist(*points)
    ways = pairs.min(axis=1), pairs.min(axis=0)

    def within(d, w, share):
        reached = [w[d <= limit].sum() for limit in np.sort(d)]
        return np.sort(d)[np.argmax(np.array(reached) >= share * w.sum() * (1 - 1e-12))]

    both = np.concatenate(ways), np.concatenate(weights)
    expected = {
        "hd_area": both[0].max(),
        "hd95_area": max(within(d, w, 0.95) for d, w in zip(ways, weights, strict=True)),
        "asd_area": np.average(ways[0], weights=weights[0]),
        "assd_area": np.average(both[0], weights=both[1]),
        "nsd_1.5mm_area": np.average(both[0] <= 1.5, weights=both[1]),
    }
    (row,) = score_case(a, b, spacing, [1], METRICS, case="a")
    assert dict(zip(row.columns, row.values, strict=True)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("area", [0.1, 1 / 3, 0.7, 1.1, math.sqrt(3) / 8])
def test_a_share_that_is_met_exactly_does_not_depend_on_rounding(area):
    for n in (20, 40, 100, 1000):
        surface = SurfaceDistances(np.arange(n) + 0.0, np.zeros(1), np.full(n, area), np.full(1, area))
        pair = ClassPair(n, 1, 0, n + 1, (1.0,), areas=surface)
        assert Hausdorff(95, by="area").value(pair) == n * 19 // 20 - 1


def test_both_definitions_are_measured_side_by_side():
    a, b = np.zeros((5, 6), int), np.zeros((5, 6), int)
    a[1:4, 1:4], b[1:4, 1:5] = 1, 1  # the same but for a column more
    metrics = (Hausdorff(), Hausdorff(by="area"), SurfaceDice(0.5), SurfaceDice(0.5, by="area"))
    (row,) = score_case(a, b, (1, 1), [1], metrics, case="a")
    assert row.columns == ("hd", "hd_area", "nsd_0.5mm", "nsd_0.5mm_area")
    assert row["hd"] == row["hd_area"] == 1
    assert row["nsd_0.5mm"] == 14 / 18  # 7 of 8 and 7 of 10 edge voxels
    corner = math.sqrt(0.5)
    shared = (6 + 4 * corner) + (8 + 2 * corner)  # where one has a corner the other may have a side
    assert row["nsd_0.5mm_area"] == pytest.approx(shared / ((8 + 4 * corner) + (10 + 4 * corner)))


def test_bad_arguments():
    with pytest.raises(BadArgument, match="'voxels' or 'area'"):
        SurfaceDice(1.0, by="surfels")
    with pytest.raises(BadArgument, match="areas=None"):
        Hausdorff(by="area").value(ClassPair(1, 1, 1, 1, (1.0,)))
    with pytest.raises(BadArgument, match="empty mask"):
        area_distances(np.zeros((2, 2)), np.ones((2, 2)), (1, 1))
