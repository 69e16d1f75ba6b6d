"""Frames find their place on a lattice by where they lie, never by their order; slices may be without a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadGeometry
from medframe.geometry import Space
from medframe.io.dicom.lattice import CLOSE, LPS_TO_RAS, TOLERANCE, Plane, check_alike
from medframe.io.text_header import lattice

_DIVISORS = 8  # the distance between slices is the smallest gap between frames, or a whole part of it down to this
_OFF = 0.05  # voxels: how far a frame may lie from the lattice


@dataclass(frozen=True, eq=False)
class Placing:
    """How frames (rows, columns) lie on a lattice.

    Args:
        shape: of the lattice.
        axes: of the lattice, along a row, down a column, and across the frames.
        signs: of the directions along a row and down a column.
        starts: for each frame the lowest index along `axes`, (N, 3).
    """

    shape: tuple[int, ...]
    axes: tuple[int, int, int]
    signs: tuple[int, int]
    starts: NDArray[np.int64]

    def put(self, number: int, frame: NDArray[Any]) -> tuple[tuple[Any, ...], NDArray[Any]]:
        """Where a frame goes in a volume, and the frame turned and cut to fit there."""
        turned = frame[:: self.signs[1], :: self.signs[0]].T  # now (along, down)
        where: list[Any] = [0, 0, 0]
        cut = []
        for axis, start, size in zip(self.axes[:2], self.starts[number].tolist(), turned.shape, strict=False):
            low, high = max(start, 0), min(start + size, self.shape[axis])
            where[axis] = slice(low, max(high, low))
            cut.append(slice(low - start, max(high, low) - start))
        where[self.axes[2]] = int(self.starts[number, 2])
        part = turned[tuple(cut)]
        return tuple(where), part if self.axes[0] < self.axes[1] else part.T

    def inside(self, number: int) -> bool:
        """Whether a frame's slice is one of the lattice."""
        return 0 <= int(self.starts[number, 2]) < self.shape[self.axes[2]]


def smallest_lattice(planes: Sequence[Plane], thickness: float | None, where: Path) -> tuple[Space, int]:
    """The smallest lattice that holds all frames, and how many of its slices have none.

    The distance between slices is `thickness` where all gaps between frames are multiples of it, else the smallest
    gap, or the largest whole part of it that the others are multiples of.

    Raises:
        BadGeometry: frames of several kinds, or with no even distance between them.
    """
    check_alike(planes)
    first = planes[0]
    axes = first.axes
    positions = np.array([plane.position for plane in planes])
    depth = positions @ axes[2]
    order = np.argsort(depth, kind="stable")
    new = np.concatenate([[True], np.diff(depth[order]) > CLOSE])
    distinct = positions[order[new]]
    steps = np.diff(distinct, axis=0)
    gaps = steps @ axes[2]
    if not len(gaps):
        if not thickness:
            raise BadGeometry(
                "the frames lie in one plane, and the file does not say how thick it is",
                where=where,
                found="no SpacingBetweenSlices and no SliceThickness",
                due="a distance between slices",
                mend="Read it with reference=, the folder of the source series or an image of it.",
            )
        step, counts = axes[2] * thickness, np.zeros(0, np.int64)
    else:
        spacing = _spacing(gaps, thickness, where)
        counts = np.rint(gaps / spacing).astype(np.int64)
        total = distinct[-1] - distinct[0]
        step = total / counts.sum()
        aside = np.linalg.norm(steps - counts[:, None] * step, axis=1)
        if aside.max() > max(TOLERANCE * spacing, CLOSE):
            raise _uneven(f"frames shifted by {aside.max():.4g} mm against an even stack", where)
        lean = step - (step @ axes[2]) * axes[2]
        if np.linalg.norm(lean) * counts.sum() < 0.01 * min(first.pixel_spacing):
            step = (step @ axes[2]) * axes[2]  # rounding of the positions, no shear
    affine = np.eye(4)
    affine[:3, 0] = axes[0] * first.pixel_spacing[1]
    affine[:3, 1] = axes[1] * first.pixel_spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = distinct[0]
    slices = int(counts.sum()) + 1
    return lattice((first.columns, first.rows, slices), LPS_TO_RAS @ affine, where), slices - len(distinct)


def _spacing(gaps: NDArray[np.float64], thickness: float | None, where: Path) -> float:
    least = float(gaps.min())
    for spacing in ([thickness] if thickness else []) + [least / n for n in range(1, _DIVISORS + 1)]:
        counts = np.rint(gaps / spacing)
        if counts.min() >= 1 and np.abs(gaps - counts * spacing).max() <= max(TOLERANCE * spacing, CLOSE):
            return spacing
    raise _uneven("gaps of " + ", ".join(f"{g:.4g}" for g in sorted(set(np.round(gaps, 4)))[:6]) + " mm", where)


def _uneven(found: str, where: Path) -> BadGeometry:
    return BadGeometry(
        "the frames are no part of an even stack",
        where=where,
        found=found,
        due="multiples of one distance",
        mend="Read it with reference=, the folder of the source series or an image of it.",
    )


def place(planes: Sequence[Plane], space: Space, where: Path, *, clip: bool = False) -> Placing:
    """Frames on a lattice whose voxels are theirs; axes may be permuted and mirrored.

    Args:
        planes: of the frames.
        space: the lattice.
        where: the file, for messages.
        clip: cut off what lies beyond the lattice, instead of raising.

    Raises:
        BadGeometry: the frames lie between the voxels of the lattice, or beyond it.
    """
    check_alike(planes)
    first = planes[0]
    if space.ndim != 3:
        raise BadGeometry("frames lie in a volume", where=where, found=f"a lattice of {space.ndim} axes", due=3)
    inverse = space.inverse[:3, :3] @ LPS_TO_RAS[:3, :3]
    along = inverse @ (first.axes[0] * first.pixel_spacing[1])
    down = inverse @ (first.axes[1] * first.pixel_spacing[0])
    i, j = int(np.abs(along).argmax()), int(np.abs(down).argmax())
    k = 3 - i - j
    places = space.to_index(np.array([plane.position for plane in planes]) @ LPS_TO_RAS[:3, :3])
    off = _whole_off(along, first.columns, i) + _whole_off(down, first.rows, j) if i != j else np.inf
    apart = float(np.abs(places - np.rint(places)).max() + off)
    if apart > _OFF:
        raise BadGeometry(
            "the frames do not lie on the lattice of the reference",
            where=where,
            found="other directions or spacing" if off > _OFF else f"frames {apart:.3g} voxels off its voxels",
            due=space,
            mend="Give the series that was segmented as the reference, or read without one and call to_space.",
        )
    starts = np.rint(places)[:, [i, j, k]].astype(np.int64)
    signs = (1 if along[i] > 0 else -1, 1 if down[j] > 0 else -1)
    sizes = np.array([first.columns, first.rows, 1])
    for axis, sign in enumerate(signs):
        if sign < 0:
            starts[:, axis] -= sizes[axis] - 1
    limits = np.array([space.shape[a] for a in (i, j, k)])
    beyond = int(((starts < 0) | (starts + sizes > limits)).any(axis=1).sum())
    if beyond and not clip:
        raise BadGeometry(
            "frames lie beyond the lattice of the reference",
            where=where,
            found=f"{beyond} of {len(planes)} frames",
            due=f"frames within {space}",
            mend="Give a reference that holds them all, or cut them off with clip=True.",
        )
    return Placing(space.shape, (i, j, k), signs, starts)


def _whole_off(direction: NDArray[np.float64], count: int, axis: int) -> float:
    # how far the last pixel lies from where steps of one voxel along the axis would lead
    ideal = np.zeros(3)
    ideal[axis] = np.sign(direction[axis])
    return float(np.abs(direction - ideal).max() * max(count - 1, 1))
