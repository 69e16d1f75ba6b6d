"""The header of NIfTI-1 and NIfTI-2 files: fields in, fields out, and what they say about the voxels.

Cox et al., "A (sort of) new image data format standard: NIfTI-1", Human Brain Mapping 2004; https://nifti.nimh.nih.gov.
Free-text fields (descrip, aux_file, intent_name, db_name) and extensions are never looked at and are written empty:
they hold names and dates of patients in the field.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

from medframe.base.errors import BadFile
from medframe.io.kinds import looks_like

Triple = tuple[float, float, float]

# field: (offset, format) in NIfTI-1, the same in NIfTI-2
_FIELDS: dict[str, tuple[tuple[int, str], tuple[int, str]]] = {
    "dim": ((40, "8h"), (16, "8q")),
    "intent_code": ((68, "h"), (504, "i")),
    "datatype": ((70, "h"), (12, "h")),
    "bitpix": ((72, "h"), (14, "h")),
    "pixdim": ((76, "8f"), (104, "8d")),
    "vox_offset": ((108, "f"), (168, "q")),
    "scl_slope": ((112, "f"), (176, "d")),
    "scl_inter": ((116, "f"), (184, "d")),
    "xyzt_units": ((123, "b"), (500, "i")),
    "qform_code": ((252, "h"), (344, "i")),
    "sform_code": ((254, "h"), (348, "i")),
    "quatern": ((256, "3f"), (352, "3d")),
    "qoffset": ((268, "3f"), (376, "3d")),
    "srow": ((280, "12f"), (400, "12d")),
}
SIZE = {1: 348, 2: 540}
_MAGIC = {
    1: {b"n+1\0": False, b"ni1\0": True},
    2: {b"n+2\0\r\n\x1a\n": False, b"ni2\0\r\n\x1a\n": True},
}
_MAGIC_AT = {1: 344, 2: 4}

# datatype code: NumPy name, values a voxel
TYPES: dict[int, tuple[str, int]] = {
    2: ("u1", 1),
    4: ("i2", 1),
    8: ("i4", 1),
    16: ("f4", 1),
    64: ("f8", 1),
    128: ("u1", 3),
    256: ("i1", 1),
    512: ("u2", 1),
    768: ("u4", 1),
    1024: ("i8", 1),
    1280: ("u8", 1),
    2304: ("u1", 4),
}
_REFUSED = {
    0: ("unknown", "Write the file again with its data type."),
    1: ("one bit a voxel", "Convert it to 8-bit integers."),
    32: ("complex of 64 bits", "Store magnitude and phase, or real and imaginary part, as two volumes."),
    1536: ("floats of 128 bits", "Convert them to 64 bits."),
    1792: ("complex of 128 bits", "Store magnitude and phase, or real and imaginary part, as two volumes."),
    2048: ("complex of 256 bits", "Store magnitude and phase, or real and imaginary part, as two volumes."),
}


@dataclass(frozen=True)
class NiftiHeader:
    """The fields that carry meaning, as they stand in the file; names are the standard's.

    Args:
        version: 1 or 2.
        order: byte order, "<" or ">".
        pair: the voxels are in an .img file of their own.
    """

    dim: tuple[int, ...]
    datatype: int
    bitpix: int
    pixdim: tuple[float, ...]
    vox_offset: float
    srow: tuple[float, ...]
    quatern: Triple = (0.0, 0.0, 0.0)
    qoffset: Triple = (0.0, 0.0, 0.0)
    qform_code: int = 0
    sform_code: int = 0
    scl_slope: float = 1.0
    scl_inter: float = 0.0
    xyzt_units: int = 2
    intent_code: int = 0
    version: int = 1
    order: str = "<"
    pair: bool = False


def unpack(head: bytes, where: Path) -> NiftiHeader:
    """Read a header from the first 540 (or, of a NIfTI-1 file, 348) bytes.

    Raises:
        BadFile: these bytes are no NIfTI header.
    """
    for version, size in SIZE.items():
        for order in "<>":
            if len(head) >= 4 and struct.unpack_from(f"{order}i", head)[0] == size:
                if len(head) < size:
                    raise _not_nifti(where, f"{len(head)} bytes", f"a header of {size} bytes")
                return _unpack(head, where, version, order)
    raise _not_nifti(where, looks_like(head), "a first field of 348 (NIfTI-1) or 540 (NIfTI-2)")


def _unpack(head: bytes, where: Path, version: int, order: str) -> NiftiHeader:
    magics, at = _MAGIC[version], _MAGIC_AT[version]
    magic = head[at : at + len(next(iter(magics)))]
    if magic not in magics:
        if version == 1 and not magic.strip(b"\0"):
            raise BadFile(
                "this is an Analyze 7.5 file, which does not say which side is left",
                where=where,
                found="no NIfTI mark",
                due="a NIfTI file",
                mend="Convert it with the software that wrote it, and check the sides.",
            )
        raise BadFile(
            "the NIfTI mark is wrong",
            where=where,
            found=f"magic {magic!r}",
            due=" or ".join(repr(m) for m in magics),
            mend="The header is damaged; copy the file again from its source.",
        )
    fields: dict[str, object] = {}
    for name, places in _FIELDS.items():
        offset, kind = places[version - 1]
        values = struct.unpack_from(order + kind, head, offset)
        fields[name] = values if len(values) > 1 else values[0]
    return NiftiHeader(**fields, version=version, order=order, pair=magics[magic])  # type: ignore[arg-type]  # by table


def pack(header: NiftiHeader) -> bytes:
    """The header as bytes, with all other fields zero, and the four bytes that say: no extensions."""
    version, order = header.version, header.order
    out = bytearray(SIZE[version] + 4)
    struct.pack_into(f"{order}i", out, 0, SIZE[version])
    for name, places in _FIELDS.items():
        offset, kind = places[version - 1]
        value = getattr(header, name)
        struct.pack_into(order + kind, out, offset, *(value if isinstance(value, tuple) else (value,)))
    magic = next(mark for mark, pair in _MAGIC[version].items() if pair == header.pair)
    out[_MAGIC_AT[version] : _MAGIC_AT[version] + len(magic)] = magic
    return bytes(out)


def sizes_of(header: NiftiHeader, where: Path) -> tuple[tuple[int, int, int], int]:
    """The lattice's three sizes and the number of volumes.

    The world of a NIfTI file has three axes, so its lattice has, too: missing ones have one voxel. Of the axes behind
    them (time, vectors and the rest) one at most may be longer than one voxel: it becomes the channels.

    Raises:
        BadFile: the sizes make no sense, or two further axes are in use.
    """
    rank = header.dim[0]
    if not 1 <= rank <= 7:
        raise _bad(where, "dim[0]", rank, "1 to 7 axes")
    dims = header.dim[1 : rank + 1]
    if min(dims) < 1:
        raise _bad(where, f"dim[{dims.index(min(dims)) + 1}]", min(dims), "an axis of at least 1 voxel")
    space = (*dims[:3], 1, 1)[:3]
    volumes = [n for n in dims[3:] if n > 1]
    if len(volumes) > 1:
        raise BadFile(
            "the file has more axes than space and channels",
            where=where,
            found=f"dim {dims}",
            due="one axis longer than 1 behind the first three",
            mend="Split the file along one of its further axes.",
        )
    return (space[0], space[1], space[2]), volumes[0] if volumes else 1


def type_of(header: NiftiHeader, where: Path) -> tuple[str, int]:
    """NumPy's name of the stored numbers, with byte order, and how many of them make a voxel (RGB: 3, RGBA: 4).

    Raises:
        BadFile: the data type is unknown, or is not read (complex, 128-bit floats, single bits).
    """
    if header.datatype not in TYPES:
        name, mend = _REFUSED.get(header.datatype, ("no type of the standard", "The header is damaged."))
        known = "real numbers of 8 to 64 bits, or RGB"
        raise BadFile(
            "the voxel type is not read", where=where, found=f"datatype {header.datatype}: {name}", due=known, mend=mend
        )
    name, count = TYPES[header.datatype]
    bits = 8 * int(name[1]) * count
    if header.bitpix != bits:
        raise _bad(where, "bitpix", header.bitpix, f"{bits} for datatype {header.datatype}")
    return (header.order if name[1] != "1" else "|") + name, count


def offset_of(header: NiftiHeader, where: Path) -> int:
    """Bytes before the voxels. Zero in a single file means: right behind the header.

    Raises:
        BadFile: the field is not a number, negative, or points into the header.
    """
    offset, least = header.vox_offset, 0 if header.pair else SIZE[header.version] + 4
    if not math.isfinite(offset) or offset != int(offset) or offset < 0 or 0 < offset < least:
        raise _bad(where, "vox_offset", offset, f"0 or a whole number from {least}")
    return int(offset) or least


def scaling_of(header: NiftiHeader, where: Path) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 or NaN means none, and then the intercept does not count either.

    Raises:
        BadFile: the slope is infinite, or a slope stands beside an intercept that is no number.
    """
    slope, inter = header.scl_slope, header.scl_inter
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if math.isinf(slope):
        raise _bad(where, "scl_slope", slope, "a finite number")
    if not math.isfinite(inter):
        raise _bad(where, "scl_inter", inter, f"a finite number beside scl_slope {slope:g}")
    return slope, inter


def _bad(where: Path, field: str, found: object, due: str) -> BadFile:
    mend = "The header is damaged or was written wrongly; copy the file again from its source."
    return BadFile(f"the NIfTI field {field} is invalid", where=where, found=found, due=due, mend=mend)


def _not_nifti(where: Path, found: str, due: str) -> BadFile:
    return BadFile("this is not a NIfTI file", where=where, found=found, due=due, mend="Get the file again.")
