"""Voxels become closed contours along their edges, so that filling the contours gives the same voxels again.

A contour through the middle between voxel centres would look smoother, but it loses half a voxel of area at every
region. Along the edges the area within the contours is exactly that of the voxels, other programs measure the same
volume, and every vertex lies half a voxel from any centre, where no rounding can turn a voxel in or out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Loop = list[int]  # numbers of voxel corners, in turn


@dataclass(frozen=True, eq=False)
class Traced:
    """The contours of one plane.

    Args:
        outer: of every region the outer polygon, (N, 2) in index coordinates.
        holes: the polygons of its holes; empty if they were joined to the outer ones.
    """

    outer: tuple[NDArray[np.float64], ...]
    holes: tuple[NDArray[np.float64], ...]


def trace(mask: NDArray[np.bool_], *, keyhole: bool = False) -> Traced:
    """The contours of the true voxels of a plane.

    No contour meets itself: regions that touch at a corner alone are contours of their own. Outer contours run one way
    and holes the other, so that the even-odd and the winding rule agree.

    Args:
        mask: (A, B).
        keyhole: join each hole to its outer contour by a channel without width, along voxel edges.

    Returns:
        Vertices at voxel edges, such as (-0.5, 2.5); voxel centres lie at whole numbers. The last vertex is not the
        first one again, and none lies on a straight line between its neighbours.

    Example:
        >>> mask = np.zeros((3, 3), bool)
        >>> mask[1, 1] = True
        >>> trace(mask).outer[0].tolist()
        [[0.5, 0.5], [0.5, 1.5], [1.5, 1.5], [1.5, 0.5]]
    """
    width = mask.shape[1] + 1  # corners in a row; corner p * width + q lies at (p - 0.5, q - 0.5)
    ahead, crossing = _edges(mask, width)
    loops = _loops(ahead, crossing)
    if crossing:
        loops = [simple for loop in loops for simple in _simple(loop)]
    outer = [loop for loop in loops if _area(loop, width) > 0]
    holes = [loop for loop in loops if _area(loop, width) < 0]
    if keyhole:
        outer, holes = _joined(outer, holes, width), []
    return Traced(tuple(_corners(loop, width) for loop in outer), tuple(_corners(loop, width) for loop in holes))


def _edges(mask: NDArray[np.bool_], width: int) -> tuple[dict[int, int], dict[int, int]]:
    # unit edges from corner to corner, their voxel always to the same side; the second edges of corners where two meet
    padded = np.pad(np.asarray(mask, bool), 1)
    inner = padded[1:-1, 1:-1]
    starts, stops = [], []
    for outside, start, stop in (
        (padded[:-2, 1:-1], 0, 1),
        (padded[1:-1, 2:], 1, width + 1),
        (padded[2:, 1:-1], width + 1, width),
        (padded[1:-1, :-2], width, 0),
    ):
        a, b = np.nonzero(inner & ~outside)
        corner = a * width + b
        starts.append(corner + start)
        stops.append(corner + stop)
    start_, stop_ = np.concatenate(starts), np.concatenate(stops)
    _, first = np.unique(start_, return_index=True)
    second = np.ones(len(start_), bool)
    second[first] = False
    ahead = dict(zip(start_[first].tolist(), stop_[first].tolist(), strict=True))
    return ahead, dict(zip(start_[second].tolist(), stop_[second].tolist(), strict=True))


def _loops(ahead: dict[int, int], crossing: dict[int, int]) -> list[Loop]:
    # every corner has as many edges in as out, so a walk ends only where it began
    left, loops = dict(crossing), []
    for start in list(ahead):
        while start in ahead or start in left:
            loop = [start]
            at = ahead.pop(start) if start in ahead else left.pop(start)
            while at != start:
                loop.append(at)
                at = ahead.pop(at) if at in ahead else left.pop(at)
            loops.append(loop)
    return loops


def _simple(loop: Loop) -> list[Loop]:
    # cut wherever a corner is passed a second time
    found: list[Loop] = []
    way: Loop = []
    seen: set[int] = set()
    for corner in loop:
        if corner in seen:
            cut = len(way) - 1 - way[::-1].index(corner)
            found.append(way[cut:])
            seen.difference_update(way[cut + 1 :])
            del way[cut + 1 :]
        else:
            seen.add(corner)
            way.append(corner)
    return [*found, way]


def _area(loop: Loop, width: int) -> float:
    # signed, positive around voxels
    a, b = np.divmod(np.array(loop, np.int64), width)
    return float(np.sum(np.roll(a, -1) * b - a * np.roll(b, -1))) / 2


def _joined(outer: list[Loop], holes: list[Loop], width: int) -> list[Loop]:
    # from its topmost corner a hole sees, straight up over voxels of the region, a contour that begins further up:
    # the outer one, or that of a hole which was joined before
    whole = [list(loop) for loop in outer]
    if not holes:
        return whole
    owner: dict[int, int] = {}
    for number, loop in enumerate(whole):
        for corner in loop:
            owner.setdefault(corner, number)
    for hole in sorted(holes, key=min):
        top = at = min(hole)
        while at not in owner:
            at -= width
        number = owner[at]
        target = whole[number]
        first, place = hole.index(top), target.index(at)
        walk = [*hole[first:], *hole[:first], top]
        target[place + 1 : place + 1] = [*walk, at] if at != top else walk[1:]
        for corner in hole:
            owner.setdefault(corner, number)
    return whole


def _corners(loop: Loop, width: int) -> NDArray[np.float64]:
    # without the corners on straight lines; a channel's turning point is none
    points = np.stack(np.divmod(np.array(loop, np.int64), width), axis=1)
    before = np.sign(points - np.roll(points, 1, axis=0))
    after = np.sign(np.roll(points, -1, axis=0) - points)
    turns: NDArray[np.float64] = points[(before != after).any(axis=1)] - 0.5
    return turns
