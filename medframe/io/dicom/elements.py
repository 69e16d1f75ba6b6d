"""A quick walk over the top-level elements of a header: the wanted ones are taken as bytes, the others stepped over.

Most of a header is of no interest, and pydicom takes a millisecond to pass over it. Whatever is out of the ordinary
here is left to pydicom.
"""

from __future__ import annotations

import struct
from collections.abc import Container
from typing import Any

from medframe.base.extras import need

UNDEFINED = 0xFFFFFFFF
CHARACTER_SET = 0x00080005
LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}

_SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL"}
_SHORT |= {b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
_NAMES = {vr: vr.decode() for vr in LONG | _SHORT}
_EMPTY = {"DS", "IS", "AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV", "OB", "OD", "OF", "OL", "OV", "OW", "UN"}


class Unusual(Exception):
    """Not as headers are written; pydicom may know what to do."""


def walk_elements(
    stream: Any,
    buffer: Any,
    start: int,
    *,
    implicit: bool,
    little: bool,
    tags: Container[int] | None,
    stop: Container[int] | int,
) -> tuple[dict[Any, Any], tuple[int, str | None, int] | None, int]:
    """The wanted elements up to a stop.

    Args:
        stream: seekable, over the same bytes as `buffer`.
        buffer: bytes of the file.
        start: where the first element begins.
        implicit: the elements do not name their VR.
        little: byte order.
        tags: the elements wanted; None for all.
        stop: tags of the elements to stop at, or the last group to read.

    Returns:
        Elements by tag, as pydicom's RawDataElement; tag, VR and length of the element stopped at, or None at the end;
        and where that begins.

    Raises:
        Unusual: an unknown VR, a length beyond the end of the file, or the end of an item.
    """
    elements, base = need("pydicom.dataelem", "read DICOM files"), need("pydicom.tag", "read DICOM files").BaseTag
    raw, size, at = elements.RawDataElement, len(buffer), start
    order = "<" if little else ">"
    head = struct.Struct(f"{order}HHI" if implicit else f"{order}HH2sH").unpack_from
    longer = struct.Struct(f"{order}I").unpack_from
    groups = stop if isinstance(stop, int) else None
    found: dict[Any, Any] = {}
    while at + 8 <= size:
        vr: str | None = None
        if implicit:
            group, element, length = head(buffer, at)
            begin = at + 8
        else:
            group, element, code, length = head(buffer, at)
            begin = at + 8
            vr = _NAMES.get(code)
            if vr is None:
                raise Unusual
            if code in LONG:
                begin = at + 12
                if begin > size:
                    raise Unusual
                (length,) = longer(buffer, at + 8)
        tag = group << 16 | element
        if group > groups if groups is not None else tag in stop:  # type: ignore[operator]
            return found, (tag, vr, length), at
        if group == 0xFFFE:
            raise Unusual
        if length == UNDEFINED:
            stream.seek(at)
            reader = need("pydicom.filereader", "read DICOM files")
            item = next(reader.data_element_generator(stream, implicit, little), None)
            if item is None:
                raise Unusual
            at = stream.tell()
            if tags is None or tag in tags:
                found[item.tag] = item
            continue
        at = begin + length
        if at > size:
            raise Unusual
        if tags is None or tag in tags or tag == CHARACTER_SET:
            value = bytes(buffer[begin:at]) if length else None if vr in _EMPTY else b""
            found[base(tag)] = raw(base(tag), vr, length, value, begin, implicit, little)
    return found, None, at


def dataset_of(elements: dict[Any, Any], *, implicit: bool, little: bool) -> Any:
    """Elements as a pydicom Dataset, with the character set that they name."""
    charset = need("pydicom.charset", "read DICOM files")
    dataset = need("pydicom.dataset", "read DICOM files").Dataset(elements)
    encoding: Any = charset.default_encoding
    named = elements.get(CHARACTER_SET)
    if named is not None:
        names = [name.strip(" \0") for name in (named.value or b"").decode("latin-1").split("\\")]
        encoding = charset.convert_encodings(names if len(names) > 1 else names[0])
    dataset.set_original_encoding(implicit, little, encoding)
    return dataset
