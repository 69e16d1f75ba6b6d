"""Which files make one series, and which frames of a series make one volume: never by name, never by guess."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medframe.base.errors import BadFile, BadGeometry
from medframe.io.dicom.file import DicomFile
from medframe.io.dicom.frames import KEYS, SEGMENTATIONS, Frame
from medframe.io.dicom.header import code, has, text, whole
from medframe.io.dicom.lattice import alike, check_alike, check_distinct, names, same_depth
from medframe.io.dicom.pixels import PixelReader

DUPLICATES = ("error", "drop_identical")
MIXED = ("error", "largest")
TAIL = 12  # characters of a UID that are shown: enough to choose by, and no identity without the rest
INSTANCE = "InstanceNumber"

_TEMPORAL = ("TemporalPositionIdentifier", "TemporalPositionIndex")
_SHOWN = 8


def short(uid: str) -> str:
    """The end of a UID, which tells the series of one folder apart."""
    return f"...{uid[-TAIL:]}" if len(uid) > TAIL else uid


def is_image(opened: DicomFile) -> bool:
    """Whether a file claims to hold an image: reports, structures, segmentations and presentation states do not."""
    if text(opened.dataset, "SOPClassUID", opened.path, "") in SEGMENTATIONS:
        return False  # often lie beside the series they belong to
    return has(opened.dataset, "Rows") or opened.pixels is not None or code(opened.dataset, "Modality") in _IMAGING


def is_segmentation(opened: DicomFile) -> bool:
    """Whether a file is a segmentation object: frames of labels that refer to the images beside it."""
    return text(opened.dataset, "SOPClassUID", opened.path, "") in SEGMENTATIONS


_IMAGING = {"CT", "MR", "PT", "NM", "CR", "DX", "MG", "US", "XA", "RF"}


def series_of(files: Sequence[DicomFile], chosen: str | int | None, folder: Path) -> list[DicomFile]:
    """The files of one series.

    Args:
        files: images all.
        chosen: the series' UID, the end of it as messages show it, or its SeriesNumber; None where there is but one.
        folder: for messages.

    Raises:
        BadFile: there are several and none is chosen, or the choice names none or several.
    """
    series: dict[str, list[DicomFile]] = {}
    for opened in files:
        series.setdefault(text(opened.dataset, "SeriesInstanceUID", opened.path, ""), []).append(opened)
    fitting = dict(series)
    if chosen is not None:
        asked = str(chosen).removeprefix("...")
        fitting = {k: v for k, v in series.items() if k == asked} or {
            k: v for k, v in series.items() if len(asked) >= 4 and k.endswith(asked)
        }
        fitting = fitting or {k: v for k, v in series.items() if asked.isdigit() and _number(v[0]) == int(asked)}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    told = "; ".join(_told(uid, members) for uid, members in itertools.islice((fitting or series).items(), _SHOWN))
    rest = f"; {len(fitting or series) - _SHOWN} more" if len(fitting or series) > _SHOWN else ""
    what = "the folder holds several series" if fitting else "the folder holds no such series"
    if chosen is not None and fitting:
        what = "several series answer to this choice"
    first = next(iter(fitting or series))
    raise BadFile(
        what,
        where=folder,
        found=told + rest,
        due="one series",
        mend=f"Choose one by UID, the end of its UID or its number: series={short(first)!r}.",
    )


def _told(uid: str, members: Sequence[DicomFile]) -> str:
    dataset = members[0].dataset
    number = _number(members[0])
    size = f"{_size(dataset, 'Rows')} x {_size(dataset, 'Columns')}"
    label = f"series {number} " if number is not None else "a series "
    count = f"{len(members)} file{'s' if len(members) > 1 else ''}"
    return f"{label}{short(uid)} ({code(dataset, 'Modality') or 'no modality'}, {count} of {size})"


def _number(opened: DicomFile) -> int | None:
    try:
        return whole(opened.dataset, "SeriesNumber", opened.path)
    except BadFile:
        return None


def _size(dataset: object, keyword: str) -> str:
    try:
        return str(whole(dataset, keyword, ""))
    except BadFile:
        return "?"


@dataclass(frozen=True)
class Volumes:
    """The frames of a series, volume by volume, sorted along the normal.

    Args:
        frames: volumes of equally many frames at equal positions.
        by: which element tells the volumes apart; empty where there is one.
        values: its value for each volume, where it is a number.
        notes: what was left out or assumed.
    """

    frames: tuple[tuple[Frame, ...], ...]
    by: str = ""
    values: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def volumes_of(
    frames: Sequence[Frame],
    *,
    by: str | None = None,
    duplicates: str = "error",
    mixed: str = "error",
) -> Volumes:
    """Sort the frames of one series into volumes.

    Frames of several sizes, spacings or directions are an error. Where each position along the normal holds one frame,
    there is one volume. Where each holds n, an element of `KEYS` must say which frame belongs to which volume: its n
    values, or those of two elements together, must each occur once at every position. Where a file declares n time
    positions but numbers its images alone, their numbers must run through whole volumes.

    Args:
        frames: in any order.
        by: the element that tells the volumes apart, where several could or none is trusted alone.
        duplicates: "drop_identical" leaves out frames whose place and pixels equal those of another.
        mixed: "largest" reads the largest group of frames of one kind and leaves out the others (localizers).

    Raises:
        BadGeometry: frames are mixed, doubled, or do not fill whole volumes.
    """
    notes = []
    planes = [frame.plane for frame in frames]
    groups = alike(planes)
    if mixed == "largest" and len(groups) > 1:
        left = [planes[k] for group in groups[1:] for k in group]
        notes.append(f"{names(left)} of another kind were left out")
        frames = [frames[k] for k in sorted(groups[0])]
    else:
        check_alike(planes)
    places = _places(frames)
    if duplicates == "drop_identical":
        kept = [_without_copies(place) for place in places]
        gone = len(frames) - sum(map(len, kept))
        if gone:
            notes.append(f"{gone} identical cop{'ies were' if gone > 1 else 'y was'} left out")
        places = kept
    most = max(map(len, places))
    if most == 1:
        return Volumes((tuple(place[0] for place in places),), notes=tuple(notes))
    if min(map(len, places)) != most:
        raise _unequal(places, most)
    if by is not None:
        found = _split(places, (by,)) or (_ranks(places) if by == INSTANCE else None)
        if found is None:
            raise _ambiguous(places, f"{by} does not occur with {most} values, each once at every position")
        return Volumes(found, by, _numbers(found, by), tuple(notes))
    for keys in _candidates(places):
        found = _split(places, keys)
        if found is not None:
            return Volumes(found, " and ".join(keys), _numbers(found, keys[0]) if len(keys) == 1 else (), tuple(notes))
    if all(frame.temporal == most for place in places for frame in place):
        found = _ranks(places)
        if found is not None:
            notes.append(
                f"{most} volumes were told apart by InstanceNumber, as NumberOfTemporalPositions declares them"
            )
            return Volumes(found, INSTANCE, (), tuple(notes))
    raise _ambiguous(places, "no element tells the volumes apart")


def _places(frames: Sequence[Frame]) -> list[list[Frame]]:
    # frames by position along the normal
    normal = frames[0].plane.axes[2]
    depth = np.array([frame.plane.position for frame in frames]) @ normal
    order = np.argsort(depth, kind="stable")
    places = [[frames[order[0]]]]
    for same, k in zip(same_depth(depth[order]), order[1:], strict=True):
        if same:
            places[-1].append(frames[k])
        else:
            places.append([frames[k]])
    return places


def _without_copies(place: list[Frame]) -> list[Frame]:
    kept: list[Frame] = []
    for frame in place:
        if not any(_identical(frame, other) for other in kept):
            kept.append(frame)
    return kept


def _identical(one: Frame, other: Frame) -> bool:
    alike = one.stored.encoding == other.stored.encoding and dict(one.keys) == dict(other.keys)
    same_place = np.allclose(one.plane.position, other.plane.position, rtol=0, atol=1e-3)
    meaning = [(f.rescale.slope, f.rescale.inter, f.rescale.lut is None) for f in (one, other)]
    one_image = one.identity == other.identity or one.instance == other.instance
    if not (alike and same_place and one_image and meaning[0] == meaning[1]):
        return False
    rows = slice(0, one.plane.rows)
    return bool(np.array_equal(PixelReader().read(one, rows), PixelReader().read(other, rows)))


def _candidates(places: list[list[Frame]]) -> list[tuple[str, ...]]:
    # elements that vary within a position and are there for every frame, alone and in pairs
    frames = [frame for place in places for frame in place]
    there = [k for k in KEYS if all(k in f.keys for f in frames)]
    for keyword in _TEMPORAL:
        count = sum(keyword in frame.keys for frame in frames)
        if 0 < count < len(frames):
            raise _ambiguous(places, f"{keyword} stands in {count} of {len(frames)} images")
    vary = [k for k in there if len({f.keys[k] for f in places[0]}) > 1]
    return [(k,) for k in vary] + list(itertools.combinations(vary, 2))


def _split(places: list[list[Frame]], keys: tuple[str, ...]) -> tuple[tuple[Frame, ...], ...] | None:
    # one volume for each value, if each value occurs once at every position
    def value(frame: Frame) -> tuple[float | str, ...] | None:
        if keys == (INSTANCE,):
            return (frame.instance,)
        return tuple(frame.keys[k] for k in keys) if all(k in frame.keys for k in keys) else None

    due = {value(frame) for frame in places[0]}
    if None in due or len(due) != len(places[0]):
        return None
    if any({value(frame) for frame in place} != due for place in places):
        return None
    sorted_places = [sorted(place, key=lambda f: value(f) or ()) for place in places]
    return tuple(zip(*sorted_places, strict=True))


def _ranks(places: list[list[Frame]]) -> tuple[tuple[Frame, ...], ...] | None:
    # by number of image: either whole volumes after each other, or all volumes of a position after each other
    numbered = [sorted(place, key=lambda f: f.instance) for place in places]
    numbers = np.array([[f.instance for f in place] for place in numbered])
    if len(np.unique(numbers)) != numbers.size:
        return None
    volume_wise = bool((numbers[:, :-1].max(axis=0) < numbers[:, 1:].min(axis=0)).all())
    span = np.sort(numbers.min(axis=1))[1:] > np.sort(numbers.max(axis=1))[:-1]
    if not (volume_wise or bool(span.all())):
        return None
    return tuple(zip(*numbered, strict=True))


def _numbers(volumes: tuple[tuple[Frame, ...], ...], key: str) -> tuple[float, ...]:
    found = [volume[0].keys.get(key) for volume in volumes]
    return tuple(v for v in found if isinstance(v, float)) if all(isinstance(v, float) for v in found) else ()


def _unequal(places: list[list[Frame]], most: int) -> BadGeometry:
    if most == 2 and sum(len(place) > 1 for place in places) <= len(places) // 2:
        ordered = [frame.plane for place in places for frame in place]
        depth = np.array([plane.position for plane in ordered]) @ ordered[0].axes[2]
        check_distinct(ordered, depth)
    few = [place[0].plane for place in places if len(place) < most]
    return BadGeometry(
        "the positions of a series do not hold equally many images",
        where=few[0].where,
        found=f"fewer than {most} at {len(few)} of {len(places)} positions, such as {names(few)}",
        due=f"{most} at each position, for {most} volumes",
        mend="Copy the missing files, or take out those of incomplete volumes.",
    )


def _ambiguous(places: list[list[Frame]], reason: str) -> BadGeometry:
    first = [frame.plane for frame in places[0]]
    return BadGeometry(
        "several images lie at each position, and which volume they belong to is not said",
        where=first[1].where,
        found=f"{len(first)} at each of {len(places)} positions, such as {names(first)}; {reason}",
        due=f"an element with {len(first)} values, each once at every position",
        mend="Name the element that tells them apart, such as by='AcquisitionNumber', or separate the files.",
    )
