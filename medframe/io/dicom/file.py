"""One DICOM file opened up to its pixels: nothing of it is trusted, and nothing inflates beyond a limit."""

from __future__ import annotations

import functools
import io
import mmap
import os
import struct
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medframe.base.errors import BadFile, TooLarge, shown_path
from medframe.base.extras import need
from medframe.base.sizes import check_size
from medframe.io.dicom.elements import LONG, UNDEFINED, Unusual, dataset_of, walk_elements
from medframe.io.gzip_stream import check_packed, inflate
from medframe.io.raw import check_stamp
from medframe.io.reading import Stamp, reading, stamp_of

HEADER_LIMIT = 64 << 20  # bytes that come before the pixels; enhanced objects of 10,000 frames stay below half of it
RAW_DEFLATE = -15  # window bits that mean: no wrapper, and so no checksum
IMPLICIT, EXPLICIT, DEFLATED, BIG = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2"))
NATIVE = (IMPLICIT, EXPLICIT, DEFLATED, BIG)  # pixels as plain numbers

_PREAMBLE = 128
_PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_PIECE = 1 << 16
_END_OF_FRAGMENTS = b"\xfe\xff\xdd\xe0"
_TRAILER = 1 << 20  # bytes of elements that may follow the pixels
_DAMAGED = "The file is damaged or no DICOM file; copy it again from its source."


@dataclass(frozen=True)
class PixelBlock:
    """Where the pixels of a file are.

    Args:
        keyword: PixelData, FloatPixelData or DoubleFloatPixelData.
        offset: bytes before the first pixel, or before the first fragment of compressed ones; in the inflated stream
            of a deflated file.
        length: bytes of pixels that the element claims; None for fragments.
        inflated_from: where in the file the deflated stream begins; None in a file that is not deflated.
    """

    keyword: str
    offset: int
    length: int | None
    inflated_from: int | None = None


@dataclass(frozen=True, eq=False)
class DicomFile:
    """A file read up to its pixels.

    Args:
        path: of the file.
        stamp: its size and modification time.
        dataset: the elements asked for, not yet interpreted; see the getters of `header`.
        syntax: transfer syntax UID.
        pixels: where the pixels are; None where there are none.
    """

    path: Path
    stamp: Stamp
    dataset: Any
    syntax: str
    pixels: PixelBlock | None


def looks_like_dicom(path: Path) -> bool:
    """Whether a regular file begins as DICOM files do, with or without preamble; nothing of it is parsed.

    Raises:
        BadFile: it is missing, a pipe or device, or cannot be read.
    """
    stamp_of(path)
    with reading(path), open(path, "rb") as stream:
        head = stream.read(_PREAMBLE + 4)
    return head[_PREAMBLE:] == b"DICM" or _bare(head)


def open_dicom(path: str | os.PathLike[str], tags: Iterable[int] | None = None) -> DicomFile:
    """Read a DICOM file up to its pixels.

    Args:
        path: a regular file, with or without preamble.
        tags: top-level elements to keep; None keeps all but the pixels.

    Raises:
        BadFile: missing, empty, no DICOM file, damaged, or of an unknown transfer syntax.
        TooLarge: the header inflates to more than `HEADER_LIMIT`.
    """
    path = Path(path)
    stamp = stamp_of(path)
    if stamp[0] == 0:
        raise BadFile(
            "the file is empty", where=path, found="0 bytes", due="a DICOM file", mend="Copy it again from its source."
        )
    wanted = None if tags is None else frozenset(tags)
    with (
        reading(path),
        open(path, "rb") as file,
        # a map hands out no more bytes than there are, whatever length an element claims
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream,
    ):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom's warnings quote values, which may be names
                dataset, syntax, pixels = _parse(stream, path, wanted)
        except (BadFile, TooLarge, OSError, MemoryError):
            raise
        except Exception as error:  # whatever pydicom trips over; its text quotes values, so it stays here
            raise damaged(path, type(error).__name__) from None
    return DicomFile(path, stamp, dataset, syntax, pixels)


def with_meta(opened: DicomFile) -> Any:
    """The dataset of a file, with file meta information that names its transfer syntax."""
    opened.dataset.file_meta = _pydicom("dataset").FileMetaDataset()
    opened.dataset.file_meta.TransferSyntaxUID = opened.syntax
    return opened.dataset


def pixel_bytes(opened: DicomFile) -> bytes:
    """The pixel element of a file as it is stored; fragments of compressed pixels with their item marks.

    Raises:
        BadFile: there are no pixels, the file ends before they do, or changed after its header was read.
        TooLarge: what they inflate to passes the image limit.
    """
    path, block = opened.path, need_pixels(opened.pixels, opened.path)
    check_stamp(path, opened.stamp)
    there = opened.stamp[0] - block.offset
    if block.inflated_from is not None:
        size = block.length or 0
        check_packed((size,), 1, skip=block.offset, compressed=opened.stamp[0] - block.inflated_from, where=path)
        return inflate(path, block.offset, size, block.inflated_from, RAW_DEFLATE).tobytes()
    size = there if block.length is None else block.length
    check_size((size,), 1, where=path, available=there)
    with reading(path), open(path, "rb") as stream:
        stream.seek(block.offset)
        raw = stream.read(size)
    if block.length is None and _END_OF_FRAGMENTS not in raw[-_TRAILER:]:
        raise BadFile(
            "the compressed pixels are cut short",
            where=f"{shown_path(path)}, tag {block.keyword}",
            found="no end of the fragments",
            due="the mark (FFFE,E0DD) behind the last one",
            mend="The file is truncated; copy it again from its source.",
        )
    return raw


def need_pixels(block: PixelBlock | None, path: Path) -> PixelBlock:
    """The place of the pixels.

    Raises:
        BadFile: there are none.
    """
    if block is None:
        raise BadFile(
            "the file holds no pixels",
            where=f"{shown_path(path)}, tag PixelData (7FE0,0010)",
            found="nothing",
            due="pixels",
            mend="The file is truncated, or is no image; copy it again from its source.",
        )
    return block


def damaged(path: Path, found: str) -> BadFile:
    """The error for a file that cannot be parsed."""
    return BadFile("the DICOM header is damaged", where=path, found=found, due="DICOM elements", mend=_DAMAGED)


@functools.cache
def known_syntaxes() -> frozenset[str]:
    """All transfer syntaxes of the standard."""
    return frozenset(str(uid) for uid in _pydicom("uid").AllTransferSyntaxes)


def _pydicom(module: str) -> Any:
    return need(f"pydicom.{module}", "read DICOM files")


def _parse(stream: Any, path: Path, tags: frozenset[int] | None) -> tuple[Any, str, PixelBlock | None]:
    reader = _pydicom("filereader")
    head = stream[: _PREAMBLE + 12]
    if head[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        stream.seek(_PREAMBLE + 4)
    elif not _bare(head):
        raise BadFile(
            "this is not a DICOM file",
            where=path,
            found="no DICM mark and no DICOM element",
            due="a DICOM file",
            mend=_DAMAGED,
        )
    first = stream.tell()
    try:
        group2, _, start = walk_elements(stream, stream, first, implicit=False, little=True, tags=None, stop=2)
    except Unusual:
        stream.seek(first)
        group2 = reader.read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
        start = stream.tell()
    raw = group2[0x00020010].value if 0x00020010 in group2 else b""
    syntax = (raw if isinstance(raw, str) else raw.decode("ascii", "replace")).rstrip("\0 ")
    if not syntax:
        syntax = _guessed(stream[start : start + 8])
    if syntax not in known_syntaxes():
        raise BadFile(
            "the transfer syntax is unknown",
            where=f"{shown_path(path)}, tag TransferSyntaxUID (0002,0010)",
            found=syntax if set(syntax) <= set("0123456789.") and len(syntax) <= 64 else "no UID",
            due="a transfer syntax of the DICOM standard",
            mend="The file is damaged or of a vendor's own kind; export it again as Explicit VR Little Endian.",
        )
    source = buffer = stream
    deflated = syntax == DEFLATED
    if deflated:
        buffer = _inflated_header(stream, start, path)
        source = io.BytesIO(buffer)
    implicit, little, begin = syntax == IMPLICIT, syntax != BIG, 0 if deflated else start
    try:
        found, stopped, at = walk_elements(
            source, buffer, begin, implicit=implicit, little=little, tags=tags, stop=_PIXELS
        )
        dataset = dataset_of(found, implicit=implicit, little=little)
    except Unusual:
        source.seek(begin)
        dataset, stopped, at = _by_pydicom(source, implicit, little, tags)
    if stopped is None:
        if deflated and at >= HEADER_LIMIT:
            raise _too_long(path)
        return dataset, syntax, None
    tag, vr, length = stopped
    offset = at + (12 if vr is not None and vr.encode() in LONG else 8)
    block = PixelBlock(_PIXELS[tag], offset, None if length == UNDEFINED else length, start if deflated else None)
    return dataset, syntax, block


def _by_pydicom(
    source: Any, implicit: bool, little: bool, tags: frozenset[int] | None
) -> tuple[Any, tuple[int, str | None, int] | None, int]:
    found: list[tuple[int, str | None, int]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if int(tag) in _PIXELS:
            found.append((int(tag), vr, length))
        return bool(found)

    kept = None if tags is None else [_pydicom("tag").BaseTag(tag) for tag in tags]
    read_dataset = _pydicom("filereader").read_dataset
    dataset = read_dataset(source, implicit, little, stop_when=at_pixels, specific_tags=kept)
    return dataset, found[-1] if found else None, source.tell()


def _bare(head: bytes) -> bool:
    # a file without preamble begins with its first element, which is of group 2 or 8 and short
    if len(head) < 16:
        return False
    group, element = struct.unpack_from("<HH", head)
    if group in (0x0200, 0x0800):  # big endian
        group, element = struct.unpack_from(">HH", head)
        return bool(group == 8 and element <= 0x0018 and head[4:6].isalpha())
    if group not in (2, 8) or element > 0x0018:
        return False
    if head[4:6].isalpha() and head[4:6].isupper():
        return True
    return bool(group == 8 and struct.unpack_from("<I", head, 4)[0] <= 128)


def _guessed(first: bytes) -> str:
    # the transfer syntax of a file that does not name it
    if len(first) == 8 and first[0] == 0 and first[1] != 0:
        return BIG
    return EXPLICIT if first[4:6].isalpha() and first[4:6].isupper() else IMPLICIT


def _inflated_header(stream: Any, start: int, path: Path) -> bytes:
    # no more than a header's worth: what the pixels inflate to is known, and checked, before they are read
    engine = zlib.decompressobj(RAW_DEFLATE)
    out = bytearray()
    for at in range(start, len(stream), _PIECE):
        feed = stream[at : at + _PIECE]
        try:
            while feed and len(out) < HEADER_LIMIT and not engine.eof:
                out += engine.decompress(feed, HEADER_LIMIT - len(out))
                feed = engine.unconsumed_tail
        except zlib.error:
            raise BadFile(
                "the deflated stream is damaged",
                where=path,
                found="bytes that do not inflate",
                due="a deflated DICOM file",
                mend=_DAMAGED,
            ) from None
        if engine.eof or len(out) >= HEADER_LIMIT:
            break
    return bytes(out)


def _too_long(path: Path) -> TooLarge:
    return TooLarge(
        "the header inflates to more than the limit",
        where=path,
        found=f"more than {HEADER_LIMIT >> 20} MiB before any pixel",
        due=f"at most {HEADER_LIMIT >> 20} MiB",
        mend="The file is damaged, or made to fill the memory.",
    )
