"""Images in memory to and from SimpleITK, ITK and nibabel, for steps and formats that those have and medframe has not.

Places are kept: ITK's world is LPS and its arrays run z, y, x; nibabel's world is RAS+ as ours. Meta-data stays behind
on both ways, since other programs keep names and dates of patients there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadGeometry, MedframeWarning
from medframe.base.extras import need
from medframe.geometry import Space
from medframe.image import Image, LabelMap
from medframe.io.loss import fit
from medframe.io.nifti_geometry import qform_of
from medframe.io.stored import Stored
from medframe.io.writing import solid_space, voxels_of

Kind = TypeVar("Kind", bound=Image)
Array = NDArray[np.float64]

_DIRECTIONS = 1e-4  # how far axes may be from a right angle: ITK refuses more, and we what it would silently mend
_ITK_WIDER = {"int8": "int16", "int64": "int32"}  # dtypes that the wheels of ITK have no images of
_ITK_VECTOR = {"int8": "int16", **dict.fromkeys(("int32", "uint32", "int64", "uint64"), "float64")}  # of components
_KINDS = "iuf"


def to_sitk(image: Image) -> Any:
    """A SimpleITK image with the same voxels at the same places.

    Channels become the components of a voxel. Half floats become float32, bool uint8.

    Args:
        image: of two or three axes; waiting warps are paid.

    Raises:
        BadGeometry: the axes are sheared, which ITK has no room for.
        BadArgument: the image has one axis.
        MissingPackage: SimpleITK is not installed.

    Example:
        >>> smooth = from_sitk(SimpleITK.CurvatureFlow(to_sitk(image)))  # doctest: +SKIP
    """
    sitk = need("SimpleITK", "turn an image into a SimpleITK image")
    spacing, origin, direction = _lps_of(image.space)
    out = sitk.GetImageFromArray(_as_zyx(image, voxels_of(image)), isVector=image.channels > 1)
    out.SetSpacing(spacing.tolist())
    out.SetOrigin(origin.tolist())
    out.SetDirection(direction.ravel().tolist())
    return out


def from_sitk(image: Any, kind: type[Kind] = Image) -> Kind:  # type: ignore[assignment]  # the default is a kind
    """An image of a SimpleITK image; the components of a voxel, or the fourth axis, become channels.

    Dtypes are those that reading a file gives: uint16 becomes int32, uint32 int64; a LabelMap must hold whole numbers.

    Args:
        image: of two to four axes.
        kind: Image or LabelMap.

    Raises:
        BadArgument: complex voxels, or another number of axes.
        BadGeometry: the fourth axis is no axis of its own.
        BadLabel: a label is not whole.

    Example:
        >>> image = from_sitk(SimpleITK.ReadImage("scan.mnc"))  # doctest: +SKIP
    """
    sitk = need("SimpleITK", "take an image from SimpleITK")
    rank = int(image.GetDimension())
    grid = _Grid(image.GetSpacing(), image.GetOrigin(), np.array(image.GetDirection()).reshape(rank, rank))
    components = int(image.GetNumberOfComponentsPerPixel())
    return _from_zyx(sitk.GetArrayFromImage(image), components, grid, kind, "SimpleITK")


def to_itk(image: Image) -> Any:
    """An ITK image with the same voxels at the same places; see `to_sitk`.

    The wheels of ITK have no images of int8 and int64: those become int16, and int32 where all values fit. Of several
    components they have none of 32 and 64 bits, which become float64.

    Raises:
        BadGeometry: the axes are sheared.
        BadArgument: the image has one axis.
        BadVoxels: an integer does not fit.
        MissingPackage: ITK is not installed.
    """
    itk = need("itk", "turn an image into an ITK image")
    spacing, origin, direction = _lps_of(image.space)
    voxels = voxels_of(image)
    wider = (_ITK_VECTOR if image.channels > 1 else _ITK_WIDER).get(voxels.dtype.name)
    voxels = voxels if wider is None else fit(voxels, np.dtype(wider), "raise", "to_itk")
    with _loading():
        out = itk.image_from_array(_as_zyx(image, voxels), is_vector=image.channels > 1)
        out.SetSpacing(spacing.tolist())
        out.SetOrigin(origin.tolist())
        out.SetDirection(direction)
    return out


def from_itk(image: Any, kind: type[Kind] = Image) -> Kind:  # type: ignore[assignment]  # the default is a kind
    """An image of an ITK image; see `from_sitk`.

    Raises:
        BadArgument: complex voxels, or another number of axes.
        BadGeometry: the fourth axis is no axis of its own.
        BadLabel: a label is not whole.
    """
    itk = need("itk", "take an image from ITK")
    with _loading():
        array = itk.array_from_image(image)
        direction = np.asarray(itk.array_from_matrix(image.GetDirection()))
        grid = _Grid(tuple(image.GetSpacing()), tuple(image.GetOrigin()), direction)
    return _from_zyx(array, int(image.GetNumberOfComponentsPerPixel()), grid, kind, "ITK")


@contextmanager
def _loading() -> Iterator[None]:
    # ITK loads its libraries when they are first used, and one that warns while warnings are errors crashes Python
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def to_nibabel(image: Image) -> Any:
    """A nibabel NIfTI-1 image with the same voxels at the same places; channels become the fourth axis.

    The affine stands in the sform, and in the qform where it has no shear, both with code 1 (scanner), in millimetres.

    Raises:
        MissingPackage: nibabel is not installed.
    """
    nibabel = need("nibabel", "turn an image into a nibabel image")
    space, voxels = solid_space(image.space), voxels_of(image)
    array = voxels.reshape(image.channels, *space.shape)
    array = np.moveaxis(array, 0, -1) if image.channels > 1 else array[0]
    out = nibabel.Nifti1Image(array, space.affine, dtype=array.dtype)
    out.header.set_xyzt_units("mm")
    out.set_sform(space.affine, code=1)
    out.set_qform(space.affine if qform_of(space) is not None else None, code=1 if qform_of(space) is not None else 0)
    return out


def from_nibabel(image: Any, kind: type[Kind] = Image) -> Kind:  # type: ignore[assignment]  # the default is a kind
    """An image of any of nibabel's spatial images (MGH, MINC, PAR/REC, AFNI, ...); a fourth axis becomes channels.

    Units of a NIfTI header are turned into millimetres. nibabel checks no size before it allocates and serves damaged
    voxels: use `medframe.read` for files that it reads.

    Args:
        image: with `dataobj` and `affine`.
        kind: Image or LabelMap.

    Raises:
        BadArgument: complex or coloured voxels, or too many axes.
        BadGeometry: the affine is invalid.
        BadLabel: a label is not whole.

    Example:
        >>> image = from_nibabel(nibabel.load("brain.mgz"))  # doctest: +SKIP
    """
    array = np.asanyarray(image.dataobj)
    affine = np.array(image.affine, np.float64) if image.affine is not None else np.eye(4)
    header, notes = image.header, []
    coded = "sform_code" in header if hasattr(header, "keys") else None
    if image.affine is None or (coded and not header["sform_code"] and not header["qform_code"]):
        notes.append("the image holds no orientation: which side is left is unknown")
        warnings.warn(notes[0], MedframeWarning, stacklevel=2)
    unit = str(header.get_xyzt_units()[0]) if hasattr(header, "get_xyzt_units") else "mm"
    affine[:3] *= {"meter": 1e3, "micron": 1e-3}.get(unit, 1.0)
    while array.ndim > 4 and 1 in array.shape[3:]:
        array = array.squeeze(3 + array.shape[3:].index(1))
    if array.ndim > 4 or array.ndim < 1:
        raise BadArgument("the image has more axes than space and channels", found=array.shape, due="up to four axes")
    many = array.ndim == 4
    block = np.moveaxis(array, -1, 0) if many else array[None]
    block = block.reshape((*block.shape, 1, 1)[:4])
    return _image(block, Space(block.shape[1:], affine), kind, "nibabel", tuple(notes))


def _lps_of(space: Space) -> tuple[Array, Array, Array]:
    # spacing, origin and direction as ITK has them
    if space.ndim == 1:
        raise BadArgument("ITK has no images of one axis", found=str(space), due="two or three axes")
    direction = space.direction
    if np.abs(direction.T @ direction - np.eye(space.ndim)).max() > _DIRECTIONS:
        raise BadGeometry(
            "ITK has no room for sheared axes",
            found=str(space),
            due="axes at right angles",
            mend="Resample it first onto a lattice of upright axes: image.to_space(Space(shape, affine)).",
        )
    mirror = np.diag([-1.0, -1.0, 1.0][: space.ndim])
    return space.spacing, mirror @ space.origin, mirror @ direction


def _as_zyx(image: Image, voxels: NDArray[Any]) -> NDArray[Any]:
    # (C, X, Y, Z) -> Z, Y, X and components last
    turned = voxels.transpose(*range(image.ndim, 0, -1), 0)
    return np.ascontiguousarray(turned if image.channels > 1 else turned[..., 0])


@dataclass(frozen=True)
class _Grid:
    # where voxels lie as ITK says it
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: Array


def _from_zyx(array: NDArray[Any], components: int, grid: _Grid, kind: type[Kind], name: str) -> Kind:
    spacing, origin, direction = np.array(grid.spacing), np.array(grid.origin), grid.direction
    rank = len(spacing)
    if not 2 <= rank <= 4 or (rank == 4 and components > 1):
        due = "two or three axes, or a fourth instead of components"
        raise BadArgument("the image has more axes than space and channels", found=f"{rank} axes", due=due)
    if rank == 4 and (direction[3, :3].any() or direction[:3, 3].any()):
        due = "time apart from space"
        raise BadGeometry("the fourth axis is no axis of its own", found=direction.tolist(), due=due)
    space = min(rank, 3)
    block = array[..., None] if components == 1 and array.ndim == rank else array
    block = block.transpose(*range(block.ndim - 1, -1, -1))  # C, X, Y, Z(, T)
    if rank == 4:
        block = np.moveaxis(block[0], -1, 0)
    mirror = np.diag([-1.0, -1.0, 1.0][:space])
    affine = np.eye(space + 1)
    affine[:space, :space] = mirror @ direction[:space, :space] * spacing[:space]
    affine[:space, space] = mirror @ origin[:space]
    return _image(block, Space(block.shape[1:], affine), kind, name, ())


def _image(block: NDArray[Any], space: Space, kind: type[Kind], name: str, notes: tuple[str, ...]) -> Kind:
    if block.dtype.kind not in _KINDS or block.dtype.itemsize > 8:
        raise BadArgument("the voxel type is not taken", found=block.dtype, due="integers or floats of up to 64 bits")
    c, d, h, w = (*block.shape, 1, 1)[:4]
    stored = Stored(block.dtype.str, (c, d, h, w), labels=issubclass(kind, LabelMap))
    data = stored.decode(block.reshape(c, d, h, w), (0, 0, 0), f"an image of {name}").reshape(block.shape)
    meta = {"format": name, "dtype": block.dtype.newbyteorder("=").name, "notes": notes}
    return kind(data, space=space, meta=meta)
