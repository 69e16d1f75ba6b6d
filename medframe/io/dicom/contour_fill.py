"""Closed contours become voxels: a voxel is inside if its centre is, by the even-odd rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]

_DIGITS = 6  # of a voxel: coordinates closer than this to a voxel centre lie on it


def fill(polygons: Sequence[Polygon], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The voxels whose centres lie within closed polygons of one plane.

    The polygons are taken together: a centre is inside if a ray from it crosses their edges an odd number of times. A
    contour within another is therefore a hole, one within the hole an island, and a channel that is walked there and
    back (a "keyhole") has no area. A centre on an edge belongs to the polygon that lies on the side of higher indices,
    so polygons that share an edge never share a voxel, nor leave one out.

    Coordinates are rounded to 1e-6 voxel, so that the decimals of a file cannot decide what lies on an edge.

    Args:
        polygons: vertices (N, 2) in index coordinates of the plane, voxel centres at whole numbers; the last vertex
            is joined to the first.
        shape: of the plane, (A, B). What lies beyond it is cut off.

    Returns:
        (A, B), true inside.

    Example:
        >>> square = np.array([(0.5, 0.5), (0.5, 2.5), (2.5, 2.5), (2.5, 0.5)])
        >>> fill([square], (4, 4)).sum()
        np.int64(4)
    """
    rows, columns = shape
    toggles = np.zeros((rows, columns + 1), np.int32)
    for polygon in polygons:
        if len(polygon) < 3:
            continue  # a point or a line there and back encloses no centre
        corners = np.asarray(np.round(polygon, _DIGITS), np.float64)
        _toggle(toggles, corners, np.roll(corners, -1, axis=0))
    odd: NDArray[np.bool_] = np.cumsum(toggles, axis=1)[:, :columns] % 2 == 1
    return odd


def _toggle(toggles: NDArray[np.int32], start: Polygon, stop: Polygon) -> None:
    # for every row that an edge crosses, the first voxel behind the crossing is where the parity changes
    rows, columns = toggles.shape[0], toggles.shape[1] - 1
    low, high = np.minimum(start[:, 0], stop[:, 0]), np.maximum(start[:, 0], stop[:, 0])
    # rows r with low <= r < high, within the plane
    first = np.clip(np.ceil(low), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(high), 0, rows).astype(np.int64)
    count = last - first
    edge = np.repeat(np.arange(len(start)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    a, b = start[edge], stop[edge]
    crossing = a[:, 1] + (row - a[:, 0]) * ((b[:, 1] - a[:, 1]) / (b[:, 0] - a[:, 0]))
    column = np.clip(np.ceil(np.round(crossing, _DIGITS)), 0, columns).astype(np.int64)
    np.add.at(toggles, (row, column), 1)
