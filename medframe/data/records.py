"""What a dataset is made of: records, which are paths with a name, and the cohort that holds them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medframe.base.errors import BadDataset

_CASE = re.compile(r"[^/\\\x00-\x1f\x7f]{1,150}")


@dataclass(frozen=True)
class Record:
    """One case: where its files are.

    Args:
        case: its id, unique in a cohort; it names prediction files, so it must do as a file name.
        images: one path a channel, or a single path of a file with all channels.
        label: the label map.
        group: what must not be torn apart by a split, such as the patient; default the case.
        split: the part of the data it was put into beforehand: "train", "val", "test" or the number of a fold.

    Raises:
        BadDataset: the id does not do as a file name, or there is no image.
    """

    case: str
    images: tuple[Path, ...]
    label: Path | None = None
    group: str = ""
    split: str | None = None

    def __post_init__(self) -> None:
        if not _CASE.fullmatch(self.case) or self.case.startswith(".") or self.case != self.case.strip():
            raise BadDataset(
                "a case id must do as a file name",
                found=repr(self.case[:160]),
                due="1 to 150 characters, no slash, no control character, no leading dot, no space at its ends",
            )
        given: object = self.images
        if not isinstance(given, tuple | list) or not given:
            raise BadDataset("a record has a tuple of image paths", where=f"case {self.case}", found=repr(given)[:80])
        object.__setattr__(self, "images", tuple(Path(p) for p in self.images))
        object.__setattr__(self, "label", None if self.label is None else Path(self.label))
        object.__setattr__(self, "group", self.group or self.case)

    def sample(self) -> dict[str, Any]:
        """The sample a pipeline starts from: "image" (paths), "label" (a path, where there is one) and "case"."""
        members: dict[str, Any] = {"image": self.images}
        if self.label is not None:
            members["label"] = self.label
        members["case"] = self.case
        return members


@dataclass(frozen=True)
class Cohort:
    """A dataset: its records and what their numbers mean.

    Args:
        name: for people.
        root: the folder that its description lies in.
        records: in order of their listing.
        classes: label value -> name, 0 (background) included; empty where the layout does not tell.
        channels: names of the image channels, in order; empty where the layout does not tell.

    Raises:
        BadDataset: there are no records, or two have one case id.
    """

    name: str
    root: Path
    records: tuple[Record, ...]
    classes: Mapping[int, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.records:
            raise BadDataset("the dataset is empty", where=self.root, found="no case", due="at least one")
        check_unique(self.records)

    def __len__(self) -> int:
        return len(self.records)


def check_unique(records: Sequence[Record]) -> None:
    """Raise unless every case id occurs once.

    Raises:
        BadDataset: listing the ids; where one image has two labels, it says so.
    """
    seen: dict[str, Record] = {}
    for record in records:
        other = seen.setdefault(record.case, record)
        if other is not record and other.images == record.images and other.label != record.label:
            raise BadDataset(
                "a case has two labels",
                where=f"case {record.case}",
                found=", ".join(p.name for p in (other.label, record.label) if p is not None),
                due="one label map a case",
            )
    counts = Counter(record.case for record in records)
    doubled = [case for case, count in counts.items() if count > 1]
    if doubled:
        raise BadDataset(
            "case ids occur more than once",
            found=shortlist(doubled),
            due="one record a case",
            mend="Remove the copies, or give the cases ids of their own (a CSV with a column 'case').",
        )


def shortlist(names: Iterable[object], most: int = 5) -> str:
    """The first few names and how many more there are, for messages."""
    shown = [str(name) for name in names]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return f"{', '.join(shown[:most])}{more} ({len(shown)} in all)" if more else ", ".join(shown)
