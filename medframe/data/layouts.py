"""Reading a dataset of any of the four known layouts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from medframe.base.errors import BadDataset
from medframe.data.datalist import read_object
from medframe.data.decathlon import read_decathlon
from medframe.data.folders import IMAGES, read_folders
from medframe.data.listing import require_files, require_labels
from medframe.data.nnunet import read_nnunet
from medframe.data.records import Cohort, shortlist
from medframe.data.table import read_table

_KNOWN = (
    "one of: a Decathlon dataset.json with a list 'training'; an nnU-Net v2 folder (imagesTr, labelsTr, dataset.json "
    "with 'channel_names'); two folders 'images' and 'labels' with matching names; a CSV file with a column 'image'"
)


def read_cohort(
    path: str | os.PathLike[str],
    labels_required: bool = True,
    *,
    files_required: bool = True,
    roots: Sequence[str | os.PathLike[str]] = (),
) -> Cohort:
    """Read a dataset's description, whatever its layout, and check that all its files are there.

    Known are Decathlon (folder or dataset.json), nnU-Net v2 raw folders, a pair of folders `images` and `labels`, and
    a CSV with the columns case, image (image2, ... for more channels), label, group, split.

    Args:
        path: the folder, or the JSON or CSV file.
        labels_required: refuse cases without a label.
        files_required: refuse a description that names files which are not there.
        roots: folders outside of the dataset's own that a list may name files in; every other path that leads out of
            the folder of the list, links followed, is refused.

    Raises:
        BadDataset: unknown layout, empty, files absent, ids doubled, broken JSON, or a path that leads outside.
    """
    path = Path(path)
    allowed = [Path(root) for root in roots]
    cohort = _read(path, allowed)
    if files_required:
        require_files(cohort.records, cohort.root)
    if labels_required:
        require_labels(cohort.records, cohort.root)
    return cohort


def _read(path: Path, roots: Sequence[Path]) -> Cohort:
    file = path / "dataset.json" if path.is_dir() and (path / "dataset.json").is_file() else path
    if file.is_file() and file.suffix.lower() == ".json":
        content = read_object(file)
        if "channel_names" in content:
            return read_nnunet(file, content, roots)
        if "training" in content:
            return read_decathlon(file, content, roots)
        raise BadDataset("the JSON describes no known dataset", where=file, found=shortlist(content), due=_KNOWN)
    if file.is_file() and file.suffix.lower() in (".csv", ".tsv"):
        return read_table(file, roots)
    if (path / IMAGES).is_dir():
        return read_folders(path)
    if not path.exists():
        raise BadDataset("no such folder or file", where=path, due=_KNOWN)
    found = f"a file {path.suffix or 'without suffix'}"
    if path.is_dir():
        names = sorted(name for name in os.listdir(path) if not name.startswith("."))
        found = f"a folder with {shortlist(names)}" if names else "an empty folder"
    raise BadDataset("no known dataset layout", where=path, found=found, due=_KNOWN)
