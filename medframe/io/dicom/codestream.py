"""How large and how deep a compressed picture says it is, read from its first bytes before any decoder sees them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_J2K = b"\xff\x4f\xff\x51"
_START = b"\xff\xd8"
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_BARE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_PREFIX = 1 << 12  # bytes in which the boxes of a JP2 file end


@dataclass(frozen=True)
class Coded:
    """What a stream claims to hold.

    Args:
        rows: pixels down.
        columns: pixels across.
        samples: a pixel.
        bits: a sample.
        marked: a stream that ends with a mark; a decoder may look for it for ever.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    marked: bool = True


def coded_size(stream: bytes) -> Coded | None:
    """What a JPEG, JPEG-LS, JPEG 2000 or HTJ2K stream claims to hold; None where it has no such mark.

    Example:
        >>> coded_size(b"\\xff\\xd8\\xff\\xc0\\x00\\x0b\\x08\\x00\\x10\\x00\\x20\\x01\\x00\\x00\\x00")
        Coded(rows=16, columns=32, samples=1, bits=8, marked=True)
        >>> coded_size(b"neither")
    """
    at = stream[:_PREFIX].find(_J2K)
    if at >= 0 and len(stream) >= at + 43:
        width, height, left, top = struct.unpack_from(">IIII", stream, at + 8)
        samples, depth = struct.unpack_from(">HB", stream, at + 40)
        return Coded(max(0, height - top), max(0, width - left), samples, (depth & 0x7F) + 1, marked=False)
    if not stream.startswith(_START):
        return None
    at = 2
    while at + 9 < len(stream):
        if stream[at] != 0xFF:
            return None
        marker = stream[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAMES:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", stream, at + 4)
            return Coded(rows, columns, samples, bits)
        at += 2 + int(struct.unpack_from(">H", stream, at + 2)[0])
    return None
