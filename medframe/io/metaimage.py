"""MetaImage files (.mha, .mhd with its data file): read by header now and by voxel when asked for.

Source of the format: Kitware, "MetaIO/Documentation", docs.itk.org. ITK's world is LPS; ours is RAS.
"""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadFile, BadGeometry, MedframeWarning, shown_path
from medframe.base.files import atomic_write
from medframe.base.sizes import check_size
from medframe.geometry import Space
from medframe.image import Image, LabelMap
from medframe.io.gzip_stream import GZIP, MAGIC, ZLIB, check_packed, deflated
from medframe.io.kinds import looks_like
from medframe.io.loss import OnLoss, check_on_loss
from medframe.io.raw import Flattened, RawSource, Whole, flat
from medframe.io.reading import reading, stamp_of
from medframe.io.stored import Block, Stored
from medframe.io.text_header import (
    DAMAGED,
    bad,
    beside,
    decode_text,
    head_of,
    lattice,
    reals,
    refuse_many,
    whole,
    wholes,
)
from medframe.io.writing import file_order, solid_space, target_dtype, voxels_of

__all__ = ["read", "write"]

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_SAME = {
    "Position": "Offset",
    "Origin": "Offset",
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}
_KNOWN = {"ObjectType", "NDims", "DimSize", "ElementType", "ElementNumberOfChannels", "ElementSpacing", "ElementSize"}
_KNOWN |= {"TransformMatrix", "Offset", "DistanceUnits", "BinaryData", "BinaryDataByteOrderMSB", "CompressedData"}
_KNOWN |= {"HeaderSize", "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset", "ElementDataFile"}
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class _Header:
    fields: dict[str, str]
    end: int
    files: tuple[str, ...]

    def flag(self, name: str, where: Path, default: bool = False) -> bool:
        text = self.fields.get(name, str(default)).strip().lower()
        if text not in ("true", "false", "1", "0", "yes", "no", "t", "f"):
            raise bad(where, name, text, "True or False")
        return text[0] in "t1y"


def read(path: Path, kind: type[Image], *, ndim: int = 3, classes: int | None = None) -> Image:
    """Read a MetaImage; only the header is looked at until the voxels are asked for.

    The lattice has three axes; time and the components of a voxel become channels. The file's LPS world is turned into
    RAS+ millimetres without moving a voxel.

    Args:
        path: of the .mha file or of the .mhd header.
        kind: Image or LabelMap.
        ndim: 2 or 1 drops the last axes, which must have one voxel and stand upright in the world.
        classes: label maps must hold 0 .. classes - 1.

    Raises:
        BadFile: not a MetaImage, damaged, truncated, of a kind that is not read, or naming a data file elsewhere.
        BadGeometry: spacing or directions are no valid affine.
        BadLabel: on reading the voxels of a label map that holds no labels.
        TooLarge: the header claims more than there is, or than the limits allow.
    """
    labels = issubclass(kind, LabelMap)
    if classes is not None and (not labels or classes < 1):
        raise BadArgument("classes is a positive count, and of label maps", found=classes, where=path)
    header = _parse(path)
    fields = header.fields
    rank = whole(fields["NDims"], path, "NDims", 1)
    if rank > 4:
        raise bad(path, "NDims", rank, "1 to 4")
    sizes = wholes(fields["DimSize"], rank, path, "DimSize", 1)
    components = whole(fields.get("ElementNumberOfChannels", "1"), path, "ElementNumberOfChannels", 1)
    volumes = sizes[3] if rank == 4 else 1
    if components > 1 and volumes > 1:
        raise bad(path, "ElementNumberOfChannels", f"{components}, and {volumes} volumes", "one of the two above 1")
    name = fields["ElementType"].strip().removesuffix("_ARRAY")
    if name not in _TYPES:
        raise bad(path, "ElementType", name, ", ".join(_TYPES), "the voxel type is not read")
    order = ">" if header.flag("BinaryDataByteOrderMSB", path) else "<"
    shape = (*sizes[:3], *[1] * (3 - rank))
    space, notes, warning = _space(fields, rank, (shape[0], shape[1], shape[2]), path)
    stored = Stored(
        order + _TYPES[name],
        (max(components, volumes), shape[0], shape[1], shape[2]),
        components > 1,
        1.0,
        0.0,
        labels,
        classes if labels else None,
    )
    source = _source(header, stored, path)
    if warning:
        warnings.warn(f"{shown_path(path)}: {warning}", MedframeWarning, stacklevel=3)
    meta = {
        "file": shown_path(path),
        "format": "MetaImage",
        "dtype": np.dtype(stored.dtype).newbyteorder("=").name,
        "notes": notes,
    }
    if ndim == 3:
        return kind(source, space=space, meta=meta)
    return kind(Flattened(source, ndim), space=flat(space, ndim, path), meta=meta)


def _parse(path: Path) -> _Header:
    head = head_of(path)
    fields: dict[str, str] = {}
    files: list[str] = []
    place = 0
    while place < len(head):
        stop = head.find(b"\n", place)
        stop = len(head) if stop < 0 else stop
        line = head[place:stop].decode("utf-8", "replace").strip("\r \t")
        place = stop + 1
        if "ElementDataFile" in fields:  # a list of files
            if line:
                files.append(line)
            continue
        key, mark, value = (part.strip() for part in line.partition("="))
        if not line:
            continue
        if not mark or not key.isascii() or not key.isidentifier():
            raise BadFile(
                "this is not a MetaImage" if not fields else "the header is invalid",
                where=path,
                found=looks_like(head) if not fields else f"another line behind {next(reversed(fields))}",
                due="lines of the form Key = Value, up to ElementDataFile",
                mend="Copy the file again from its source, or give it the suffix of what it is.",
            )
        key = _SAME.get(key, key)
        if key not in _KNOWN:  # comments, names, dates: not read, and not kept
            continue
        if key in fields:
            raise bad(path, key, "the field twice", "each field once")
        fields[key] = value
        if key == "ElementDataFile" and value != "LIST" and not value.startswith("LIST "):
            break
    for name in ("NDims", "DimSize", "ElementType", "ElementDataFile"):
        if name not in fields:
            raise bad(path, name, "no such field" if head else "an empty file", "the field, which the format requires")
    if fields.get("ObjectType", "Image").lower() != "image":
        raise bad(path, "ObjectType", fields["ObjectType"], "Image")
    for name, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if name in fields and reals(fields[name], 1, path, name)[0] != neutral:
            raise bad(path, name, fields[name], f"{neutral:g}: programs disagree on whether it is applied")
    return _Header(fields, place, tuple(files))


def _space(
    fields: dict[str, str], rank: int, shape: tuple[int, int, int], path: Path
) -> tuple[Space, tuple[str, ...], str | None]:
    notes: list[str] = []
    warning = None
    kept = min(rank, 3)
    spacing = np.ones(rank)
    given = next((name for name in ("ElementSpacing", "ElementSize") if name in fields), None)
    if given is None:
        warning = "the file says nothing of spacing: 1 mm is assumed"
    else:
        spacing = reals(fields[given], rank, path, given)
        if (spacing[:kept] <= 0).any():
            raise BadGeometry(
                "the voxel spacing is invalid",
                where=f"{shown_path(path)}, field {given}",
                found=fields[given],
                due="positive numbers",
                mend=DAMAGED,
            )
    matrix = np.eye(rank)
    if "TransformMatrix" in fields:
        # the file lists the direction of one axis after the other
        matrix = reals(fields["TransformMatrix"], rank * rank, path, "TransformMatrix").reshape(rank, rank).T
    elif warning is None:
        warning = "the file holds no orientation: which side is left is unknown, and axes are taken as LPS"
    if rank == 4 and (matrix[3, :3].any() or matrix[:3, 3].any()):
        raise bad(path, "TransformMatrix", fields["TransformMatrix"], "time apart from space")
    affine = np.eye(4)
    affine[:kept, :kept] = matrix[:kept, :kept] * spacing[:kept]
    if "Offset" in fields:
        affine[:kept, 3] = reals(fields["Offset"], rank, path, "Offset")[:kept]
    else:
        notes.append("the file gives no origin: voxel (0, 0, 0) is taken to lie at 0")
    if fields.get("DistanceUnits", "mm").strip().lower() not in ("mm", "?", ""):
        raise bad(path, "DistanceUnits", fields["DistanceUnits"], "mm", "the unit of length is not read")
    if warning:
        notes.append(warning)
    return lattice(shape, _LPS @ affine, path), tuple(notes), warning


def _source(header: _Header, stored: Stored, path: Path) -> RawSource | Whole:
    fields = header.fields
    name = fields["ElementDataFile"]
    if name == "LIST" or name.startswith("LIST "):
        raise refuse_many(path, list(header.files), "ElementDataFile")
    if "%" in name:
        raise refuse_many(path, [name.split()[0].replace("%", "")], "ElementDataFile")
    local = name.upper() == "LOCAL"
    data, place = (path, header.end) if local else (beside(path, name, "ElementDataFile"), 0)
    stamp = stamp_of(data)
    itemsize = np.dtype(stored.dtype).itemsize
    if not header.flag("BinaryData", path, True):
        check_size(stored.shape, 1, where=path, available=max(0, stamp[0] - place))
        check_size(stored.shape, itemsize, where=path)
        return Whole(data, stored, stamp, partial(decode_text, offset=place, stored=stored, hexadecimal=False))
    skip = whole(fields.get("HeaderSize", "0"), path, "HeaderSize", -1)
    if header.flag("CompressedData", path):
        check_packed(stored.shape, itemsize, skip=0, compressed=max(0, stamp[0] - place), where=path)
        with reading(data), open(data, "rb") as stream:
            stream.seek(place)
            wrapper = GZIP if stream.read(2) == MAGIC else ZLIB
        return RawSource(data, 0, stored, True, stamp, place, wrapper)
    need = math.prod(stored.shape) * itemsize
    place = stamp[0] - need if skip < 0 else place + skip
    check_size(stored.shape, itemsize, where=path, available=max(0, stamp[0] - place) if place >= 0 else 0)
    return RawSource(data, place, stored, False, stamp)


_NAMES = {np.dtype(dtype): name for name, dtype in _TYPES.items()}


def write(
    image: Image,
    path: Path,
    *,
    overwrite: bool = False,
    dtype: torch.dtype | str | None = None,
    on_loss: OnLoss = "raise",
    compress: bool = True,
) -> None:
    """Write an image as .mha; the file appears whole or not at all.

    The affine is written in full precision, sheared or not. Channels become the components of a voxel. A 2-D image
    becomes one slice at z = 0. Images keep their dtype (half floats become float32, bool uint8); label maps get the
    narrowest integer that holds their labels.

    Args:
        image: what to write.
        path: ends in .mha.
        overwrite: replace a file that stands there.
        dtype: of the file: an integer type of 8 to 64 bits, float32 or float64.
        on_loss: "raise", "round" or "clip", where values do not fit `dtype`; see `fit`.
        compress: deflate the voxels.

    Raises:
        BadArgument: an unknown dtype or ending.
        BadVoxels: a value would be lost.
        WriteFailed: the disk is full, the name is taken, and the like.
    """
    check_on_loss(on_loss)
    if not path.name.lower().endswith(".mha"):
        raise BadArgument("headers with their voxels elsewhere are read, not written", where=path, due=".mha")
    voxels = voxels_of(image)
    target = target_dtype(image, voxels, dtype, _NAMES, "MetaImage")
    space = solid_space(image.space)
    lines: list[tuple[str, Any]] = [
        ("ObjectType", "Image"),
        ("NDims", 3),
        ("BinaryData", True),
        ("BinaryDataByteOrderMSB", False),
        ("CompressedData", compress),
        ("TransformMatrix", _shown((_LPS[:3, :3] @ space.direction).T.ravel())),
        ("Offset", _shown(_LPS[:3, :3] @ space.origin)),
        ("CenterOfRotation", "0 0 0"),
        ("ElementSpacing", _shown(space.spacing)),
        ("DimSize", " ".join(map(str, space.shape))),
        *([("ElementNumberOfChannels", image.channels)] if image.channels > 1 else []),
        ("ElementType", _NAMES[target]),
        ("ElementDataFile", "LOCAL"),
    ]
    block = _block(voxels, target, on_loss, path)
    if compress:
        packed = io.BytesIO()  # ITK needs the size of the compressed voxels ahead of them
        with deflated(packed, ZLIB) as out:
            out.write(block)
        block = packed.getbuffer()
        lines.insert(-1, ("CompressedDataSize", len(block)))
    with atomic_write(path, overwrite=overwrite) as stream:
        stream.write("".join(f"{key} = {value}\n" for key, value in lines).encode("ascii"))
        stream.write(block)


def _block(voxels: Block, target: np.dtype[Any], on_loss: OnLoss, path: Path) -> memoryview:
    # all voxels in the order of the file; the components of a voxel stand together
    planes = [file_order(voxels, channel, target, on_loss, path) for channel in range(len(voxels))]
    if len(planes) == 1:
        return planes[0]
    together = np.stack([np.frombuffer(plane, target.newbyteorder("<")) for plane in planes], -1)
    return together.view(np.uint8).reshape(-1).data


def _shown(numbers: NDArray[np.float64]) -> str:
    return " ".join(repr(float(v)) for v in numbers)
