"""A PNG file is whole: every checksum holds, and the compressed rows are as many as the header says.

Decoders of pictures are lenient: a file whose rows end early comes out of them with black below, without a word.
Source of the format: "Portable Network Graphics (PNG) Specification (Third Edition)", W3C 2025.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from medframe.base.errors import BadFile

MARK = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by colour type
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_STEP = 1 << 20


def check_png(path: Path) -> None:
    """Read a PNG file once, and hold it to its checksums and its header.

    Raises:
        BadFile: a checksum differs, or there are fewer or more rows than the header says.
    """
    with open(path, "rb") as stream:
        if stream.read(8) != MARK:
            raise _damaged(path, "another mark", "PNG's")
        chunks = _chunks(stream, path)
        name, head = next(chunks, (b"", b""))
        if name != b"IHDR" or len(head) != 13:
            raise _damaged(path, "no header", "IHDR of 13 bytes first")
        due = _bytes_of(head, path)
        found, ended, engine = 0, False, zlib.decompressobj()
        for name, body in chunks:
            if name == b"IEND":
                ended = True
                break
            if name != b"IDAT":
                continue
            feed = body
            while feed and not engine.eof:
                try:
                    found += len(engine.decompress(feed, _STEP))
                except zlib.error:
                    raise _damaged(path, "rows that do not inflate", "a stream whose checksum holds") from None
                if found > due:
                    raise _damaged(path, f"more than {due} bytes of rows", f"{due} bytes")
                feed = engine.unconsumed_tail
        if not ended or not engine.eof:
            raise _damaged(path, "no end", "the whole file")
        if found != due:
            raise _damaged(path, f"{found} bytes of rows", f"{due} bytes")


def _chunks(stream: IO[bytes], path: Path) -> Iterator[tuple[bytes, bytes]]:
    while lead := stream.read(8):
        if len(lead) < 8:
            raise _damaged(path, "a chunk cut short", "the whole file")
        length, name = struct.unpack(">I4s", lead)
        body = stream.read(length)
        tail = stream.read(4)
        if len(body) < length or len(tail) < 4:
            raise _damaged(path, "a chunk cut short", "the whole file")
        if zlib.crc32(body, zlib.crc32(name)) != struct.unpack(">I", tail)[0]:
            raise _damaged(path, "a chunk that differs from its checksum", "the bytes that were written")
        yield name, body


def _bytes_of(head: bytes, path: Path) -> int:
    # inflated bytes of all rows: each begins with the number of its filter
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    if colour not in _SAMPLES or bits not in (1, 2, 4, 8, 16) or not width or not height or interlaced > 1:
        raise _damaged(path, "a header that makes no sense", "sizes, depth and colours of the format")
    pixel = bits * _SAMPLES[colour]
    if not interlaced:
        return int(height * (1 + (width * pixel + 7) // 8))
    total = 0
    for row, column, down, right in _PASSES:
        rows, columns = -(-(height - row) // down), -(-(width - column) // right)
        if rows > 0 and columns > 0:
            total += rows * (1 + (columns * pixel + 7) // 8)
    return total


def _damaged(path: Path, found: str, due: str) -> BadFile:
    mend = "Copy the file again from its source."
    return BadFile("the picture is damaged", where=path, found=found, due=due, mend=mend)
