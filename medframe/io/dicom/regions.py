"""What the labels of a label map mean, as DICOM objects must say it: a name and a code for each region."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medframe.base.errors import BadArgument, BadLabel
from medframe.image import Image
from medframe.io.dicom.organ_codes import ANATOMY, Code, Side, code_of, known_names

_NAME = 64  # characters of the value representation LO
# sixteen colours that stay apart on grey images; further regions begin again
_COLOURS = (
    (221, 77, 67), (77, 155, 221), (96, 179, 84), (240, 190, 60), (148, 103, 189), (64, 191, 184), (230, 126, 34),
    (214, 112, 180), (140, 110, 80), (160, 200, 60), (50, 90, 170), (190, 60, 110), (110, 140, 120), (250, 150, 140),
    (110, 200, 250), (190, 170, 230),
)  # fmt: skip


@dataclass(frozen=True)
class Region:
    """One region of a label map.

    Args:
        name: what people read; at most 64 characters. It is stored in the file, so it must not identify the patient.
        code: what it is. None looks the name up in the table of `medframe.io.dicom.organ_codes`.
        category: what kind of thing that is; default "Anatomical Structure", or the table's.
        side: "left" or "right", of paired organs; None takes it from the name.
        colour: red, green, blue, each 0 to 255, for display; None picks one by the label.

    Raises:
        BadArgument: an invalid name or colour, or no code is given and the table does not know the name.

    Example:
        >>> Region("kidney_left").coded
        (Code(value='64033007', scheme='SCT', meaning='Kidney'), 'left')
        >>> Region("stent", Code("A-25500", "99MYSITE", "Vascular stent")).coded[1] is None
        True
    """

    name: str
    code: Code | None = None
    category: Code | None = None
    side: Side | None = None
    colour: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        name = self.name
        if not isinstance(name, str) or not 0 < len(name.strip()) <= _NAME or "\\" in name or not name.isprintable():
            due = f"1 to {_NAME} printable characters without a backslash"
            raise BadArgument("a region has an invalid name", where="name", found=repr(name)[:80], due=due)
        if self.side not in (None, "left", "right"):
            raise BadArgument("a region has no such side", where=name, found=self.side, due="left, right or None")
        if self.colour is not None and (len(self.colour) != 3 or not all(0 <= c <= 255 for c in self.colour)):
            raise BadArgument("a colour is red, green, blue", where=name, found=self.colour, due="three of 0 to 255")

    @property
    def coded(self) -> tuple[Code, Side | None]:
        """Its code and side."""
        if self.code is not None:
            return self.code, self.side
        code, _, side = self._known()
        return code, self.side or side

    @property
    def kind(self) -> Code:
        """Its category."""
        if self.category is not None:
            return self.category
        return ANATOMY if self.code is not None else self._known()[1]

    def shown_as(self, label: int) -> tuple[int, int, int]:
        """Its colour, where it has this label."""
        return self.colour or _COLOURS[(label - 1) % len(_COLOURS)]

    def _known(self) -> tuple[Code, Code, Side | None]:
        found = code_of(self.name)
        if found is None:
            near = difflib.get_close_matches(self.name.lower().replace("_", " "), known_names(), 3, 0.6)
            raise BadArgument(
                "no code is known for this name",
                where=self.name,
                found="a name that is not in the table of common organs",
                due="a name such as " + ", ".join(near or ("liver", "kidney_left", "tumor")),
                mend=f'Give its code: Region({self.name!r}, Code("...", "SCT", "...")) of medframe.io.dicom.',
            )
        return found


def regions_of(
    image: Image,
    given: Sequence[str | Region] | Mapping[int, str | Region] | None,
    present: Sequence[int],
    where: Path,
) -> dict[int, Region]:
    """The region of each label.

    Args:
        image: its `meta["labels"]` is taken where nothing is given.
        given: what the caller said: the regions of labels 1, 2, ... in turn, or of each label.
        present: the labels that occur, without 0.
        where: the file to be written, for messages.

    Raises:
        BadArgument: nothing is known of the labels, or a region is invalid.
        BadLabel: a label that occurs has no region, or is negative.
    """
    if given is None:
        given = _from_meta(image)
    if given is None:
        raise BadArgument(
            "the regions have no names",
            where=where,
            found=f"labels {_few(present)} and nothing on what they are",
            due="a name for each",
            mend='Say what the labels are: segments=["liver", "spleen"] for labels 1 and 2.',
        )
    if isinstance(given, str | Region):
        raise BadArgument("segments is a list", where=where, found=repr(given), due=f"segments=[{given!r}]")
    pairs = given.items() if isinstance(given, Mapping) else enumerate(given, 1)
    regions = {}
    for label, one in pairs:
        if isinstance(label, bool) or not isinstance(label, int) or not 0 < label <= 65535:
            raise BadArgument("a region's label is out of range", where=where, found=repr(label), due="1 to 65535")
        regions[label] = one if isinstance(one, Region) else Region(one)
    missing = [label for label in present if label not in regions]
    if missing:
        raise BadLabel(
            "a label has no region",
            where=where,
            found=f"label {_few(missing)}",
            due=f"labels {_few(sorted(regions))}",
            mend="Name all labels in segments=, or map the labels before.",
        )
    if not regions:
        raise BadArgument("there is no region to write", where=where, found="no names", due="at least one")
    return dict(sorted(regions.items()))


def _from_meta(image: Image) -> dict[int, str] | None:
    # "3": name of label 3; of several channels "2/1": name of channel 2
    known: Any = image.meta.get("labels")
    if not isinstance(known, Mapping):
        return None
    if image.channels > 1:
        parts = [(str(k).partition("/"), str(v)) for k, v in known.items()]
        return {int(c) + 1: v for (c, _, label), v in parts if c.isdigit() and label == "1"} or None
    return {int(k): str(v) for k, v in known.items() if str(k).isdigit() and int(k) > 0} or None


def _few(labels: Sequence[int]) -> str:
    return ", ".join(map(str, labels[:8])) + (", ..." if len(labels) > 8 else "") if labels else "none"
