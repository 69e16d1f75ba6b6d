"""From planes in the patient to one lattice: sorted along their normal, evenly spaced, or an error that names files.

DICOM's world is LPS (x grows to the patient's left, y to the back); ours is RAS. Axes of the lattice: i runs along a
row (over columns), j down a column (over rows), k along the normal, which is the cross product of the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadGeometry, shown_path
from medframe.geometry import Space
from medframe.io.text_header import lattice

Array = NDArray[np.float64]

TOLERANCE = 0.01  # of the spacing: two gaps that differ by less are equal,
CLOSE = 0.01  # mm: or by less than this
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ON_GAP = ("error", "resample")

_UNIT = 1e-3  # how far direction cosines may be from unit length and from a right angle
_SAME_DIRECTION = 1e-4  # cosines of one series differ by rounding alone
_DRIFT = 0.1  # of the spacing: how far a slice may lie from the even lattice when small errors add up
_SHOWN = 6  # files that a message lists
_MEND_MIXED = "Take the odd ones out of the folder, or read the largest group with mixed='largest'."


@dataclass(frozen=True)
class Plane:
    """Where one image lies in the patient, in DICOM's own words.

    Args:
        position: ImagePositionPatient, mm LPS (3,): the centre of the first pixel.
        orientation: ImageOrientationPatient (6,): directions along a row, then down a column.
        pixel_spacing: PixelSpacing, mm: between rows, then between columns.
        rows: pixels down.
        columns: pixels across.
        where: the file, and frame if it holds several, as messages show it.

    Raises:
        BadGeometry: numbers that are not finite, spacing that is not positive, or directions that are no right angle.
    """

    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    pixel_spacing: tuple[float, float]
    rows: int
    columns: int
    where: str

    def __post_init__(self) -> None:
        for name, count in (("position", 3), ("orientation", 6), ("pixel_spacing", 2)):
            values = tuple(float(v) for v in getattr(self, name))
            if len(values) != count or not all(map(math.isfinite, values)):
                raise _bad(self.where, f"the {name} of an image is invalid", values, f"{count} finite numbers")
            object.__setattr__(self, name, values)
        if min(self.pixel_spacing) <= 0:
            raise _bad(self.where, "the pixel spacing is invalid", self.pixel_spacing, "PixelSpacing above 0 mm")
        if min(self.rows, self.columns) < 1:
            raise _bad(self.where, "an image has no pixels", f"{self.rows} x {self.columns}", "rows and columns")
        along, down = self.orientation[:3], self.orientation[3:]
        square = abs(sum(a * d for a, d in zip(along, down, strict=True))) <= _UNIT
        if not square or any(abs(math.hypot(*v) - 1) > _UNIT for v in (along, down)):
            raise _bad(
                self.where,
                "the orientation is invalid",
                f"ImageOrientationPatient {_numbers(self.orientation)}",
                "two directions of length 1 at a right angle",
            )

    @property
    def axes(self) -> Array:
        """Unit vectors along a row, down a column and along the normal, as rows (3, 3), LPS."""
        along, down = np.array(self.orientation).reshape(2, 3)
        along = along / np.linalg.norm(along)
        down = down - (down @ along) * along
        down /= np.linalg.norm(down)
        return np.stack([along, down, np.cross(along, down)])


def stack(
    planes: Sequence[Plane],
    *,
    on_gap: str = "error",
    tolerance: float = TOLERANCE,
    thickness: float | None = None,
) -> tuple[Space, tuple[int, ...]]:
    """The lattice of planes that make up one volume, and their order along its last axis.

    Planes are sorted along their normal; neither names nor numbers of files count. Gaps are even where they differ from
    their median by at most `tolerance` of it or 0.01 mm. Slices that are shifted along each other alike (gantry tilt)
    give a sheared affine, which is exact. The lattice has the shape (columns, rows, slices).

    Args:
        planes: in any order.
        on_gap: "error", or "resample": an even lattice over all of an uneven or incomplete stack. Its slices lie
            between planes; `places` tells where each plane lies among them.
        tolerance: see above.
        thickness: mm between slices where there is but one plane.

    Returns:
        The lattice in RAS, and indices into `planes` by slice.

    Raises:
        BadGeometry: planes of several sizes, spacings or directions, two at one position, one missing, uneven gaps, or
            slices that do not lie behind each other.
        BadArgument: no planes, or an unknown `on_gap`.

    Example:
        >>> slices = [Plane((0, 0, 5 * k), (1, 0, 0, 0, 1, 0), (2, 2), 64, 64, f"{k}.dcm") for k in (2, 0, 1)]
        >>> space, order = stack(slices)
        >>> print(space, order)
        64 x 64 x 3 voxels of 2 x 2 x 5 mm, LPS, origin (0, 0, 0) (1, 2, 0)
    """
    if on_gap not in ON_GAP:
        raise BadArgument("on_gap has no such value", found=repr(on_gap), due=" or ".join(map(repr, ON_GAP)))
    if not planes:
        raise BadArgument("a stack has planes", found="none", due="at least one")
    check_alike(planes)
    first = planes[0]
    axes = first.axes
    positions = np.array([plane.position for plane in planes])
    depth = positions @ axes[2]
    order = np.argsort(depth, kind="stable")
    if len(planes) == 1:
        if thickness is None or not thickness > 0:
            mend = "Read it as a flat image with ndim=2, or give thickness= in mm."
            raise _bad(first.where, "one slice does not say how thick it is", "no SliceThickness", "a thickness", mend)
        step, count = axes[2] * thickness, 1
    else:
        check_distinct([planes[k] for k in order], depth[order])
        step, count = _even(_Sorted([planes[k] for k in order], positions[order], axes[2], tolerance), on_gap)
    affine = np.eye(4)
    affine[:3, 0] = axes[0] * first.pixel_spacing[1]
    affine[:3, 1] = axes[1] * first.pixel_spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[order[0]]
    space = lattice((first.columns, first.rows, count), LPS_TO_RAS @ affine, Path(first.where))
    return space, tuple(int(k) for k in order)


def places(planes: Sequence[Plane], space: Space) -> Array:
    """The slice index, fractional, at which each plane lies in a lattice of their directions."""
    world = np.array([plane.position for plane in planes]) @ LPS_TO_RAS[:3, :3]
    index: Array = space.to_index(world)[:, 2]
    return index


def tilt(space: Space) -> float:
    """Degrees between the last axis of a lattice and the normal of its slices: 0 without gantry tilt."""
    i, j, k = space.direction.T
    normal = np.cross(i, j)
    return float(np.degrees(np.arccos(min(1.0, abs(float(normal @ k)) / float(np.linalg.norm(normal))))))


def upright(space: Space) -> Space:
    """The lattice without shear that holds every voxel of a sheared one: its last axis stands on the slices.

    Axes and spacing within the slices stay; the spacing between them is the distance along the normal.
    """
    axes = space.affine[:3, :3]
    normal = np.cross(axes[:, 0], axes[:, 1])
    normal *= np.sign(normal @ axes[:, 2]) / np.linalg.norm(normal)
    linear = np.stack([axes[:, 0], axes[:, 1], normal * (normal @ axes[:, 2])], axis=1)
    shift = np.linalg.solve(linear, axes[:, 2] * (space.shape[2] - 1))[:2]  # pixels that the last slice lies aside
    low, high = np.floor(np.minimum(shift, 0) + 1e-6), np.ceil(np.maximum(shift, 0) - 1e-6)
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = space.affine[:3, 3] + linear[:, :2] @ low
    widths = [int(n + h - b) for n, h, b in zip(space.shape[:2], high, low, strict=True)]
    return Space((*widths, space.shape[2]), affine)


def check_alike(planes: Sequence[Plane]) -> None:
    """Raise BadGeometry where planes have several sizes, spacings or directions, naming those that differ."""
    groups = alike(planes)
    if len(groups) == 1:
        return
    odd = [planes[k] for group in groups[1:] for k in group]
    main = planes[groups[0][0]]
    raise BadGeometry(
        "images of several kinds are mixed",
        where=odd[0].where,
        found=f"{kind(odd[0], main)} in {names(odd)}",
        due=f"{kind(main, odd[0])}, as in {len(groups[0])} others",
        mend=_MEND_MIXED,
    )


def alike(planes: Sequence[Plane]) -> list[list[int]]:
    """Indices of planes of one size, spacing and direction, the largest group first."""
    groups: list[list[int]] = []
    for k, plane in enumerate(planes):
        for group in groups:
            if _same(plane, planes[group[0]]):
                group.append(k)
                break
        else:
            groups.append([k])
    return sorted(groups, key=len, reverse=True)


def check_distinct(planes: Sequence[Plane], depth: Array) -> None:
    """Raise BadGeometry where two of the sorted planes lie at one position."""
    twice = np.flatnonzero(same_depth(depth))
    if len(twice):
        pairs = [f"{_name(planes[k])} and {_name(planes[k + 1])} at {depth[k]:.4g} mm" for k in twice[:_SHOWN]]
        raise BadGeometry(
            "several images lie at one position",
            where=planes[int(twice[0])].where,
            found="; ".join(pairs) + (f"; {len(twice) - _SHOWN} more" if len(twice) > _SHOWN else ""),
            due="one image at each position",
            mend="If they are copies, read with duplicates='drop_identical'; if volumes of a 4-D series, with by=TAG.",
        )


def same_depth(depth: Array) -> NDArray[np.bool_]:
    """Which of the sorted depths, in mm, equal the next one."""
    gaps = np.diff(depth)
    widest = float(gaps.max()) if len(gaps) else 0.0
    same: NDArray[np.bool_] = gaps < max(1e-4, min(CLOSE, 0.05 * widest))
    return same


@dataclass(frozen=True, eq=False)
class _Sorted:
    # planes by depth, and how far apart they are
    planes: list[Plane]
    positions: Array
    normal: Array
    tolerance: float

    @property
    def depth(self) -> Array:
        along: Array = self.positions @ self.normal
        return along

    @property
    def gaps(self) -> Array:
        return np.diff(self.depth)

    @property
    def spacing(self) -> float:
        return float(np.median(self.gaps))

    @property
    def allowed(self) -> float:
        # positions rounded to hundredths differ by exactly that much, which is even
        return max(self.tolerance * self.spacing, CLOSE) * (1 + 1e-6)

    @property
    def reach(self) -> float:
        return float(self.depth[-1] - self.depth[0])

    @property
    def lean(self) -> Array:
        """How far slices shift along each other, a millimetre of depth."""
        shift: Array = (self.positions[-1] - self.positions[0]) / self.reach - self.normal
        return shift

    @property
    def odd(self) -> NDArray[np.intp]:
        """Gaps that are not even; the worst one where small errors add up to much."""
        gaps, count = self.gaps, len(self.planes)
        apart = np.abs(gaps - self.spacing)
        drift = np.abs(self.depth - self.depth[0] - np.arange(count) * self.reach / (count - 1)).max()
        if (apart > self.allowed).any() or drift <= max(_DRIFT * self.spacing, CLOSE):
            return np.flatnonzero(apart > self.allowed)
        return np.array([int(apart.argmax())])


def _even(stack: _Sorted, on_gap: str) -> tuple[Array, int]:
    # the step from slice to slice and their number
    aside = np.linalg.norm(np.diff(stack.positions, axis=0) - np.outer(stack.gaps, stack.normal + stack.lean), axis=1)
    worst = int(aside.argmax())
    if aside[worst] > stack.allowed:
        one, other = stack.planes[worst : worst + 2]
        raise BadGeometry(
            "the slices do not lie behind each other",
            where=other.where,
            found=f"{_name(one)} and {_name(other)} are shifted by {aside[worst]:.4g} mm more than the others",
            due=f"an even stack, to {stack.allowed:.4g} mm",
            mend="The slices belong to several volumes or the patient moved; read them as separate series.",
        )
    count, spacing = len(stack.planes), _fitted(stack.depth)
    if len(stack.odd):
        if on_gap == "error":
            raise _gap(stack)
        count = round(stack.reach / stack.spacing) + 1
        spacing = stack.reach / (count - 1)
    # a shift of less than a hundredth of a pixel over all slices is rounding, no shear
    pixel = min(stack.planes[0].pixel_spacing)
    lean = stack.lean if np.linalg.norm(stack.lean) * stack.reach >= 0.01 * pixel else np.zeros(3)
    return (stack.normal + lean) * spacing, count


def _fitted(depth: Array) -> float:
    # the spacing of even slices by least squares; of all values that fit as well, given how the positions were rounded,
    # the one with the fewest decimals
    index = np.arange(len(depth))
    slope, start = np.polyfit(index, depth - depth[0], 1)
    slack = float(np.abs(depth - depth[0] - start - slope * index).max()) / (len(depth) - 1)
    for digits in range(8):
        if abs(round(slope, digits) - slope) <= slack:
            return float(round(slope, digits))
    return float(slope)


def _gap(stack: _Sorted) -> BadGeometry:
    odd, depth, spacing = stack.odd, stack.depth, stack.spacing
    times = stack.gaps[odd] / spacing
    missing = bool(np.all((np.abs(times - np.rint(times)) * spacing <= stack.allowed) & (np.rint(times) >= 2)))
    told = [
        f"{stack.gaps[k]:.4g} mm between {_name(stack.planes[k])} (at {depth[k]:.4g} mm)"
        f" and {_name(stack.planes[k + 1])} (at {depth[k + 1]:.4g} mm)"
        for k in odd[:_SHOWN]
    ]
    rest = f"; {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
    count = int(np.rint(times - 1).sum())
    gone = f"{count} slice{'s are' if count > 1 else ' is'} missing"
    return BadGeometry(
        gone if missing else "the slices are not evenly spaced",
        where=stack.planes[int(odd[0]) + 1].where,
        found="; ".join(told) + rest,
        due=f"gaps of {spacing:.4g} mm, to {stack.allowed:.4g} mm",
        mend="Copy the missing files, or read with on_gap='resample', which interpolates between the slices there are.",
    )


def _same(one: Plane, other: Plane) -> bool:
    return (
        (one.rows, one.columns) == (other.rows, other.columns)
        and _same_direction(one, other)
        and all(abs(a - b) <= 1e-4 * b for a, b in zip(one.pixel_spacing, other.pixel_spacing, strict=True))
    )


def _same_direction(one: Plane, other: Plane) -> bool:
    return all(abs(a - b) <= _SAME_DIRECTION for a, b in zip(one.orientation, other.orientation, strict=True))


def kind(plane: Plane, other: Plane) -> str:
    """In which way a plane differs from another, in words."""
    if (plane.rows, plane.columns) != (other.rows, other.columns):
        return f"{plane.rows} x {plane.columns} pixels"
    if not _same_direction(plane, other):
        return f"orientation {_numbers(plane.orientation)}"
    return f"pixel spacing {_numbers(plane.pixel_spacing)} mm"


def names(planes: Sequence[Plane]) -> str:
    """The files of planes, the first few of them."""
    listed = ", ".join(_name(plane) for plane in planes[:_SHOWN])
    count = f"{len(planes)} images" if len(planes) > 1 else "1 image"
    return f"{count}: {listed}" + (", ..." if len(planes) > _SHOWN else "")


def _name(plane: Plane) -> str:
    return Path(plane.where).name


def _numbers(values: Sequence[float]) -> str:
    return "\\".join(f"{v:.4g}" for v in values)


def _bad(where: str, what: str, found: object, due: str, mend: str | None = None) -> BadGeometry:
    return BadGeometry(
        what, where=shown_path(where), found=found, due=due, mend=mend or "Export the file again from its source."
    )
