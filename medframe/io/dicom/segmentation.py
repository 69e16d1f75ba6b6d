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
from medframe.io.dicom.frame_planes import planes_of, thickness_of
from medframe.io.dicom.header import bad_tag, code, read_header, uid, whole
from medframe.io.dicom.named import chosen
from medframe.io.dicom.overlap import Mask, Overlap, channels_of, check_overlap, stacked
from medframe.io.dicom.placing import Placing, place, smallest_lattice
from medframe.io.dicom.reference import Reference, lattice_of
from medframe.io.dicom.segment_frames import FrameFacts, frame_facts, frames_of
from medframe.io.dicom.segments import segment_of_frames, segments_of
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
    found = segments_of(dataset, path)
    picked = chosen(found, segments, "segments", path)
    facts = frame_facts(dataset, path, way)
    numbers = segment_of_frames(dataset, path, way, found)
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
    values = tuple(range(1, len(picked) + 1)) if segments is not None else tuple(s.number for s in picked)
    columns, rows, slices = space.shape
    shape = (len(picked) if many else 1, columns, rows, slices)
    fractions = way == "FRACTIONAL" and not labels
    dtype = "f4" if fractions else "u1" if many or max(values) < 256 else "u2"
    check_size(shape, np.dtype(dtype).itemsize, where=path)
    names = tuple(s.name for s in picked)
    plan = _Plan(
        way,
        facts,
        placing,
        numbers,
        {s.number: k for k, s in enumerate(picked)},
        frozenset(s.number for s in found),
        (1,) * len(picked) if many else values,
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
        "segments": tuple(s.about for s in picked),
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
