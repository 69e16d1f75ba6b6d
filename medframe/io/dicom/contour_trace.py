"""Voxels become closed contours along their edges, so that filling the contours gives the same voxels again.

A contour through the middle between voxel centres would look smoother, but it loses half a voxel of area at every
region. Along the edges the area within the contours is exactly that of the voxels, other programs measure the same
volume, and every vertex lies half a voxel from any centre, where no rounding can turn a voxel in or out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vertex = tuple[int, int]
Loop = list[Vertex]


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
    loops = [simple for loop in _loops(_edges(mask)) for simple in _simple(loop)]
    outer = [loop for loop in loops if _area(loop) > 0]
    holes = [loop for loop in loops if _area(loop) < 0]
    if keyhole:
        outer, holes = _joined(outer, holes), []
    return Traced(tuple(map(_corners, outer)), tuple(map(_corners, holes)))


def _edges(mask: NDArray[np.bool_]) -> dict[Vertex, list[Vertex]]:
    # unit edges between lattice corners, each with its voxel to the same side; corner (p, q) lies at (p - .5, q - .5)
    padded = np.pad(np.asarray(mask, bool), 1)
    out: dict[Vertex, list[Vertex]] = {}

    def add(places: NDArray[np.int64], start: Vertex, stop: Vertex) -> None:
        for a, b in places.tolist():
            out.setdefault((a + start[0], b + start[1]), []).append((a + stop[0], b + stop[1]))

    inner = padded[1:-1, 1:-1]
    add(np.argwhere(inner & ~padded[:-2, 1:-1]), (0, 0), (0, 1))
    add(np.argwhere(inner & ~padded[1:-1, 2:]), (0, 1), (1, 1))
    add(np.argwhere(inner & ~padded[2:, 1:-1]), (1, 1), (1, 0))
    add(np.argwhere(inner & ~padded[1:-1, :-2]), (1, 0), (0, 0))
    return out


def _loops(edges: dict[Vertex, list[Vertex]]) -> list[Loop]:
    # every corner has as many edges in as out, so a walk ends only where it began
    loops = []
    for start in sorted(edges):
        while edges[start]:
            loop, at = [start], edges[start].pop()
            while at != start:
                loop.append(at)
                at = edges[at].pop()
            loops.append(loop)
    return loops


def _simple(loop: Loop) -> list[Loop]:
    # cut wherever a corner is passed a second time
    found: list[Loop] = []
    way: Loop = []
    seen: set[Vertex] = set()
    for vertex in loop:
        if vertex in seen:
            cut = len(way) - 1 - way[::-1].index(vertex)
            found.append(way[cut:])
            seen.difference_update(way[cut + 1 :])
            del way[cut + 1 :]
        else:
            seen.add(vertex)
            way.append(vertex)
    return [*found, way]


def _area(loop: Loop) -> float:
    # signed, positive around voxels
    a, b = np.array(loop, np.int64).T
    return float(np.sum(np.roll(a, -1) * b - a * np.roll(b, -1))) / 2


def _joined(outer: list[Loop], holes: list[Loop]) -> list[Loop]:
    # from its topmost corner a hole sees, straight up over voxels of the region, a contour that begins further up:
    # the outer one, or that of a hole which was joined before
    whole = [list(loop) for loop in outer]
    owners: dict[Vertex, list[int]] = {}
    for number, loop in enumerate(whole):
        for vertex in loop:
            owners.setdefault(vertex, []).append(number)
    for hole in sorted(holes, key=min):
        top = min(hole)
        at = top
        while at not in owners:
            at = (at[0] - 1, at[1])
        number = owners[at][0]
        target = whole[number]
        first, place = hole.index(top), target.index(at)
        walk = [*hole[first:], *hole[:first], top]
        target[place + 1 : place + 1] = [*walk, at] if at != top else walk[1:]
        for vertex in hole:
            owners.setdefault(vertex, []).append(number)
    return whole


def _corners(loop: Loop) -> NDArray[np.float64]:
    # without the corners on straight lines; a channel's turning point is none
    points = np.array(loop, np.int64)
    before = np.sign(points - np.roll(points, 1, axis=0))
    after = np.sign(np.roll(points, -1, axis=0) - points)
    turns: NDArray[np.float64] = points[(before != after).any(axis=1)] - 0.5
    return turns
