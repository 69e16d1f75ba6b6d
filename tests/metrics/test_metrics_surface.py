"""Edges, distances and surface metrics: by hand, against SciPy's erosion and against all pairs of edge voxels."""

import doctest

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

import medframe.metrics.score
from medframe.base import BadArgument, BadGeometry
from medframe.metrics import (
    AverageSurfaceDistance,
    ClassPair,
    Dice,
    Hausdorff,
    SurfaceDice,
    edge_voxels,
    score_case,
    surface_distances,
)

DISTANCES = (Hausdorff(), Hausdorff(95), Hausdorff(50), AverageSurfaceDistance(False), AverageSurfaceDistance())
MEASURED = (*DISTANCES, SurfaceDice(1.0))


def scores(a, b, spacing, metrics=MEASURED):
    (row,) = score_case(a, b, spacing, [1], metrics, case="a")
    return dict(zip(row.columns, row.values, strict=True))


def test_edge_by_hand():
    mask = np.zeros((6, 6), bool)
    mask[1:6, 0:5] = True  # touches two borders
    expected = np.array(
        [
            [0, 0, 0, 0, 0, 0],
            [1, 1, 1, 1, 1, 0],
            [1, 0, 0, 0, 1, 0],
            [1, 0, 0, 0, 1, 0],
            [1, 0, 0, 0, 1, 0],
            [1, 1, 1, 1, 1, 0],
        ]
    )
    assert np.array_equal(edge_voxels(mask), expected)


@pytest.mark.parametrize("shape", [(50,), (13, 17), (9, 10, 11), (1, 12, 8), (1, 1, 1)])
@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
def test_edge_equals_scipy_erosion(shape, share):
    mask = np.random.default_rng(3).random(shape) < share
    assert np.array_equal(edge_voxels(mask), mask & ~ndimage.binary_erosion(mask))


def test_distances_by_hand():
    # reference: one voxel; prediction: a bar of four voxels, 0, 2, 4 and 6 mm away from it
    truth, found = np.zeros((3, 8), int), np.zeros((3, 8), int)
    truth[1, 1] = 1
    found[1, 1:5] = 1
    got = scores(found, truth, (5.0, 2.0))
    expected = {"hd": 6.0, "hd95": 5.7, "hd50": 3.0, "asd": 3.0, "assd": 12 / 5, "nsd_1mm": 2 / 5}
    assert got == pytest.approx(expected)


def test_the_larger_direction_counts():
    # reference to prediction: 0 and 9 mm; prediction to reference: 0 and, pooled, a smaller percentile
    truth, found = np.zeros((1, 20), int), np.zeros((1, 20), int)
    truth[0, [0, 10]] = 1
    found[0, [0, 1]] = 1
    got = scores(found, truth, (1.0, 1.0), (Hausdorff(), Hausdorff(50), AverageSurfaceDistance(False)))
    assert got == pytest.approx({"hd": 9.0, "hd50": 4.5, "asd": 0.5})


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((12, 15), (0.7, 1.9)), ((7, 9, 8), (2.5, 0.6, 1.3)), ((9, 9, 9), (1, 1, 1)), ((30,), (0.3,))],
)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_metrics_equal_all_pairs(shape, spacing, share):
    rng = np.random.default_rng(5)
    a, b = (rng.random(shape) < share for _ in range(2))
    a[(0,) * len(shape)] = b[(-1,) * len(shape)] = True  # neither empty
    points = [np.argwhere(m & ~ndimage.binary_erosion(m)) * np.array(spacing) for m in (a, b)]
    pairs = cdist(*points)
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    everything = np.concatenate([there, back])
    expected = {
        "hd": everything.max(),
        "hd95": max(np.percentile(there, 95), np.percentile(back, 95)),
        "hd50": max(np.percentile(there, 50), np.percentile(back, 50)),
        "asd": there.mean(),
        "assd": everything.mean(),
        "nsd_1mm": np.mean(everything <= 1.0),
    }
    assert scores(a, b, spacing) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_the_place_in_the_volume_does_not_matter():
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 2, (5, 6, 4)) for _ in range(2))
    wide = [np.pad(m, ((3, 9), (0, 4), (7, 0))) for m in (a, b)]
    assert scores(*wide, (1, 2, 3)) == scores(a, b, (1, 2, 3))


def test_classes_are_measured_apart():
    rng = np.random.default_rng(2)
    a, b = (rng.integers(0, 4, (8, 9, 7)) for _ in range(2))
    metrics = (Dice(), *DISTANCES, SurfaceDice(1.0))
    for row in score_case(a, b, (1, 2, 3), [0, 1, 2, 3], metrics, case="a"):
        alone = score_case(a == row.label, b == row.label, (1, 2, 3), [1], metrics, case="a")[0]
        assert row.values == alone.values


@pytest.mark.parametrize(
    ("spacing", "tolerance", "nsd"),
    [
        (float(np.float32(0.8)), 0.8, 1.0),  # single precision puts 0.8 a little above 0.8
        (0.8, 0.8, 1.0),
        (0.8, 0.79, 0.0),
        (0.8001, 0.8, 0.0),
        (0.8, 0.0, 0.0),
    ],
)
def test_tolerance_ties(spacing, tolerance, nsd):
    a, b = np.array([[1, 0]]), np.array([[0, 1]])
    assert list(scores(a, b, (1.0, spacing), (SurfaceDice(tolerance),)).values()) == [nsd]


def test_column_names_tell_settings_apart():
    metrics = (*DISTANCES, SurfaceDice(), SurfaceDice(2.5), Hausdorff(99.5))
    assert [m.name for m in metrics] == ["hd", "hd95", "hd50", "asd", "assd", "nsd_1mm", "nsd_2.5mm", "hd99.5"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Hausdorff(0),
        lambda: Hausdorff(101),
        lambda: Hausdorff(float("nan")),
        lambda: SurfaceDice(-1),
        lambda: SurfaceDice(float("inf")),
        lambda: Hausdorff().value(ClassPair(1, 1, 1, 1, (1.0,))),
        lambda: surface_distances(np.zeros((2, 2)), np.ones((2, 2)), (1, 1)),
        lambda: surface_distances(np.ones((2, 2)), np.zeros((2, 2)), (1, 1)),
        lambda: surface_distances(np.ones((2, 2)), np.ones((2, 2)), (1, 0)),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(BadArgument, match="expected"):
        make()


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(BadGeometry, match=r"\(2, 3\)"):
        surface_distances(np.ones((2, 2)), np.ones((2, 3)), (1, 1))


def test_the_documented_example_runs():
    result = doctest.testmod(medframe.metrics.score)
    assert result.attempted > 0
    assert result.failed == 0
