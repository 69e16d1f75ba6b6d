"""Stable hashes: of values, of files and of the code of a class."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from functools import lru_cache
from pathlib import Path

from medframe.base.errors import BadFile


def fingerprint(*parts: object) -> str:
    """A short stable hash of strings, numbers and anything with an honest `repr` (frozen dataclasses have one)."""
    text = json.dumps([p if isinstance(p, str | int | float | bool | None) else repr(p) for p in parts])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def file_identity(path: str | os.PathLike[str]) -> str:
    """Name, size, modification time and a hash of the first and last 64 kB of a file.

    Raises:
        BadFile: the file is missing.
    """
    path = Path(path)
    edge = 64 << 10
    try:
        stat = path.stat()
        with open(path, "rb") as stream:
            ends = stream.read(edge)
            if stat.st_size > edge:
                stream.seek(max(edge, stat.st_size - edge))
                ends += stream.read(edge)
    except OSError as error:
        raise BadFile("the file cannot be read", where=path, found=error.strerror, due="a readable file") from None
    digest = hashlib.blake2b(ends, digest_size=12).hexdigest()
    return f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{digest}"


@lru_cache(maxsize=512)
def code_version(cls: type) -> str:
    """A hash of a class's source and of its bases', so that an edited transform never serves an old cache entry."""
    text = []
    for part in cls.__mro__[:-1]:
        try:
            text.append(inspect.getsource(part))
        except (OSError, TypeError):
            text.append(f"{part.__module__}.{part.__qualname__}")
    return hashlib.blake2b("\n".join(text).encode(), digest_size=8).hexdigest()
