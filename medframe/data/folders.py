"""The plainest layout: a folder of images and a folder of labels, matched by name."""

from __future__ import annotations

from pathlib import Path

from medframe.base.errors import BadDataset
from medframe.data.listing import bases_of, by_channel, listed
from medframe.data.records import Cohort, Record, shortlist
from medframe.io import stem

IMAGES, LABELS = "images", "labels"


def read_folders(root: Path) -> Cohort:
    """The cohort in root/images and root/labels; a label has the name of its image, up to the suffix.

    Where images are called CASE_0000, CASE_0001, ... and a label CASE, they are the channels of CASE.

    Raises:
        BadDataset: no images, labels without an image, two images or two labels of one name.
    """
    images = listed(root / IMAGES)
    if not images:
        raise BadDataset("there are no images", where=root / IMAGES, found="no file of a known kind")
    labels: dict[str, Path] = {}
    for path in listed(root / LABELS) if (root / LABELS).is_dir() else []:
        other = labels.setdefault(stem(path), path)
        if other is not path:
            raise BadDataset(
                "a case has two labels",
                where=f"case {stem(path)}",
                found=f"{other.name}, {path.name}",
                due="one label map a case",
            )
    # CASE_0000 beside a label CASE_0000 is a name, not a channel; only a label CASE makes channels of it
    if bases_of(images) & set(labels) and not any(stem(path) in labels for path in images):
        cases = list(by_channel(images).items())
    else:
        cases = [(stem(path), (path,)) for path in images]
    alone = sorted(set(labels) - {case for case, _ in cases})
    if alone:
        raise BadDataset(
            "labels have no image",
            where=root / LABELS,
            found=shortlist(labels[case].name for case in alone),
            due=f"an image of the same name in {IMAGES}",
        )
    return Cohort(root.name, root, tuple(Record(case, paths, labels.get(case)) for case, paths in cases))
