"""DICOM segmentations (SEG) as label maps: frames are placed by position, segments become labels or channels.

Source: DICOM PS3.3, A.51 and A.86 (Segmentation and Label Map Segmentation IODs), C.8.20.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadGeometry, BadLabel, shown_path
from medframe.base.sizes import check_size
from medframe.image import Image, LabelMap
from medframe.io.dicom.frame_planes import groups_of, inner, planes_of, thickness_of
from medframe.io.dicom.header import bad_tag, code, read_header, sequence, uid, whole
from medframe.io.dicom.overlap import Mask, Overlap, channels_of, check_overlap, shown_name, stacked
from medframe.io.dicom.placing import Placing, place, smallest_lattice
from medframe.io.dicom.reference import Reference, lattice_of
from medframe.io.dicom.segment_frames import FrameFacts, frame_facts, frames_of
from medframe.io.raw import Whole
from medframe.io.reading import stamp_of
from medframe.io.stored import Block, Stored

__all__ = ["read"]

_TAGS = (
    "SOPClassUID",
    "SpecificCharacterSet",
    "FrameOfReferenceUID",
    "SegmentationType",
    "SegmentSequence",
    "MaximumFractionalValue",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
_TYPES = ("BINARY", "FRACTIONAL", "LABELMAP")
_NO_SEGMENT = 0


@dataclass(frozen=True)
class _Segment:
    # one segment of the file
    number: int
    name: str
    about: dict[str, Any]


def read(
    path: Path,
    kind: type[Image],
    *,
    reference: Reference | None = None,
    segments: Sequence[str | int] | None = None,
    overlap: Overlap = "error",
    threshold: float | None = None,
    clip: bool = False,
    classes: int | None = None,
) -> Image:
    """Read a segmentation as a label map, or as an image with a channel for each segment.

    As an Image, segments are channels: probabilities 0 to 1 (float32) of a FRACTIONAL segmentation, else zeros and
    ones. As a LabelMap, a segment's label is its number, or its place in `segments`.

    `meta["labels"]` holds the name of each label and `meta["segments"]` its codes. Names are text somebody typed, kept
    since they say what the label is; no other text of the file is.

    Args:
        path: of the file.
        kind: Image or LabelMap.
        reference: the lattice to read onto: an image, a space, or the path of an image or of a folder with the source
            series. Default: the smallest lattice that holds all frames; slices without a frame are empty.
        segments: names or numbers of the segments to read; they become labels 1, 2, ... (or channels) in this order.
        overlap: of a label map: "error", or "channels" for zeros and ones with a channel for each segment.
        threshold: of a label map from a FRACTIONAL segmentation: a voxel belongs to a segment from this value on.
        clip: cut off what lies beyond the reference, instead of raising.
        classes: labels must be 0 .. classes - 1.

    Raises:
        BadFile: the file is damaged, or two frames of a segment lie in one place.
        BadGeometry: the frames are no even stack, or do not lie on the reference.
        BadLabel: segments overlap (when the voxels are read), one asked for is not there, or fractions are read as
            labels without a threshold.
        BadArgument: an option is out of its domain.
        TooLarge: the lattice passes the image limit, or the file holds fewer pixels than it claims.
    """
    check_overlap(overlap, path)
    labels = issubclass(kind, LabelMap)
    stamp = stamp_of(path)
    dataset = read_header(path, tags=_TAGS)
    way = code(dataset, "SegmentationType")
    if way not in _TYPES:
        raise bad_tag(path, "SegmentationType", repr(way), ", ".join(_TYPES))
    _check_options(way, labels, threshold, path)
    found = _segments(dataset, path)
    chosen = _chosen(found, segments, path)
    facts = frame_facts(dataset, path, way)
    numbers = _frame_segments(dataset, path, way, found)
    planes = planes_of(dataset, path)
    notes: list[str] = []
    if reference is None:
        space, empty = smallest_lattice(planes, thickness_of(dataset, path), path)
        if empty:
            notes.append(f"{empty} slices between the frames have none and are empty")
    else:
        space, frame = lattice_of(reference, path)
        if frame and uid(dataset, "FrameOfReferenceUID", path, frame) != frame:
            raise _other_frame(path)
    placing = place(planes, space, path, clip=clip)
    _check_distinct(numbers, placing, path)
    many = overlap == "channels" or not labels
    values = tuple(range(1, len(chosen) + 1)) if segments is not None else tuple(s.number for s in chosen)
    columns, rows, slices = space.shape
    shape = (len(chosen) if many else 1, columns, rows, slices)
    fractions = way == "FRACTIONAL" and not labels
    dtype = "f4" if fractions else "u1" if many or max(values) < 256 else "u2"
    check_size(shape, np.dtype(dtype).itemsize, where=path)
    names = tuple(s.name for s in chosen)
    plan = _Plan(
        way,
        facts,
        placing,
        numbers,
        {s.number: k for k, s in enumerate(chosen)},
        frozenset(s.number for s in found),
        (1,) * len(chosen) if many else values,
        names,
        threshold,
        whole(dataset, "MaximumFractionalValue", path, 1, least=1),
    )
    decoder = partial(_fractions if fractions else _labels, plan=plan, shape=shape, dtype=dtype)
    meta = {
        "file": shown_path(path),
        "format": "DICOM SEG",
        "dtype": np.dtype(dtype).name,
        "labels": channels_of(names) if many else {str(v): n for v, n in zip(values, names, strict=True)},
        "segments": tuple(s.about for s in chosen),
        "notes": tuple(notes),
    }
    stored = Stored(dtype, shape, labels=labels, classes=classes if labels else None, c_order=True)
    return kind(Whole(path, stored, stamp, decoder), space=space, meta=meta)


@dataclass(frozen=True, eq=False)
class _Plan:
    # what decoding needs, picklable
    way: str
    facts: FrameFacts
    placing: Placing
    numbers: tuple[int, ...]  # of the segment that each frame shows; 0 where a frame shows several
    chosen: dict[int, int]  # segment number -> its place among those read
    known: frozenset[int]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    threshold: float | None
    most: int  # what stands for 1 in a FRACTIONAL segmentation


def _check_options(way: str, labels: bool, threshold: float | None, path: Path) -> None:
    if threshold is not None and (way != "FRACTIONAL" or not labels or not 0 < threshold <= 1):
        due = "a number in (0, 1], for a label map from a FRACTIONAL segmentation"
        raise BadArgument("the threshold is out of place", where=path, found=f"{threshold!r}, {way}", due=due)
    if way == "FRACTIONAL" and labels and threshold is None:
        raise BadLabel(
            "the segmentation holds fractions, and labels are whole",
            where=path,
            found="FRACTIONAL",
            due="a threshold",
            mend="Read it as an Image for the fractions, or with threshold=0.5 for labels.",
        )


def _segments(dataset: Any, path: Path) -> list[_Segment]:
    found: dict[int, _Segment] = {}
    for item in sequence(dataset, "SegmentSequence", path):
        number = whole(item, "SegmentNumber", path, least=0)
        if number in found:
            raise bad_tag(path, "SegmentNumber", f"{number} twice", "once for each segment")
        if number == _NO_SEGMENT:  # label map objects may describe their background
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
        found[number] = _Segment(number, name, about)
    if not found:
        raise bad_tag(path, "SegmentSequence", "no segment", "at least one")
    return [found[number] for number in sorted(found)]


def _coded(item: Any) -> dict[str, str]:
    keywords = {"value": "CodeValue", "scheme": "CodingSchemeDesignator", "meaning": "CodeMeaning"}
    return {key: shown_name(item, keyword, "") for key, keyword in keywords.items()}


def _chosen(found: list[_Segment], wanted: Sequence[str | int] | None, path: Path) -> list[_Segment]:
    if wanted is None:
        return found
    if isinstance(wanted, str | int) or not wanted:
        raise BadArgument("segments is a list", where=path, found=repr(wanted), due='such as segments=["Liver"]')
    out: list[_Segment] = []
    for one in wanted:
        fitting = [s for s in found if (s.number if isinstance(one, int) else s.name) == one]
        if len(fitting) != 1:
            listed = "; ".join(f"{s.number}: {s.name}" for s in found[:12]) + ("; ..." if len(found) > 12 else "")
            raise BadLabel(
                "several segments have this name" if fitting else "no such segment",
                where=path,
                found=repr(one),
                due=listed,
                mend="Name a segment as the file does, or give its number.",
            )
        if fitting[0] in out:
            raise BadArgument("a segment is asked for twice", where=path, found=repr(one), due="each once")
        out += fitting
    return out


def _frame_segments(dataset: Any, path: Path, way: str, found: list[_Segment]) -> tuple[int, ...]:
    groups = groups_of(dataset, path)
    if way == "LABELMAP":
        return (_NO_SEGMENT,) * len(groups)
    known = {s.number for s in found}
    numbers = []
    for group in groups:
        number = whole(inner(group, "SegmentIdentificationSequence", path), "ReferencedSegmentNumber", path)
        if number not in known:
            raise bad_tag(path, "ReferencedSegmentNumber", number, f"a number of the {len(known)} segments described")
        numbers.append(number)
    return tuple(numbers)


def _check_distinct(numbers: tuple[int, ...], placing: Placing, path: Path) -> None:
    seen: dict[tuple[int, ...], int] = {}
    for frame, (number, start) in enumerate(zip(numbers, placing.starts.tolist(), strict=True), 1):
        first = seen.setdefault((number, *start), frame)
        if first != frame:
            found = f"frames {first} and {frame}" + (f" of segment {number}" if number else "")
            raise bad_tag(path, "ImagePositionPatient", found, "one frame a place", "two frames lie in one place")


def _labels(path: Path, *, plan: _Plan, shape: tuple[int, ...], dtype: str) -> Block:
    return stacked(_masks(path, plan), plan.labels, plan.names, shape=shape, dtype=dtype, where=path)


def _masks(path: Path, plan: _Plan) -> Iterator[Mask]:
    for frame, (number, pixels) in enumerate(zip(plan.numbers, frames_of(path, plan.facts), strict=True)):
        if number and number not in plan.chosen:
            continue
        if not plan.placing.inside(frame):
            continue
        where, part = plan.placing.put(frame, pixels)
        if plan.way == "FRACTIONAL":
            assert plan.threshold is not None
            yield plan.chosen[number], where, part >= plan.threshold * plan.most
        elif number:
            yield plan.chosen[number], where, part != 0
        else:
            for label in np.unique(part).tolist():
                if label and label not in plan.known:
                    raise BadLabel(
                        "a voxel belongs to a segment that is not described",
                        where=path,
                        found=f"segment {label} in frame {frame + 1}",
                        due="segments " + ", ".join(map(str, sorted(plan.known)[:12])),
                        mend="The file was written wrongly; export it again from its source.",
                    )
                if label in plan.chosen:
                    yield plan.chosen[label], where, part == label


def _fractions(path: Path, *, plan: _Plan, shape: tuple[int, ...], dtype: str) -> Block:
    out: NDArray[Any] = np.zeros(shape, dtype)
    for frame, (number, pixels) in enumerate(zip(plan.numbers, frames_of(path, plan.facts), strict=True)):
        if number in plan.chosen and plan.placing.inside(frame):
            where, part = plan.placing.put(frame, pixels)
            if part.size and int(part.max()) > plan.most:
                raise bad_tag(path, "MaximumFractionalValue", f"a voxel of {int(part.max())}", f"at most {plan.most}")
            out[(plan.chosen[number], *where)] = part / plan.most
    return out


def _other_frame(path: Path) -> BadGeometry:
    return BadGeometry(
        "the segmentation and the reference have different frames of reference",
        where=path,
        found="another FrameOfReferenceUID",
        due="one frame of reference",
        mend="Give the series that was segmented as the reference.",
    )
