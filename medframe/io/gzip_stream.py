"""Gzip in and out: inflated in bounded steps and checked to the end of the stream, deflated fast.

The work is done by ISA-L (`isal`) where it is installed and by zlib elsewhere; both speak one interface.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadFile, TooLarge
from medframe.base.sizes import GIB, check_size
from medframe.io.reading import reading

MAGIC = b"\x1f\x8b"
RATIO_LIMIT = 1000  # times its size that a file may inflate to, beyond what is free; MEDFRAME_RATIO_LIMIT changes it
RATIO_FREE = GIB  # empty label maps honestly pass 1000:1, so the ratio judges only what is larger than this
TAIL_LIMIT = 64 << 20  # bytes behind the voxels that are inflated, to reach the checksum

_DEFLATE_MOST = 1032  # no deflate stream inflates to more times its size than this
_PIECE = 1 << 18
_STEP = 4 << 20
GZIP = 31  # window bits that mean: gzip wrapper, checksum and length checked
ZLIB = 15  # the same for the zlib wrapper, which MetaImage uses


def check_packed(
    shape: Sequence[int], itemsize: int, *, skip: int, compressed: int, where: str | os.PathLike[str]
) -> None:
    """The size check of a compressed array: what the file can hold, then the image limit, then the ratio limit.

    Args:
        shape: as the header claims it.
        itemsize: bytes an element.
        skip: inflated bytes before the array.
        compressed: bytes of the file.
        where: for the message.

    Raises:
        TooLarge: any of the three.
    """
    due = skip + math.prod(int(n) for n in shape) * itemsize
    check_holds(due, compressed, where)
    check_size(shape, itemsize, where=where)
    check_bomb(due, compressed, where)


def check_holds(due: int, compressed: int, where: str | os.PathLike[str]) -> None:
    """Refuse what no deflate stream of so many bytes inflates to.

    Raises:
        TooLarge: the header claims more.
    """
    if due > compressed * _DEFLATE_MOST + _DEFLATE_MOST:
        raise TooLarge(
            "the compressed file is too small for what its header claims",
            where=where,
            found=f"{compressed} bytes, which inflate to {compressed * _DEFLATE_MOST} at most",
            due=f"{due} bytes of header and voxels",
            mend="The file is truncated or its header is damaged; copy it again from its source.",
        )


def check_bomb(due: int, compressed: int, where: str | os.PathLike[str]) -> None:
    """Refuse what only a decompression bomb would inflate to; any kind of compression.

    Raises:
        TooLarge: the ratio limit is passed, beyond what is free.
    """
    limit = int(os.environ.get("MEDFRAME_RATIO_LIMIT", RATIO_LIMIT))
    if due > RATIO_FREE and due > compressed * limit:
        raise TooLarge(
            "the file inflates to more than the ratio limit allows",
            where=where,
            found=f"{compressed} bytes that inflate to {due}, {due // max(compressed, 1)} times as many",
            due=f"at most {limit} times beyond {RATIO_FREE / GIB:g} GiB",
            mend="Set the environment variable MEDFRAME_RATIO_LIMIT higher if this is meant.",
        )


def peek(path: Path, count: int) -> bytes:
    """The first `count` inflated bytes, fewer where the stream ends before; the rest is not looked at.

    Raises:
        BadFile: the stream is damaged from the start.
    """
    out = bytearray()
    with reading(path), open(path, "rb") as stream:
        for part in _members(path, stream, piece=1 << 12, step=max(count, 1 << 10)):
            out += part
            if len(out) >= count:
                break
    return bytes(out[:count])


def inflate(path: Path, skip: int, size: int, start: int = 0, wrapper: int = GZIP) -> NDArray[np.uint8]:
    """`size` inflated bytes after the first `skip`; checksum and length of every member they touch are verified.

    Members that follow the one in which the voxels end are not looked at.

    Args:
        path: of the file.
        skip: inflated bytes to pass over.
        size: inflated bytes to give.
        start: where in the file the stream begins.
        wrapper: GZIP or ZLIB.

    Raises:
        BadFile: the stream is damaged or ends early.
        TooLarge: more than `TAIL_LIMIT` bytes stand between the voxels and the checksum.
    """
    filled = passed = tail = 0
    with reading(path), open(path, "rb") as stream:
        stream.seek(start)
        # address space alone: memory follows page by page, as bytes really come
        out = np.empty(size, np.uint8)
        room = out.data
        for part in _members(path, stream, wrapper=wrapper):
            view = memoryview(part)
            if passed < skip:
                cut = min(skip - passed, len(view))
                passed += cut
                view = view[cut:]
            take = min(len(view), size - filled)
            room[filled : filled + take] = view[:take]
            filled += take
            tail += len(view) - take
            if not part and filled == size:
                return out  # the end of a member: its checksum held
            if tail > TAIL_LIMIT:
                raise TooLarge(
                    "the compressed stream goes on far behind the voxels",
                    where=path,
                    found=f"more than {TAIL_LIMIT >> 20} MiB behind them",
                    due=f"{skip + size} bytes in all",
                    mend="The file is damaged or not what its header says; write it again.",
                )
    raise BadFile(
        "the compressed file ends before its voxels do",
        where=path,
        found=f"{filled} bytes of voxels",
        due=f"{size} bytes",
        mend="The file is truncated; copy it again from its source.",
    )


def _members(
    path: Path, stream: IO[bytes], piece: int = _PIECE, step: int = _STEP, wrapper: int = GZIP
) -> Iterator[bytes]:
    # inflated pieces, and b"" at the end of each member, once its checksum and length have been verified
    engine = _engine()
    feed = stream.read(piece)
    while feed[:2] == MAGIC if wrapper == GZIP else feed:
        member = engine.decompressobj(wrapper)
        while not member.eof:
            try:
                part = member.decompress(feed, step)
            except engine.error as error:
                raise BadFile(
                    "the compressed stream is damaged",
                    where=path,
                    found=str(error),
                    due="a compressed stream whose checksum holds",
                    mend="Copy the file again from its source.",
                ) from None
            if part:
                yield part
            feed = member.unconsumed_tail
            if not feed and not member.eof:
                feed = stream.read(piece)
                if not feed and not part:
                    raise BadFile(
                        "the compressed stream is cut short",
                        where=path,
                        found="the end of the file before the end of the stream",
                        due="a compressed stream with its checksum",
                        mend="The file is truncated; copy it again from its source.",
                    )
        yield b""
        feed = member.unused_data
        if len(feed) < len(MAGIC):
            feed += stream.read(piece)


@contextlib.contextmanager
def deflated(stream: IO[bytes], wrapper: int = GZIP) -> Iterator[Any]:
    """An object whose `write` compresses into `stream`; the same bytes in give the same bytes out, whatever the day."""
    engine = _engine()
    level = 1 if engine is zlib else 2
    packer = engine.compressobj(level, zlib.DEFLATED, wrapper)
    yield _Packing(packer, stream)
    stream.write(packer.flush())


class _Packing:
    def __init__(self, packer: Any, stream: IO[bytes]) -> None:
        self._packer = packer
        self._stream = stream

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _STEP):
            self._stream.write(self._packer.compress(view[start : start + _STEP]))


def _engine() -> ModuleType:
    try:
        return importlib.import_module("isal.isal_zlib")
    except ModuleNotFoundError:
        return zlib
