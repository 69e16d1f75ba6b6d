"""The segments of a segmentation: number, name and codes; and which frame shows which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medframe.io.dicom.frame_planes import groups_of, inner
from medframe.io.dicom.header import bad_tag, code, sequence, whole
from medframe.io.dicom.named import shown_name

SEVERAL = 0  # no segment has this number: background, or frames that show several segments


@dataclass(frozen=True)
class Segment:
    """One segment.

    Args:
        number: 1 to 65535.
        name: SegmentLabel, as somebody typed it.
        about: number, name and codes, as plain values for `meta`.
    """

    number: int
    name: str
    about: dict[str, Any]


def segments_of(dataset: Any, path: Path) -> list[Segment]:
    """The segments that a file describes, by number; without a background.

    Raises:
        BadFile: there are none, or two have one number.
    """
    found: dict[int, Segment] = {}
    for item in sequence(dataset, "SegmentSequence", path):
        number = whole(item, "SegmentNumber", path, least=0)
        if number in found:
            raise bad_tag(path, "SegmentNumber", f"{number} twice", "once for each segment")
        if number == SEVERAL:  # label map objects may describe their background
            continue
        name = shown_name(item, "SegmentLabel", f"Segment {number}")
        about: dict[str, Any] = {"number": number, "name": name}
        for key, keyword in (
            ("type", "SegmentedPropertyTypeCodeSequence"),
            ("category", "SegmentedPropertyCategoryCodeSequence"),
        ):
            coded = sequence(item, keyword, path)[:1]
            about[key] = _coded(coded[0]) if coded else None
            if key == "type" and coded:
                sides = sequence(coded[0], "SegmentedPropertyTypeModifierCodeSequence", path)
                about["modifiers"] = tuple(_coded(side) for side in sides)
        about["algorithm_type"] = code(item, "SegmentAlgorithmType")
        found[number] = Segment(number, name, about)
    if not found:
        raise bad_tag(path, "SegmentSequence", "no segment", "at least one")
    return [found[number] for number in sorted(found)]


def _coded(item: Any) -> dict[str, str]:
    keywords = {"value": "CodeValue", "scheme": "CodingSchemeDesignator", "meaning": "CodeMeaning"}
    return {key: shown_name(item, keyword, "") for key, keyword in keywords.items()}


def segment_of_frames(dataset: Any, path: Path, way: str, found: Sequence[Segment]) -> tuple[int, ...]:
    """The number of the segment that each frame shows; 0 for each where a frame shows several.

    Raises:
        BadFile: a frame does not say, or names a segment that is not described.
    """
    groups = groups_of(dataset, path)
    if way == "LABELMAP":
        return (SEVERAL,) * len(groups)
    known = {s.number for s in found}
    numbers = []
    for group in groups:
        number = whole(inner(group, "SegmentIdentificationSequence", path), "ReferencedSegmentNumber", path)
        if number not in known:
            raise bad_tag(path, "ReferencedSegmentNumber", number, f"a number of the {len(known)} segments described")
        numbers.append(number)
    return tuple(numbers)
