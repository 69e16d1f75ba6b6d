"""Surface elements of a mask with their areas, and the distances between two surfaces, in millimetres.

The definition of area-weighted surface metrics: the corners where voxels meet form a lattice, and about each corner lie
2 x 2 x 2 voxel centres (beyond the array lies background). Where some of them belong to the mask and some do not, the
corner carries one surface element: the patch that separates them through the middles of the cube's edges, with the
patch's area. Distances are taken between corners. In 2-D the patches are line segments with lengths in mm.

Stanislav Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy: deep learning
algorithm development and validation study", 2021, doi:10.2196/26151.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medframe.metrics.edges import SurfaceDistances, bounding_box, checked_masks, nearest

Corner: TypeAlias = tuple[int, ...]


def surface_areas(mask: NDArray[Any], spacing: Sequence[float]) -> NDArray[np.float64]:
    """The area of the surface element at each corner where voxels meet.

    Args:
        mask: (*spatial), one to three axes.
        spacing: mm along each array axis.

    Returns:
        (*spatial + 1) mm2 (mm in 2-D; 1 for each end in 1-D), 0 where there is no surface. Corner i lies half a voxel
        before voxel i.
    """
    return np.asarray(_table(tuple(float(s) for s in spacing))[_codes(np.asarray(mask, dtype=bool))])


def _codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Which of the voxels about each corner belong to the mask; bit k stands for corner k, the last axis first."""
    padded = np.pad(mask, 1).view(np.uint8)
    shape = tuple(n - 1 for n in padded.shape)
    codes = np.zeros(shape, np.uint8)
    for bit, corner in enumerate(itertools.product((0, 1), repeat=mask.ndim)):
        codes += padded[tuple(slice(c, c + n) for c, n in zip(corner, shape, strict=True))] << np.uint8(bit)
    return codes


def area_distances(prediction: NDArray[Any], reference: NDArray[Any], spacing: Sequence[float]) -> SurfaceDistances:
    """Measure both surfaces against each other; each distance carries the area it stands for.

    Args:
        prediction: a mask, (*spatial), not empty.
        reference: a mask of the same shape, not empty.
        spacing: mm along each array axis.

    Raises:
        BadGeometry: the shapes differ.
        BadArgument: a mask is empty, or the spacing is invalid.
    """
    a, b, sizes = checked_masks(prediction, reference, spacing)
    box = bounding_box(a | b)
    table = _table(sizes)
    codes_a, codes_b = _codes(a[box]), _codes(b[box])
    on_a, on_b = (table > 0)[codes_a], (table > 0)[codes_b]
    areas = table[codes_a[on_a]], table[codes_b[on_b]]
    return SurfaceDistances(nearest(on_a, on_b, sizes), nearest(on_b, on_a, sizes), *areas)


@lru_cache(maxsize=16)
def _table(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Area by code, see `_codes`."""
    ndim = len(spacing)
    corners = list(itertools.product((0, 1), repeat=ndim))
    # a patch with a unit of area seen along each axis has this much of it in mm: the product of the other axes
    faces = np.array([np.prod([s for b, s in enumerate(spacing) if b != axis]) for axis in range(ndim)])
    table = np.zeros(1 << len(corners))
    for code in range(len(table)):
        inside = [c for k, c in enumerate(corners) if code >> k & 1]
        outside = [c for k, c in enumerate(corners) if not code >> k & 1]
        # the smaller side is cut off piece by piece: corners that only touch across a face's diagonal are apart
        smaller = inside if len(inside) <= len(outside) else outside
        for piece in _pieces(smaller):
            table[code] += sum(float(np.linalg.norm(patch * faces)) for patch in _patches(piece, ndim))
    return table


def _pieces(corners: list[Corner]) -> list[list[Corner]]:
    """Split corners into groups that hang together along the cube's edges."""
    left, pieces = list(corners), []
    while left:
        piece = [left.pop(0)]
        for corner in piece:  # grows while it is walked
            near = [c for c in left if len(_axes(c, corner)) == 1]
            piece += near
            left = [c for c in left if c not in near]
        pieces.append(piece)
    return pieces


def _patches(piece: list[Corner], ndim: int) -> list[NDArray[np.float64]]:
    """The flat patches that cut a piece off a unit cube, each by its area seen along each axis.

    Their vertices are the middles of the cube's edges from the piece to the rest. One corner is cut off by a triangle,
    an edge by a rectangle, a face by a square, a corner with its three neighbours by a regular hexagon; three corners
    of a face by a triangle parallel to it and a trapezoid, and a path along three axes by four triangles, one of them
    in the middle. These two outlines are not flat; both ways to divide the second give the same areas.
    """
    unit = np.eye(ndim)
    if ndim == 1:
        return [np.ones(1)]
    steps = [_axes(one, other) for one, other in itertools.combinations(piece, 2)]
    edges = [axes[0] for axes in steps if len(axes) == 1]
    if ndim == 2:  # a line seen along one axis shows its length along the other
        return [np.full(2, 0.5)] if len(piece) == 1 else [1 - unit[edges[0]]]
    slanted = np.ones(3)
    if len(piece) == 1:
        return [slanted / 8]
    if len(piece) == 2:
        return [(slanted - unit[edges[0]]) / 2]
    across = [axis for axis in range(3) if axis not in edges]
    if len(piece) == 3:
        return [unit[across[0]] / 2, slanted * 3 / 8]
    if across:
        return [unit[across[0]]]
    degrees = [sum(len(_axes(one, other)) == 1 for other in piece) for one in piece]
    if max(degrees) == 3:
        return [slanted * 3 / 4]
    middle = next(
        _axes(one, other)[0]
        for (one, a), (other, b) in itertools.combinations(zip(piece, degrees, strict=True), 2)
        if a == b == 2 and len(_axes(one, other)) == 1
    )
    ends = [(unit[middle] + unit[axis]) / 4 for axis in range(3) if axis != middle]
    return [slanted * 3 / 8, slanted / 8, *ends]


def _axes(one: Corner, other: Corner) -> list[int]:
    return [axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
