"""The pages of a TIFF file hang together: the chain of their directories ends where it says, inside the file.

Decoders stop at a link that leads nowhere, and give the pages before it as if they were all.
Source of the format: "TIFF Revision 6.0", Adobe 1992; BigTIFF as in the documentation of libtiff.
"""

from __future__ import annotations

import struct
from pathlib import Path

from medframe.base.errors import BadFile

_MOST = 1 << 20  # pages
_PRIVATE = 32768  # tags from here on belong to whoever registered them, and are not read
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def check_chain(path: Path) -> None:
    """Follow the chain of directories from the first to the last.

    Raises:
        BadFile: a link or the value of a standard tag lies outside the file, or the chain has no end.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        lead = stream.read(16)
        order = {b"II": "<", b"MM": ">"}.get(lead[:2])
        if order is None or len(lead) < 8:
            raise _damaged(path, "no mark of byte order")
        big = struct.unpack_from(f"{order}H", lead, 2)[0] == 43
        count, link, entry = ("Q", "Q", 20) if big else ("H", "I", 12)  # of Python's struct, and bytes
        at = struct.unpack_from(f"{order}{link}", lead.ljust(16, b"\0"), 8 if big else 4)[0]
        seen: set[int] = set()
        while at:
            if at in seen or len(seen) >= _MOST:
                raise _damaged(path, "a chain of pages that leads back")
            seen.add(at)
            stream.seek(min(at, size))
            raw = stream.read(struct.calcsize(order + count))
            entries = struct.unpack(order + count, raw)[0] if len(raw) == struct.calcsize(order + count) else size
            width = struct.calcsize(order + link)
            table = stream.read(entries * entry + width) if entries * entry <= size - at else b""
            if len(table) < entries * entry + width:
                raise _damaged(path, f"a page at byte {at} of {size}")
            for k in range(entries):
                tag, kind, many, place = struct.unpack_from(f"{order}HH{link}{link}", table, k * entry)
                long = many * _WIDTHS.get(kind, 0)
                if tag < _PRIVATE and long > width and place + long > size:
                    raise _damaged(path, f"the value of tag {tag} at byte {place} of {size}")
            at = struct.unpack_from(order + link, table, entries * entry)[0]


def _damaged(path: Path, found: str) -> BadFile:
    return BadFile(
        "the file is damaged or no TIFF",
        where=path,
        found=found,
        due="pages that follow each other inside the file",
        mend="Copy the file again from its source.",
    )
