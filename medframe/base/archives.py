"""The one way an archive is unpacked: all names and sizes are judged before the first byte is written.

Names: no absolute path, drive, backslash, "..", control character, doubled name or two that differ in capitals alone,
no file where another member needs a folder. Kinds: files and folders only, no link, device, pipe or sparse file.
Sizes: each limit of `ArchiveLimits`, from the archive's list first and counted again while bytes are written, since
lists lie.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from medframe.base.errors import BadFile, MedframeError, TooLarge
from medframe.base.files import atomic_folder
from medframe.base.paths import inside
from medframe.base.sizes import GIB

_CHUNK = 1 << 20
_HEADER = 4 << 20  # bytes of one header of a tar: long names and attributes
_FREE = 100 << 20  # unpacked bytes below which no ratio is asked for
_NAME = re.compile(r"[^\x00-\x1f\x7f\\]+")
_DRIVE = re.compile(r"^[A-Za-z]:")
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    IndexError,
    KeyError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    UnicodeError,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
)


@dataclass(frozen=True)
class ArchiveLimits:
    """How much may come out of an archive.

    Args:
        bytes_: of all members together.
        members: how many.
        ratio: unpacked bytes for each packed one; the first 100 MB are free.
        depth: folders below each other.
    """

    bytes_: int = 4 * GIB
    members: int = 100_000
    ratio: float = 1000.0
    depth: int = 32


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def extract(
    archive: str | os.PathLike[str], folder: str | os.PathLike[str], limits: ArchiveLimits | None = None
) -> list[Path]:
    """Unpack a zip or tar (plain, .gz, .bz2, .xz) into a new folder, which appears whole or not at all.

    Modes, owners and times of members are not taken over.

    Args:
        archive: what it is is told by its content.
        folder: must not exist, or be empty.
        limits: how much may come out.

    Returns:
        The files' paths, sorted.

    Raises:
        BadFile: no such archive, damaged, encrypted, or a member's name or kind is refused.
        TooLarge: a limit is passed.
        WriteFailed: the folder is taken, the disk is full, and the like.
    """
    archive, folder, limits = Path(archive), Path(folder), limits or ArchiveLimits()
    try:
        with ExitStack() as stack:
            members, folders = _listed(archive, limits, stack)
            _check_names([m.name for m in members], folders, limits, archive)
            with atomic_folder(folder, overwrite=False) as part:
                _write(part, members, folders, archive)
    except _DAMAGE as error:
        if isinstance(error, MedframeError):  # some of them are system errors, too
            raise
        raise _damaged(archive, error) from None
    return sorted(folder / m.name for m in members)


def _listed(archive: Path, limits: ArchiveLimits, stack: ExitStack) -> tuple[list[_Member], list[str]]:
    if not archive.is_file():
        raise _bad(archive, "there is no such archive", "no regular file", "a zip or tar file")
    if zipfile.is_zipfile(archive) and not _begins_as_tar(archive):
        return _zip(archive, limits, stack)
    return _tar(archive, limits, stack)


def _begins_as_tar(archive: Path) -> bool:
    # a tar whose last member is a zip ends as a zip does
    with open(archive, "rb") as stream:
        head = stream.read(262)
    return head[257:] == b"ustar" or head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"))


def _zip(archive: Path, limits: ArchiveLimits, stack: ExitStack) -> tuple[list[_Member], list[str]]:
    opened = stack.enter_context(zipfile.ZipFile(archive))
    members: list[_Member] = []
    folders: list[str] = []
    total, end = 0, 0
    entries = opened.infolist()
    _check_count(len(entries), limits, archive)
    for info in sorted(entries, key=lambda i: i.header_offset):
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "a link" if kind == stat.S_IFLNK else "a device or pipe"
            raise _bad(archive, "a dangerous member: no file", f"{what}, {_shown(info.filename)}", "files and folders")
        if info.flag_bits & 1:
            raise _bad(archive, "the archive is encrypted", _shown(info.filename), "a plain archive")
        if info.header_offset < end:
            raise _bad(archive, "members lie over each other", _shown(info.filename), "bytes that are used once")
        end = info.header_offset + 30 + info.compress_size
        # zipfile turns a backslash and everything after a zero byte into something else; the archive's own word counts
        name = info.orig_filename
        if name.endswith("/"):
            folders.append(_plain(name, archive))
            continue
        total += info.file_size
        _check_size(total, archive.stat().st_size, limits, archive)
        _check_size(info.file_size, info.compress_size, limits, archive)
        members.append(_Member(_plain(name, archive), info.file_size, partial(opened.open, info)))
    return members, folders


def _tar(archive: Path, limits: ArchiveLimits, stack: ExitStack) -> tuple[list[_Member], list[str]]:
    raw = stack.enter_context(open(archive, "rb"))  # noqa: SIM115  # the stack closes it
    head = raw.read(6)
    raw.seek(0)
    size = archive.stat().st_size
    stream: Any = raw
    if head[:2] == b"\x1f\x8b":
        stream = gzip.GzipFile(fileobj=raw)
    elif head[:3] == b"BZh":
        stream = bz2.BZ2File(raw)
    elif head == b"\xfd7zXZ\x00":
        stream = lzma.LZMAFile(raw)  # noqa: SIM115
    counted = _Counted(stream, size, limits, archive)
    opened = stack.enter_context(tarfile.open(fileobj=cast(IO[bytes], counted), mode="r:"))  # noqa: SIM115
    members: list[_Member] = []
    folders: list[str] = []
    total = 0
    for count, info in enumerate(opened, start=1):
        _check_count(count, limits, archive)
        if info.isdir():
            folders.append(_plain(info.name, archive))
            continue
        if not info.isreg() or info.issparse():
            what = "a link" if info.islnk() or info.issym() else "a device, pipe or sparse file"
            raise _bad(archive, "a dangerous member: no file", f"{what}, {_shown(info.name)}", "files and folders")
        total += info.size
        _check_size(total, size, limits, archive)
        members.append(_Member(_plain(info.name, archive), info.size, partial(_opened, opened, info, archive)))
    # tarfile takes a damaged header for the end: only the block of zeros that every tar ends with is one
    counted.seek(opened.offset)
    if counted.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise _bad(
            archive, "the archive is damaged", f"no member and no end after {opened.offset} bytes", "a whole tar"
        )
    return members, folders


def _opened(opened: tarfile.TarFile, info: tarfile.TarInfo, archive: Path) -> IO[bytes]:
    stream = opened.extractfile(info)
    if stream is None:
        raise _bad(archive, "a dangerous member: no file", _shown(info.name), "files and folders")
    return stream


class _Counted(io.RawIOBase):
    """An inflated stream that refuses to give more than the limits allow, or a header of more than a few megabytes."""

    def __init__(self, stream: Any, packed: int, limits: ArchiveLimits, archive: Path) -> None:
        super().__init__()
        self._stream, self._packed, self._limits, self._archive = stream, packed, limits, archive

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER:
            raise _bad(self._archive, "a header of the archive is too long", f"{size} bytes", f"at most {_HEADER}")
        data: bytes = self._stream.read(size)
        # padding and headers come on top of the members' bytes
        spent = max(0, self._stream.tell() - 2 * _CHUNK - 1536 * self._limits.members)
        _check_size(spent, self._packed, self._limits, self._archive)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        at: int = self._stream.seek(offset, whence)
        return at

    def tell(self) -> int:
        at: int = self._stream.tell()
        return at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _check_count(count: int, limits: ArchiveLimits, archive: Path) -> None:
    if count > limits.members:
        raise TooLarge(
            "the archive holds too many members",
            where=archive,
            found=f"{count} or more",
            due=f"at most {limits.members} (members)",
            mend="Raise ArchiveLimits(members=...) if this is meant.",
        )


def _check_size(unpacked: int, packed: int, limits: ArchiveLimits, archive: Path) -> None:
    most = min(limits.bytes_, max(_FREE, int(limits.ratio * packed)))
    if unpacked > most:
        named = "bytes_" if most == limits.bytes_ else "ratio"
        raise TooLarge(
            "the archive would unpack to more than the limit",
            where=archive,
            found=f"{unpacked} bytes or more from {packed}",
            due=f"at most {most} bytes ({named})",
            mend=f"Raise ArchiveLimits({named}=...) if this is meant.",
        )


def _plain(name: str, archive: Path) -> str:
    """A member's name without a leading "./" and a last slash, if it stays inside."""
    parts = name.removesuffix("/").split("/")
    while len(parts) > 1 and parts[0] == ".":
        parts = parts[1:]
    text = "/".join(parts)
    if text in ("", "."):
        return "."
    odd = any(not part.strip(". ") for part in parts) or text != text.strip()
    if odd or not _NAME.fullmatch(text) or _DRIVE.match(text) or os.path.isabs(text):
        raise _bad(
            archive,
            "a member's name is refused as dangerous",
            _shown(name),
            'names such as "folder/file", inside the archive',
        )
    return text


def _key(name: str) -> str:
    """A name as the most forgetful file system keeps it: without capitals, and dots or spaces at its ends."""
    return "/".join(unicodedata.normalize("NFC", part).casefold().rstrip(". ") for part in name.split("/"))


def _check_names(files: Sequence[str], folders: Sequence[str], limits: ArchiveLimits, archive: Path) -> None:
    seen: set[str] = set()
    for name in files:
        if _key(name) in seen or name == ".":
            raise _bad(archive, "a member occurs twice", _shown(name), "each name once, capitals apart")
        seen.add(_key(name))
    for name, is_folder in [*((n, False) for n in files), *((n, True) for n in folders)]:
        parts = _key(name).split("/")
        if len(parts) > limits.depth:
            raise _bad(archive, "folders lie too deep", f"{len(parts)} levels", f"at most {limits.depth} (depth)")
        if any("/".join(parts[:k]) in seen for k in range(1, len(parts) + is_folder)):
            raise _bad(archive, "a member is file and folder at once", _shown(name), "either")


def _write(part: Path, members: Sequence[_Member], folders: Sequence[str], archive: Path) -> None:
    for name in folders:
        inside(part, name, where=archive).mkdir(parents=True, exist_ok=True)
    for member in members:
        path = inside(part, member.name, where=archive)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with open(path, "xb") as out:
            for chunk in _chunks(member, archive):
                written += len(chunk)
                if written > member.size:
                    raise _bad(archive, "a member is longer than the list says", _shown(member.name), f"{member.size}")
                out.write(chunk)
        if written != member.size:
            found = f"{written} bytes of {_shown(member.name)}"
            raise _bad(archive, "a member is shorter than the list says", found, f"{member.size}")


def _chunks(member: _Member, archive: Path) -> Iterator[bytes]:
    try:
        with member.open() as source:
            while chunk := source.read(_CHUNK):
                yield chunk
    except _DAMAGE as error:
        if isinstance(error, MedframeError):
            raise
        raise _damaged(archive, error) from None


def _shown(name: str) -> str:
    # an absolute name may be one of this machine's: its folders are not told on
    return ascii("/.../" + name.rsplit("/", 1)[-1][-75:] if name.startswith("/") else name[-80:])


def _damaged(archive: Path, error: Exception) -> BadFile:
    return _bad(archive, "the archive is damaged", f"{type(error).__name__}: {error}"[:200], "a whole zip or tar")


def _bad(archive: Path, what: str, found: str, due: str) -> BadFile:
    mend = "Get the archive again from its source; do not unpack it with another tool."
    return BadFile(what, where=archive, found=found, due=due, mend=mend)
