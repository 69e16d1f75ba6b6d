"""NIfTI-1 and NIfTI-2 files, plain or gzipped, single or in pairs: read by header now and by voxel when asked for."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from medframe.base.errors import BadArgument, BadFile, BadLabel, MedframeWarning, shown_path
from medframe.base.sizes import check_size
from medframe.image import Image, LabelMap
from medframe.io.gzip_stream import MAGIC, check_packed, peek
from medframe.io.nifti_geometry import orientation_of
from medframe.io.nifti_header import (
    SIZE,
    NiftiHeader,
    offset_of,
    scaling_of,
    sizes_of,
    type_of,
    unpack,
)
from medframe.io.nifti_write import write
from medframe.io.raw import Flattened, RawSource, flat
from medframe.io.reading import reading, stamp_of
from medframe.io.stored import Stored

__all__ = ["read", "write"]


def read(path: Path, kind: type[Image], *, ndim: int = 3, classes: int | None = None) -> Image:
    """Read a NIfTI file; only the header is looked at until the voxels are asked for.

    The lattice has three axes, since the file's world has; time, vectors and colours become channels, (C, D, H, W).
    A 2-D file gives (C, D, H, 1). Scaling is applied; `Stored` says what dtype comes out. World axes and units are
    turned into RAS+ millimetres without moving a voxel: a file stored left-handed stays so.

    `meta` holds the file as messages show it, its voxel type, which form gave the place, and notes on what was
    assumed; nothing else of the header.

    Args:
        path: of the file, or of either file of a pair.
        kind: Image or LabelMap.
        ndim: 2 or 1 drops the last axes, which must have one voxel and stand upright in the world.
        classes: label maps must hold 0 .. classes - 1.

    Raises:
        BadFile: not a NIfTI file, damaged, truncated, or of a kind that is not read (complex, 128-bit).
        BadGeometry: the form that counts is no valid affine.
        BadLabel: on reading the voxels of a label map that holds no labels.
        TooLarge: the header claims more than there is, or than the limits allow.
    """
    labels = issubclass(kind, LabelMap)
    if classes is not None and (not labels or classes < 1):
        raise BadArgument("classes is a positive count, and of label maps", found=classes, where=path)
    head_path, data_path = _parts(path)
    header, gzipped = _header(head_path)
    if header.pair == (head_path == data_path):
        raise BadFile(
            "the header belongs to " + ("a pair of files" if header.pair else "a single file"),
            where=path,
            found=f"the name {path.name}",
            due=".hdr and .img" if header.pair else ".nii or .nii.gz",
            mend="Rename the file to what it is.",
        )
    shape, volumes = sizes_of(header, path)
    dtype, interleaved = type_of(header, path)
    slope, inter = scaling_of(header, path)
    if interleaved > 1 and (volumes > 1 or labels or (slope, inter) != (1.0, 0.0)):
        raise (BadLabel if labels else BadFile)(
            "a colour file is a plain image", where=path, found="RGB voxels", due="numbers", mend="Split the colours."
        )
    stored = Stored(
        dtype, (max(volumes, interleaved), *shape), interleaved > 1, slope, inter, labels, classes if labels else None
    )
    if data_path != head_path:
        gzipped = _head(data_path).startswith(MAGIC)
    source = _source(data_path, offset_of(header, path), stored, gzipped)
    place = orientation_of(header, shape, path)
    if place.warning:
        warnings.warn(f"{shown_path(path)}: {place.warning}", MedframeWarning, stacklevel=3)
    meta = {
        "file": shown_path(path),
        "format": f"NIfTI-{header.version}",
        "dtype": "RGB" if interleaved > 1 else np.dtype(dtype).newbyteorder("=").name,
        "form": place.form,
        "notes": place.notes,
    }
    space = place.space
    if ndim == 3:
        return kind(source, space=space, meta=meta)
    return kind(Flattened(source, ndim), space=flat(space, ndim, path), meta=meta)


_PAIRS = ((".hdr", ".img"), (".hdr.gz", ".img.gz"))


def _parts(path: Path) -> tuple[Path, Path]:
    # where the header and where the voxels are
    name = path.name
    for pair in _PAIRS:
        for suffix in pair:
            if name.lower().endswith(suffix):
                stem, end = name[: -len(suffix)], name[-len(suffix) :]
                header, voxels = (part.upper() if end.isupper() else part for part in pair)
                return path.with_name(stem + header), path.with_name(stem + voxels)
    return path, path


def _header(path: Path) -> tuple[NiftiHeader, bool]:
    head = _head(path)
    gzipped = head.startswith(MAGIC)  # by content: files are named wrongly both ways
    return unpack(peek(path, SIZE[2]) if gzipped else head, path), gzipped


def _head(path: Path) -> bytes:
    stamp_of(path)
    with reading(path), open(path, "rb") as stream:
        return stream.read(SIZE[2])


def _source(path: Path, offset: int, stored: Stored, gzipped: bool) -> RawSource:
    stamp = stamp_of(path)
    itemsize = np.dtype(stored.dtype).itemsize
    if gzipped:
        check_packed(stored.shape, itemsize, skip=offset, compressed=stamp[0], where=path)
    else:
        check_size(stored.shape, itemsize, where=path, available=max(0, stamp[0] - offset))
    return RawSource(path, offset, stored, gzipped, stamp)
