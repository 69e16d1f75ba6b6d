"""Where the voxels of a NIfTI file lie: sform, qform, units, and the way back to header fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadGeometry
from medframe.geometry import Space
from medframe.io.nifti_header import NiftiHeader, Triple

Array = NDArray[np.float64]

_UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # code: millimetres; 0 is unknown and taken as millimetres
_FARTHEST = 1e7  # mm: an origin 10 km away is a damaged header, and single precision ends there anyway
_APART = 0.1  # voxels: sform and qform farther apart than this are said to disagree,
_ALARM = 0.5  # and farther than this, and claiming one world, are warned about


@dataclass(frozen=True)
class Orientation:
    """What a header says about place.

    Args:
        space: the lattice.
        form: "sform", "qform" or "none".
        notes: what was assumed or passed over.
        warning: the note that a user must see at once, if any.
    """

    space: Space
    form: str
    notes: tuple[str, ...] = ()
    warning: str | None = None


@np.errstate(all="ignore")  # numbers of a damaged header may overflow on the way to the error
def orientation_of(header: NiftiHeader, shape: tuple[int, int, int], where: Path) -> Orientation:
    """The affine by the standard's rules: the sform if it is set, else the qform, else spacing alone.

    The sform is never corrected from pixdim. A shear is kept.

    Raises:
        BadGeometry: the form that counts is invalid.
    """
    notes: list[str] = []
    warning = None
    unit = header.xyzt_units & 7
    if unit not in _UNITS:
        warning = f"spatial unit code {unit} is unknown: millimetres are assumed"
    elif unit in (1, 3):
        notes.append(f"{'metres' if unit == 1 else 'micrometres'} were turned into millimetres")
    scale = _UNITS.get(unit, 1.0)
    if header.sform_code > 0:
        form, affine = "sform", _scaled(sform(header), scale)
        if header.dim[0] == 2 and not affine[:3, 2].any():
            affine[:3, 2] = _normal(affine)
            notes.append("the sform gives a flat file no third axis: slices of 1 mm are assumed")
    elif header.qform_code > 0:
        form, affine = "qform", _scaled(qform(header, where), scale)
    else:
        form, affine = "none", _scaled(np.diag([*_spacing(header, where), 1.0]), scale)
        warning = "the file holds no orientation: which side is left is unknown, and axes are taken as RAS from 0"
    space = _lattice(shape, affine, form, where)
    if form == "sform":
        notes += _spacing_note(header, space, scale)
        if header.qform_code > 0:
            note, alarm = _compare(header, space, scale)
            notes += [note] if note else []
            warning = note if alarm else warning
    if warning:
        notes.append(warning)
    return Orientation(space, form, tuple(dict.fromkeys(notes)), warning)


def sform(header: NiftiHeader) -> Array:
    """The affine of the rows srow_x, srow_y, srow_z, in the file's unit."""
    affine = np.eye(4)
    affine[:3] = np.array(header.srow, np.float64).reshape(3, 4)
    return affine


def qform(header: NiftiHeader, where: Path) -> Array:
    """The affine of quaternion, offset and pixdim, in the file's unit.

    Raises:
        BadGeometry: the quaternion is no rotation, or the spacing is not positive.
    """
    b, c, d = header.quatern
    square = b * b + c * c + d * d
    # a is left out of the file as sqrt(1 - square); rounding in single precision may bring the square just above 1
    if not square <= 1 + 1e-5:
        raise BadGeometry(
            "the quaternion of the qform is no rotation",
            where=where,
            found=f"quatern_b, c, d = {b:g}, {c:g}, {d:g}",
            due="b^2 + c^2 + d^2 of at most 1",
            mend="The header is damaged or was written wrongly; write the file again with a valid qform or sform.",
        )
    if square > 1:
        b, c, d = (v / math.sqrt(square) for v in (b, c, d))
    a = math.sqrt(max(0.0, 1 - square))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    if math.isnan(header.pixdim[0]):
        raise BadGeometry(
            "the qform's handedness is not a number",
            where=where,
            found="pixdim[0] NaN",
            due="-1 or 1",
            mend="The header is damaged; copy the file again from its source.",
        )
    spacing = _spacing(header, where)
    spacing[2] *= -1 if header.pixdim[0] < 0 else 1
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = header.qoffset
    return affine


def qform_of(space: Space) -> tuple[float, Triple] | None:
    """Handedness (pixdim[0]) and quaternion of a lattice in 3-D, or None where a shear keeps it from having them."""
    rotation = space.direction.copy()
    handed = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    rotation[:, 2] *= handed
    u, _, vt = np.linalg.svd(rotation)
    nearest: Array = u @ vt
    if np.abs(nearest - rotation).max() > 1e-4:
        return None
    return handed, _quaternion(nearest)


def _quaternion(rotation: Array) -> Triple:
    # the symmetric form of Bar-Itzhack ("New method for extracting the quaternion from a rotation matrix", Journal of
    # Guidance, Control and Dynamics 2000, doi:10.2514/2.4654): its largest eigenvector is (b, c, d, a) at any angle
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    symmetric = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    b, c, d, a = np.linalg.eigh(symmetric)[1][:, -1]
    sign = -1.0 if a < 0 else 1.0
    return float(sign * b), float(sign * c), float(sign * d)


def _spacing(header: NiftiHeader, where: Path) -> Array:
    used = header.dim[0]
    spacing = np.array([header.pixdim[k] if k <= used else header.pixdim[k] or 1.0 for k in (1, 2, 3)])
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise BadGeometry(
            "the voxel spacing is invalid",
            where=where,
            found=f"pixdim {_numbers(spacing)}",
            due="positive numbers, since the file has no sform",
            mend="A negative spacing is a flip or a mistake, the file cannot say which; write it again with an sform.",
        )
    return spacing


def _normal(affine: Array) -> Array:
    normal: Array = np.cross(affine[:3, 0], affine[:3, 1])
    return normal / (np.linalg.norm(normal) or 1.0)


def _scaled(affine: Array, scale: float) -> Array:
    return np.diag([scale, scale, scale, 1.0]) @ affine if scale != 1 else affine


def _lattice(shape: tuple[int, int, int], affine: Array, form: str, where: Path) -> Space:
    mend = "The header is damaged or was written wrongly; write the file again with a valid sform."
    try:
        space = Space(shape, affine)
    except BadGeometry as error:
        raise BadGeometry(
            f"{form}: {error.what}",
            where=where,
            found=error.found,
            due=error.due or "three independent axes",
            mend=mend,
        ) from None
    if np.abs(affine[:3, 3]).max() > _FARTHEST:
        found = f"{_numbers(affine[:3, 3])} mm"
        raise BadGeometry(
            f"{form}: the origin lies impossibly far away",
            where=where,
            found=found,
            due=f"within {_FARTHEST:g} mm",
            mend=mend,
        )
    return space


def _spacing_note(header: NiftiHeader, space: Space, scale: float) -> list[str]:
    due = space.spacing
    found = np.array(header.pixdim[1:4]) * scale
    agree = np.abs(np.abs(found) - due) <= 1e-3 * due
    if agree[: header.dim[0]].all():
        return []
    return [f"pixdim {_numbers(found)} is not the spacing {_numbers(due)} of the sform, which was used"]


def _compare(header: NiftiHeader, space: Space, scale: float) -> tuple[str | None, bool]:
    # a note when the qform lies elsewhere, and whether that is alarming: both claim one world, and no shear explains it
    try:
        other = _scaled(qform(header, Path()), scale)
        apart = space.distance(Space(space.shape, other))
    except BadGeometry as error:
        return f"the qform is invalid ({error.what}); the sform was used", False
    voxel = float(space.spacing.min())
    if apart <= _APART * voxel:
        return None, False
    note = f"the qform lies up to {apart:.4g} mm from the sform, which was used"
    one_world = header.qform_code == header.sform_code and qform_of(space) is not None
    return note, one_world and apart > _ALARM * voxel


def _numbers(values: Sequence[float] | Array) -> str:
    return ", ".join(f"{v:g}" for v in values)
