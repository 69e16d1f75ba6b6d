"""The DICOM files of a folder: found by content, since half of all exports have no suffix."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medframe.base.errors import BadFile
from medframe.io.dicom.file import looks_like_dicom
from medframe.io.reading import reading

SUFFIXES = (".dcm", ".dicom", ".ima")
_LISTS = {"dicomdir"}  # names files, holds no image


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Args:
        files: those that begin as DICOM files do, sorted by name.
        passed: how many other files were passed over.
    """

    files: tuple[Path, ...]
    passed: int


def files_in(folder: Path) -> Found:
    """The DICOM files of a folder, not of those below it. Hidden files, DICOMDIR, pipes and devices are passed over.

    Raises:
        BadFile: a file named as DICOM files are (.dcm, .dicom, .ima, a number, or no suffix) is empty, or one with
            those suffixes is none: a slice was lost, which must not go unnoticed.
    """
    files, passed = [], 0
    for path in entries(folder):
        if not path.is_file():
            continue
        if path.name.startswith(".") or path.name.lower() in _LISTS:
            passed += 1
        elif looks_like_dicom(path):
            files.append(path)
        else:
            check_other(path)
            passed += 1
    return Found(tuple(files), passed)


def check_other(path: Path) -> None:
    """Raise BadFile where a file that is not DICOM bears the name of one that was."""
    named = path.suffix.lower() in SUFFIXES
    bare = not path.suffix or path.suffix[1:].isdigit()
    with reading(path):
        empty = path.stat().st_size == 0
    if (empty and (named or bare)) or named:
        raise BadFile(
            "the file is empty" if empty else "this is not a DICOM file",
            where=path,
            found="0 bytes" if empty else "no DICOM mark and no DICOM element",
            due="a DICOM file",
            mend="Copy it again from its source, or take it out of the folder if it belongs to no series.",
        )


def entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted by name.

    Raises:
        BadFile: it cannot be listed.
    """
    with reading(folder):
        return sorted(Path(entry.path) for entry in os.scandir(folder))


def walk(folder: Path) -> Iterator[Path]:
    """All files in a folder and below, folder by folder, sorted; links to folders are not followed, hidden ones passed.

    Raises:
        BadFile: the folder cannot be listed.
    """
    entries(folder)
    for here, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.lower() not in _LISTS:
                yield Path(here) / name
