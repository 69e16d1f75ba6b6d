"""Contours: filling agrees with independent fillers, and tracing is its exact inverse."""

import numpy as np
import pytest
from matplotlib.path import Path as Polyline
from scipy import ndimage
from skimage.draw import polygon2mask

from medframe.io.dicom.contour_fill import fill
from medframe.io.dicom.contour_trace import trace


def area(polygon):
    a, b = polygon.T
    return float(np.sum(np.roll(a, -1) * b - a * np.roll(b, -1))) / 2


def test_random_polygons_fill_as_skimage_fills_them(rng):
    for _ in range(200):
        polygon = rng.uniform(-6, 46, (int(rng.integers(3, 30)), 2))  # they cross themselves, and leave the plane
        assert np.array_equal(fill([polygon], (40, 37)), polygon2mask((40, 37), polygon))


def test_star_shaped_polygons_fill_as_matplotlib_fills_them(rng):
    centres = np.stack(np.meshgrid(np.arange(40), np.arange(37), indexing="ij"), -1).reshape(-1, 2)
    for _ in range(50):
        count = int(rng.integers(3, 40))
        angles = np.sort(rng.uniform(0, 2 * np.pi, count))
        radii = rng.uniform(2, 18, count)
        polygon = np.stack([20 + radii * np.cos(angles), 18 + radii * np.sin(angles)], 1)
        due = Polyline(np.vstack([polygon, polygon[:1]])).contains_points(centres).reshape(40, 37)
        assert np.array_equal(fill([polygon], (40, 37)), due)


def test_polygons_that_share_an_edge_share_no_voxel_and_leave_none_out(rng):
    # corners lie exactly on voxel centres, where it is a matter of the rule
    for _ in range(50):
        cut = int(rng.integers(1, 9))
        left = np.array([(0, 0), (0, cut), (9, cut), (9, 0)], float)
        right = np.array([(0, cut), (0, 9), (9, 9), (9, cut)], float)
        both = fill([left], (10, 10)).astype(int) + fill([right], (10, 10))
        assert both[:9, :9].min() == both[:9, :9].max() == 1
        assert both[9].max() == both[:, 9].max() == 0
    square = np.array([(0, 0), (0, 9), (9, 9), (9, 0)], float)
    noise = square + rng.uniform(-1e-8, 1e-8, square.shape)  # as decimals of a file bring them
    assert np.array_equal(fill([noise], (10, 10)), fill([square], (10, 10)))


def test_contours_within_contours():
    def box(low, high):
        return np.array([(low, low), (low, high), (high, high), (high, low)]) - 0.5

    found = fill([box(0, 9), box(2, 7), box(4, 5)], (9, 9))
    due = np.zeros((9, 9), bool)
    due[:] = True
    due[2:7, 2:7] = False
    due[4, 4] = True
    assert np.array_equal(found, due)
    # a keyhole: one line into the hole and back
    keyhole = np.vstack([box(0, 9), box(0, 9)[:1], box(2, 7)[:1], box(2, 7)[::-1], box(0, 9)[:1]])
    due[4, 4] = False
    assert np.array_equal(fill([keyhole], (9, 9)), due)
    assert not fill([np.array([(1.0, 1.0)]), np.array([(1.0, 1.0), (4.0, 4.0)])], (9, 9)).any()


@pytest.mark.parametrize("keyhole", [False, True])
def test_tracing_is_the_inverse_of_filling(rng, keyhole):
    for _ in range(300):
        shape = tuple(rng.integers(1, 15, 2))
        mask = rng.random(shape) < rng.uniform(0.05, 0.98)
        traced = trace(mask, keyhole=keyhole)
        polygons = [*traced.outer, *traced.holes]
        assert np.array_equal(fill(polygons, shape), mask)
        # the signed areas are those of the voxels: outer contours run one way, holes the other
        assert sum(map(area, polygons)) == pytest.approx(mask.sum())
        assert all(area(p) > 0 for p in traced.outer)
        assert all(area(p) < 0 for p in traced.holes)
        corners = np.concatenate([p for p in polygons if len(p)] or [np.zeros((0, 2))])
        assert (np.abs(corners - np.floor(corners)) == 0.5).all()
        for polygon in polygons:
            steps = np.roll(polygon, -1, 0) - polygon
            assert ((steps == 0).sum(1) == 1).all()  # along voxel edges
        if keyhole:
            # every polygon alone is a part of the mask, so programs that unite polygons read them as well
            assert np.array_equal(sum((fill([p], shape).astype(int) for p in polygons), np.zeros(shape, int)), mask)
        else:
            assert all(len(np.unique(p, axis=0)) == len(p) for p in polygons)  # no contour meets itself


def test_regions_and_holes_are_counted():
    mask = np.zeros((12, 12), bool)
    mask[1:8, 1:8] = True
    mask[2, 2] = mask[4:6, 4:6] = False  # two holes
    mask[4, 4] = True  # which makes the second one bent
    mask[8, 8] = True  # touches at a corner alone
    mask[10, 1] = True
    traced = trace(mask)
    assert len(traced.outer) == ndimage.label(mask)[1] == 3
    assert len(traced.holes) == 2
    joined = trace(mask, keyhole=True)
    assert len(joined.outer) == 3
    assert joined.holes == ()
    assert trace(np.zeros((3, 3), bool)).outer == ()


def test_a_smooth_region_of_ordinary_size(rng):
    mask = ndimage.gaussian_filter(rng.normal(size=(256, 256)), 5) > 0
    for keyhole in (False, True):
        traced = trace(mask, keyhole=keyhole)
        assert np.array_equal(fill([*traced.outer, *traced.holes], mask.shape), mask)
