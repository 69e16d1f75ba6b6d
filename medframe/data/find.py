"""Finding the images to predict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from medframe.base.errors import BadDataset, BadFile
from medframe.data.listing import by_channel, case_ids, listed
from medframe.data.records import Record, check_unique
from medframe.io import FORMATS, known_suffixes

_SLICES = tuple(suffix for known in FORMATS if known.folders for suffix in known.suffixes)
_LOOK = 50  # files of a folder looked into for DICOM's magic; DICOM files often have no suffix


def find_images(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, channels: bool = False
) -> list[Record]:
    """Records of image files, without labels, for prediction.

    A file stands for itself; a folder for the images in it, or, where it holds DICOM files instead, for one series (or
    one a sub-folder).

    Args:
        paths: files and folders.
        channels: take CASE_0000, CASE_0001, ... as the channels of one case.

    Returns:
        Records whose case ids are the file names without suffix; ids get the folder in front where names clash.

    Raises:
        BadFile: a path is not there.
        BadDataset: nothing was found, or two cases would have one id.
    """
    given = [Path(p) for p in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    found: list[Path] = []
    for path in given:
        if not path.exists():
            raise BadFile("no such file or folder", where=path, due="an image, or a folder of images")
        found.extend(_in_folder(path) if path.is_dir() and not path.name.lower().endswith(".zarr") else [path])
    found = list(dict.fromkeys(found))
    if not found:
        raise BadDataset("there is nothing to predict", found="no path", due="an image, or a folder of images")
    if channels:
        records = [Record(case, images) for case, images in by_channel(found).items()]
    else:
        root = Path(os.path.commonpath([os.path.abspath(path.parent) for path in found]))
        ids = case_ids([Path(os.path.abspath(path)) for path in found], root)
        records = [Record(case, (path,)) for case, path in zip(ids, found, strict=True)]
    check_unique(records)
    return records


def images_below(path: str | os.PathLike[str]) -> list[Path]:
    """All images in a folder and the folders below it, sorted by place; a file stands for itself.

    A folder that is one image (Zarr, a DICOM series) is named itself, and nothing in it. Links to folders are not
    followed, hidden files and folders are passed over.

    Raises:
        BadFile: the path is not there.
        BadDataset: there is no image.
    """
    path = Path(path)
    if not path.exists():
        raise BadFile("no such file or folder", where=path, found="nothing", due="an image, or a folder of images")
    if path.is_file() or _is_image(path):
        return [path]
    found: list[Path] = []
    for folder, below, _ in os.walk(path):
        here = Path(folder)
        whole = [name for name in below if _is_image(here / name)]
        found += [here / name for name in whole]
        below[:] = sorted(name for name in below if name not in whole and not name.startswith("."))
        found += [p for p in listed(here) if p.is_file() and not _is_slice(p)]
    if not found:
        raise BadDataset(
            "the folder holds no images", where=path, found="no file of a known kind", due=known_suffixes()
        )
    return sorted(found)


def _is_image(folder: Path) -> bool:
    """Whether a folder is one image."""
    if any(folder.name.lower().endswith(s) for f in FORMATS if f.own_folders for s in f.suffixes):
        return True
    reads_folders = [f for f in FORMATS if f.folders]
    if any(folder.name.lower().endswith(s) for f in reads_folders for s in f.suffixes):
        return True
    return bool(reads_folders) and _holds_dicom(folder) and all(_is_slice(p) for p in listed(folder))


def _in_folder(folder: Path) -> list[Path]:
    images = [path for path in listed(folder) if not _is_slice(path)]
    if images:
        return images
    if _holds_dicom(folder):
        return [folder]
    series = [path for path in sorted(folder.iterdir()) if path.is_dir() and _holds_dicom(path)]
    if not series:
        raise BadDataset("the folder holds no images", where=folder, due=known_suffixes())
    return series


def _holds_dicom(folder: Path) -> bool:
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    return any(_is_dicom(path) for path in files[:_LOOK])


def _is_slice(path: Path) -> bool:
    """Whether a file bears the name of a part of an image that is a folder."""
    return path.name.lower().endswith(_SLICES)


def _is_dicom(path: Path) -> bool:
    if _is_slice(path):
        return True
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False
