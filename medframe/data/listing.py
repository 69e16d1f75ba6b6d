"""File names and what they stand for: stems, channels, and paths that must stay inside their dataset."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from medframe.base.errors import BadDataset
from medframe.base.paths import inside as contained
from medframe.data.records import Record, shortlist
from medframe.io import FORMATS, stem

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def suffixes() -> list[str]:
    """All suffixes that images may have, longer ones first."""
    return sorted({s for known in FORMATS for s in known.suffixes}, key=lambda s: (-len(s), s))


def suffix_of(name: str) -> str:
    """The image suffix of a file name as it is written, or "" for another kind of file."""
    lower = name.lower()
    return next((name[-len(s) :] for s in suffixes() if lower.endswith(s) and len(name) > len(s)), "")


def listed(folder: Path) -> list[Path]:
    """The images in a folder, sorted; hidden files, macOS's "._" twins among them, are passed over.

    Raises:
        BadDataset: the folder cannot be read.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise BadDataset("the folder cannot be read", where=folder, found=error.strerror, due="a folder") from None
    images = [folder / name for name in names if not name.startswith(".") and suffix_of(name)]
    headers = {stem(path) for path in images if suffix_of(path.name).lower().startswith(".hdr")}
    # of a pair of header and voxels the header stands for both
    return [p for p in images if not (suffix_of(p.name).lower().startswith(".img") and stem(p) in headers)]


def by_channel(paths: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """Files named CASE_0000, CASE_0001, ... as the channels of their case.

    Raises:
        BadDataset: a name has no channel number, or the numbers of a case have gaps or doubles.
    """
    numbered: dict[str, dict[int, list[Path]]] = {}
    odd = [path.name for path in paths if not _CHANNEL.fullmatch(stem(path))]
    if odd:
        raise BadDataset(
            "image names lack a channel number", found=shortlist(odd), due="names such as CASE_0000.nii.gz"
        )
    for path in paths:
        case, channel = _CHANNEL.fullmatch(stem(path)).groups()  # type: ignore[union-attr]  # checked just above
        numbered.setdefault(case, {}).setdefault(int(channel), []).append(path)
    for case, channels in numbered.items():
        if sorted(channels) != list(range(len(channels))) or any(len(files) > 1 for files in channels.values()):
            raise BadDataset(
                "the channels of a case have gaps or doubles",
                where=f"case {case}",
                found=shortlist(path.name for k in sorted(channels) for path in channels[k]),
                due="one file each for _0000, _0001, ...",
            )
    return {case: tuple(channels[k][0] for k in range(len(channels))) for case, channels in numbered.items()}


def bases_of(paths: Iterable[Path]) -> set[str]:
    """The cases that files with a channel number would be channels of."""
    return {match[1] for path in paths if (match := _CHANNEL.fullmatch(stem(path)))}


def inside(name: object, root: Path, roots: Sequence[Path], where: str) -> Path:
    """The path that a dataset's description names, which must stay inside the dataset, links followed.

    Args:
        name: as it stands in the description.
        root: the folder that names are relative to.
        roots: further folders that files may lie in.
        where: the entry, for the message.

    Raises:
        BadDataset: not a file name, or it leads out of every root.
    """
    mend = "Move the list above its files, or name their folder: read_cohort(path, roots=[folder])."
    return contained(root, name, roots=roots, where=where, error=BadDataset, mend=mend)


def require_files(records: Sequence[Record], root: Path) -> None:
    """Raise unless every file of the records is there.

    Raises:
        BadDataset: with the first five absent names and their number.
    """
    wanted = [path for r in records for path in (*r.images, *([r.label] if r.label is not None else []))]
    absent = [path for path in wanted if not os.path.exists(path)]
    if absent:
        raise BadDataset(
            f"{len(absent)} of {len(wanted)} files are not there",
            where=root,
            found=f"no {shortlist(relative(path, root) for path in absent)}",
            due="every file that the dataset names",
            mend="Copy the missing files, or take them off the list.",
        )


def require_labels(records: Sequence[Record], root: Path) -> None:
    """Raise unless every record has a label.

    Raises:
        BadDataset: with the first five cases.
    """
    bare = [record.case for record in records if record.label is None]
    if bare:
        raise BadDataset(
            f"{len(bare)} of {len(records)} cases have no label",
            where=root,
            found=f"none for {shortlist(bare)}",
            due="a label map a case",
            mend="Add the labels, or read with labels_required=False.",
        )


def case_ids(images: Sequence[Path], root: Path) -> list[str]:
    """Case ids of image files: their stems; where stems clash, their places below `root` ("p1/scan" -> "p1_scan")."""
    short = [stem(path) for path in images]
    if len(set(short)) == len(short) or len(set(images)) < len(images):  # a file listed twice is a fault of its own
        return short
    return ["_".join((*Path(relative(path, root)).parent.parts, stem(path))) for path in images]


def relative(path: Path, root: Path) -> str:
    """A path as it is shown and named: below `root`, or its last part."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
