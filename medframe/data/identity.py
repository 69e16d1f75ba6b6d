"""What a file is: a hash that changes whenever its content, or that of the files behind it, may have changed."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import time
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG

from medframe.base.errors import BadFile
from medframe.base.fingerprint import file_identity, fingerprint

_RACY = 2.0  # seconds: two writes closer than a clock tick leave the same times, so young files are looked at anew
_HEADERS = {".mhd", ".nhdr", ".mha", ".nrrd"}
_PAIR = re.compile(r"(.+)\.(hdr|img)(\.gz)?", re.IGNORECASE)
_HEADER_BYTES = 64 << 10
_DETACHED = re.compile(rb"^\s*(?:ElementDataFile\s*=|data ?file:)\s*(.*)$", re.IGNORECASE | re.MULTILINE)


def identity(path: Path, full: bool = False) -> str:
    """A hash of a file's place, size, time and of the first and last 64 kB; or of all its bytes.

    A folder (DICOM, Zarr) stands for all files in it, and a header with detached data for its data files as well.

    Args:
        path: the file or folder.
        full: hash every byte, which also finds an edit in the middle of a large uncompressed file that kept size and
            time.

    Raises:
        BadFile: it is missing or cannot be read.
    """
    return fingerprint(*(_of_file(part, full) for part in files_behind(path)))


def files_behind(path: Path) -> list[Path]:
    """All files that are read when `path` is: itself, what a folder holds, what a header points to."""
    if path.is_dir():
        return sorted(Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    pair = _PAIR.fullmatch(path.name)
    if pair:
        return sorted(p for p in path.parent.glob(f"{glob.escape(pair[1])}.*") if _PAIR.fullmatch(p.name)) or [path]
    if path.suffix.lower() not in _HEADERS or not path.is_file():
        return [path]
    found = {path}
    try:
        with open(path, "rb") as stream:
            text = stream.read(_HEADER_BYTES)
    except OSError:
        return [path]  # reading it will say so
    match = _DETACHED.search(text)
    if match and match[1].strip().upper() != b"LOCAL":
        # a name, a pattern such as "slice%03d.raw 1 50 1", or LIST with one name a line after it
        for line in (match[1], *text[match.end() :].splitlines()):
            name = line.decode("utf-8", "replace").strip()
            for word in {name, name.split(" ")[0]}:
                if re.search(r"\w", word) and not os.path.isabs(word) and ".." not in word and "\0" not in word:
                    pattern = re.sub(r"%0?\d*d", "*", glob.escape(word))
                    found.update(p for p in path.parent.glob(pattern) if p.is_file())
    return sorted(found)


def _of_file(path: Path, full: bool) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        raise BadFile("the file cannot be read", where=path, found=error.strerror, due="a readable file") from None
    if not S_ISREG(stat.st_mode):  # opening a pipe would wait for a writer
        raise BadFile("this is not a file", where=path, found="a pipe, socket or device", due="a regular file")
    if abs(time.time() - max(stat.st_mtime, stat.st_ctime)) < _RACY:
        return _hash(path, full)
    # the change time cannot be set by hand, so a file that it calls unchanged need not be opened again
    return _remembered(path, full, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)


@lru_cache(maxsize=1 << 16)
def _remembered(path: Path, full: bool, *state: int) -> str:
    return _hash(path, full)


def _hash(path: Path, full: bool) -> str:
    if not full:
        return file_identity(path)
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "blake2b").hexdigest()
    except OSError as error:
        raise BadFile("the file cannot be read", where=path, found=error.strerror, due="a readable file") from None
    return f"{path.resolve()}|{digest}"
