"""What every reader asks of a file before it is opened, and the net that turns system errors into ours."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from medframe.base.errors import BadFile, TooLarge

Stamp = tuple[int, int]


def stamp_of(path: Path) -> Stamp:
    """Size in bytes and modification time of a regular file; nothing is opened, so a pipe cannot hang us.

    Raises:
        BadFile: the path is missing, a folder, a pipe or a device.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise BadFile(
            "there is no such file",
            where=path,
            found="nothing, or a link to nothing",
            due="a file",
            mend="Check the path.",
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise _unreadable(path, reason) from None
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
        raise BadFile(
            "this is not a file", where=path, found=what, due="a regular file", mend="Give the path of the image file."
        )
    return found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the system raises while a file is read into BadFile and TooLarge.

    Raises:
        BadFile: the system could not read the file.
        TooLarge: there is not enough memory.
    """
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    except MemoryError:
        raise TooLarge(
            "there is not enough memory for the voxels",
            where=path,
            found="an allocation that failed",
            due="memory for the image",
            mend="Read a crop of it from an uncompressed file, or use a larger machine.",
        ) from None


def _unreadable(path: str | os.PathLike[str], reason: str) -> BadFile:
    mend = "Check the path, its permissions and the disk."
    return BadFile("the file cannot be read", where=path, found=reason, due="a readable file", mend=mend)
