"""The one way a file is written: under a temporary name, synced, then renamed. A final name never holds half a file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

from medframe.base.errors import WriteFailed

_MARK = ".medframe-part-"
_DAY = 86400.0  # seconds


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[IO[bytes]]:
    """Open a binary file that appears under `path` whole or not at all.

    The bytes go to a temporary name in the same folder, are synced to disk, and are renamed at the end of the block.
    On any error the temporary file is removed and whatever stood under `path` is as it was.

    Args:
        path: the final name; missing parent folders are made.
        overwrite: False refuses a name that is taken.

    Raises:
        WriteFailed: the disk is full, the folder is read-only, the name is taken, and the like.
    """
    final = Path(path)
    part = final.with_name(_temporary(final.name))
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        if not overwrite and final.exists():
            raise FileExistsError(17, "the file exists", str(final))
        stream = open(part, "xb")  # noqa: SIM115  # closed below, on every path
    except OSError as error:
        raise _failed(final, error) from error
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, final)
        _sync_folder(final.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            stream.close()
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, WriteFailed):
            raise _failed(final, error) from error
        raise


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """A new folder to fill, which appears under `path` whole or not at all.

    It is filled under a temporary name beside `path` and renamed at the end of the block. A folder that stood there is
    renamed away first and removed last; between the two renames there is nothing under the name, and never half of it.

    Args:
        path: the final name; missing parent folders are made.
        overwrite: False refuses a name that is taken, unless by an empty folder.

    Raises:
        WriteFailed: the disk is full, the parent is read-only, the name is taken, and the like.
    """
    final = Path(path)
    part, old = (final.with_name(_temporary(f"{kind}-{final.name}")) for kind in ("new", "old"))
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        free = final.is_dir() and not final.is_symlink() and (overwrite or not any(final.iterdir()))
        if (final.exists() or final.is_symlink()) and not free:
            raise FileExistsError(17, "the file exists", str(final))
        part.mkdir()
    except OSError as error:
        raise _failed(final, error) from error
    try:
        yield part
        for folder, _, names in os.walk(part):
            for name in names:
                _sync_file(Path(folder) / name)
            _sync_folder(Path(folder))
        if final.exists():
            os.replace(final, old)
        os.replace(part, final)
        _sync_folder(final.parent)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not final.exists():
            os.replace(old, final)
        if isinstance(error, OSError) and not isinstance(error, WriteFailed):
            raise _failed(final, error) from error
        raise


def _temporary(name: str) -> str:
    """A hidden name that tells which process of which machine is writing."""
    return f"{_MARK}{os.getpid()}-{_host()}-{secrets.token_hex(4)}-{name[-100:]}"


@cache
def _host() -> str:
    """This machine in eight letters; a name of its own would tell more than a temporary file should."""
    return hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()


def write_bytes(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = True) -> None:
    """Write bytes atomically."""
    with atomic_write(path, overwrite=overwrite) as stream:
        stream.write(data)


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = True) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"), overwrite=overwrite)


def write_json(path: str | os.PathLike[str], value: Any, *, overwrite: bool = True) -> None:
    """Write JSON atomically; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", overwrite=overwrite)


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Append one line to a log. A kill can cut the last line short, never an earlier one; readers skip a cut line."""
    try:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(line.rstrip("\n") + "\n")
    except OSError as error:
        raise _failed(Path(path), error) from error


def remove_folder(path: str | os.PathLike[str]) -> None:
    """Remove a folder of our own with all in it; what cannot be removed stays."""
    shutil.rmtree(path, ignore_errors=True)


def sweep(folder: str | os.PathLike[str]) -> int:
    """Remove temporary files left in `folder` by writers that no longer live; returns how many.

    Whether a process of another machine lives cannot be asked from here: its files are left alone for a day.
    """
    removed = 0
    for part in Path(folder).glob(f"{_MARK}*"):
        pid, host = [*part.name[len(_MARK) :].split("-"), ""][:2]
        if not pid.isdigit() or (_alive(int(pid)) if host == _host() else _young(part)):
            continue
        with contextlib.suppress(OSError):
            shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()
            removed += 1
    return removed


def _young(part: Path) -> bool:
    try:
        return time.time() - part.lstat().st_mtime < _DAY
    except OSError:
        return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(folder: Path) -> None:
    # without this a power loss may undo the rename; some file systems refuse to open folders, and that is all right
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sync_file(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def _failed(path: Path, error: OSError) -> WriteFailed:
    hints = {
        28: "Free some disk space and run the same command again.",
        13: "Choose a folder you may write to.",
        30: "The file system is read-only: choose another folder.",
        17: "Choose another name, or ask for overwriting.",
        27: "The file is larger than this system allows.",
    }
    return WriteFailed(
        "the file could not be written",
        where=path,
        found=error.strerror or str(error),
        due="a complete file; what stood there before is untouched",
        mend=hints.get(error.errno or 0, "Check the disk and the folder's permissions."),
    )
