"""Images become NIfTI files."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadGeometry
from medframe.base.files import atomic_write
from medframe.geometry import Space
from medframe.image import Image
from medframe.io.gzip_stream import deflated
from medframe.io.loss import OnLoss, check_on_loss
from medframe.io.nifti_geometry import qform, qform_of, sform
from medframe.io.nifti_header import SIZE, TYPES, NiftiHeader, pack, unpack
from medframe.io.writing import file_order, solid_space, target_dtype, voxels_of

_CODES = {np.dtype(name): code for code, (name, count) in TYPES.items() if count == 1}
_SCANNER = 1  # both forms get this code, as from dcm2niix and ITK: world coordinates of the scanner
_VECTOR = 1007
_MOST = 32767  # an axis of NIfTI-1
_OFF = 1e-3  # voxels: what a header may move a corner of the lattice by


def write(
    image: Image,
    path: Path,
    *,
    overwrite: bool = False,
    dtype: torch.dtype | str | None = None,
    on_loss: OnLoss = "raise",
    vector: bool = False,
) -> None:
    """Write an image as .nii or .nii.gz; the file appears whole or not at all.

    The affine goes into the sform, sheared or not, and into the qform too where there is no shear; both get code 1
    (scanner), the unit is millimetres. NIfTI-1 holds it in single precision: a file that was read and written again has
    the same bytes there. NIfTI-2, in double precision, is chosen where an axis is longer than 32767 voxels or single
    precision would move a corner by a thousandth of a voxel.

    Channels become the fourth axis, or the fifth with `vector`; `read` takes both back. A 2-D image becomes a 2-D
    file at z = 0. Voxels are written unscaled. Images keep their dtype (half floats become float32, bool uint8); label
    maps get the narrowest of uint8, int16, int32, int64 that holds their labels. Free-text fields stay empty.

    Args:
        image: what to write.
        path: ends in .nii or .nii.gz.
        overwrite: replace a file that stands there.
        dtype: of the file: an integer type of 8 to 64 bits, float32 or float64.
        on_loss: "raise", "round" or "clip", where values do not fit `dtype`; see `fit`.
        vector: the channels are the components of a vector (of a displacement, say).

    Raises:
        BadArgument: an unknown dtype or ending.
        BadVoxels: a value would be lost.
        WriteFailed: the disk is full, the name is taken, and the like.
    """
    check_on_loss(on_loss)
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise BadArgument("pairs of files are read, not written", where=path, due=".nii or .nii.gz")
    voxels = voxels_of(image)
    target = target_dtype(image, voxels, dtype, _CODES, "NIfTI")
    header = _header(image.space, image.channels, target, vector)
    with atomic_write(path, overwrite=overwrite) as stream:
        packing = deflated(stream) if name.endswith(".gz") else contextlib.nullcontext(stream)
        with packing as out:
            out.write(pack(header))
            for channel in range(image.channels):
                out.write(file_order(voxels, channel, target, on_loss, path))


def _header(space: Space, channels: int, dtype: np.dtype[Any], vector: bool) -> NiftiHeader:
    solid = solid_space(space)
    dims: tuple[int, ...] = space.shape
    if channels > 1 or vector:
        dims = (*solid.shape, 1, channels) if vector else (*solid.shape, channels)
    header = NiftiHeader(
        dim=(len(dims), *dims, *[1] * (7 - len(dims))),
        datatype=_CODES[dtype],
        bitpix=dtype.itemsize * 8,
        pixdim=(1.0, *solid.spacing.tolist(), 1.0, 1.0, 1.0, 1.0),
        vox_offset=SIZE[1] + 4,
        srow=tuple(solid.affine[:3].ravel().tolist()),
        sform_code=_SCANNER,
        intent_code=_VECTOR if vector else 0,
    )
    if max(dims) > _MOST or not _survives(header, solid):
        header = replace(header, version=2, vox_offset=SIZE[2] + 4)
    angles = qform_of(solid)
    if angles is not None:
        handed, quatern = angles
        origin = solid.origin.tolist()
        both = replace(
            header,
            pixdim=(handed, *header.pixdim[1:]),
            quatern=quatern,
            qoffset=(origin[0], origin[1], origin[2]),
            qform_code=_SCANNER,
        )
        if _apart(qform(_stored(both), Path()), solid) <= _OFF:
            return both
    return header


def _stored(header: NiftiHeader) -> NiftiHeader:
    return unpack(pack(header), Path())


def _survives(header: NiftiHeader, space: Space) -> bool:
    try:
        return _apart(sform(_stored(header)), space) <= _OFF
    except OverflowError:  # a float that single precision does not hold
        return False


def _apart(affine: NDArray[np.float64], space: Space) -> float:
    # in voxels
    try:
        return space.distance(Space(space.shape, affine)) / float(space.spacing.min())
    except BadGeometry:
        return float("inf")
