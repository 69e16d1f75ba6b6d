"""The text header of an NRRD file, read strictly.

Source: G. Kindlmann, "Definition of NRRD File Format", teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medframe.base.errors import BadFile
from medframe.io.kinds import looks_like
from medframe.io.text_header import bad, head_of, whole, wholes

TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TYPE = {name: dtype for dtype, names in TYPES.items() for name in names}
_ENCODINGS = {
    "raw": "raw",
    "gzip": "gzip",
    "gz": "gzip",
    "txt": "text",
    "text": "text",
    "ascii": "text",
    "hex": "hex",
}
# names that the definition spells in more than one way
_SAME = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip", "centerings": "centers"}


@dataclass(frozen=True)
class NrrdHeader:
    """A header.

    Args:
        fields: lower-case names and their text.
        values: the key/value pairs that are no fields of the format.
        end: bytes of the header, its blank line included.
        dtype: of the voxels, with byte order.
        sizes: of all axes, the fastest first.
        encoding: "raw", "gzip", "text" or "hex".
        files: lines behind "data file: LIST".
    """

    fields: Mapping[str, str]
    values: Mapping[str, str]
    end: int
    dtype: str
    sizes: tuple[int, ...]
    encoding: str
    files: tuple[str, ...]

    def per_axis(self, field: str, where: Path) -> tuple[str, ...] | None:
        """The words of a field that has one for each axis, or None where the field is absent."""
        text = self.fields.get(field)
        if text is None:
            return None
        words = tuple(text.split())
        if len(words) != len(self.sizes):
            raise bad(where, field, f"{len(words)} words", f"{len(self.sizes)}, one for each axis")
        return words


def parse(path: Path) -> NrrdHeader:
    """The header of a .nrrd or .nhdr file.

    Raises:
        BadFile: not an NRRD file, or a field that counts is missing or invalid.
    """
    head = head_of(path)
    if not head.startswith(b"NRRD000") or head[7:8] not in (b"1", b"2", b"3", b"4", b"5"):
        raise BadFile(
            "this is not an NRRD file",
            where=path,
            found=looks_like(head),
            due="NRRD0001 to NRRD0005 at its start",
            mend="Copy the file again from its source, or give it the suffix of what it is.",
        )
    lines, end, attached = _lines(head)
    fields: dict[str, str] = {}
    values: dict[str, str] = {}
    files: list[str] = []
    for number, raw in enumerate(lines[1:], 2):
        line = raw.decode("utf-8", "replace").rstrip("\r")
        if files or (fields.get("data file", "").split() or [""])[0] == "LIST":
            files.append(line)
            continue
        if line.startswith("#") or not line.strip():
            continue
        key, mark, value = _split(line)
        if not mark:
            raise bad(path, f"in line {number}", "a line that is neither", '"field: value" or "key:=value"')
        name = _SAME.get(key.lower().replace(" ", ""), key.lower()) if mark == ": " else key
        into = fields if mark == ": " else values
        if name in into:
            raise bad(path, name if mark == ": " else f"in line {number}", "a field or key twice", "each once")
        into[name] = value
    detached = "data file" in fields
    if not attached and not detached:
        raise bad(path, "at the end", "no blank line behind the header", "a blank line, then the voxels")
    for name in ("dimension", "type", "sizes", "encoding"):
        if name not in fields:
            raise bad(path, name, "no such field", "the field, which the format requires")
    dimension = whole(fields["dimension"], path, "dimension", 1)
    if dimension > 16:
        raise bad(path, "dimension", dimension, "1 to 16")
    encoding = fields["encoding"].strip().lower()
    if encoding not in _ENCODINGS:
        raise bad(path, "encoding", encoding, "raw, gzip, ascii or hex", "the encoding is not read")
    dtype = _TYPE.get(fields["type"].strip().lower())
    if dtype is None:
        raise bad(path, "type", fields["type"].strip(), "an integer or floating type", "the voxel type is not read")
    order = "<"
    if dtype[1] != "1" and encoding != "ascii":
        known = {"little": "<", "big": ">"}
        given = fields.get("endian", "little" if _ENCODINGS[encoding] == "text" else "").strip().lower()
        if given not in known:
            raise bad(path, "endian", repr(given), "little or big, since a voxel has several bytes")
        order = known[given]
    sizes = wholes(fields["sizes"], dimension, path, "sizes", 1)
    return NrrdHeader(fields, values, end, order + dtype, sizes, _ENCODINGS[encoding], tuple(files))


def _lines(head: bytes) -> tuple[list[bytes], int, bool]:
    # the lines up to the blank one, where the voxels begin, and whether there was a blank one
    for blank in (b"\n\n", b"\r\n\r\n"):
        place = head.find(blank)
        if place >= 0 and (blank == b"\n\n" or b"\n\n" not in head[:place]):
            return head[:place].split(b"\n"), place + len(blank), True
    return head.rstrip(b"\n").split(b"\n"), len(head), False


def _split(line: str) -> tuple[str, str, str]:
    field, pair = line.find(": "), line.find(":=")
    if pair >= 0 and (field < 0 or pair < field):
        return line[:pair], ":=", line[pair + 2 :]
    if field < 0 and line.endswith(":"):
        return line[:-1].strip(), ": ", ""
    return (line[:field].strip(), ": ", line[field + 2 :].strip()) if field >= 0 else (line, "", "")
