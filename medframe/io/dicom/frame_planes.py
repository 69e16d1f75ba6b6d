"""Where each frame of an object with several frames lies, as its functional groups say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medframe.base.errors import BadFile, shown_path
from medframe.io.dicom.header import bad_tag, frame_count, has, number, sequence, vector, whole
from medframe.io.dicom.lattice import Plane

_MOST = 1 << 20  # frames; a header that claims more is damaged


def planes_of(dataset: Any, path: Path) -> list[Plane]:
    """The plane of each frame, in the order of the file; of a file with one frame as its own header says.

    Raises:
        BadFile: a frame has no position, direction or spacing, or there are fewer groups than frames.
        BadGeometry: a plane is invalid.
    """
    size = whole(dataset, "Rows", path, least=1), whole(dataset, "Columns", path, least=1)
    if not has(dataset, "PerFrameFunctionalGroupsSequence"):
        if frame_count(dataset, path) > 1:
            raise bad_tag(path, "PerFrameFunctionalGroupsSequence", "nothing", "a group for each frame")
        return [_plane((dataset,) * 3, size, path, shown_path(path))]
    planes = []
    for count, frame in enumerate(groups_of(dataset, path), 1):
        holders = (
            inner(frame, "PlanePositionSequence", path),
            inner(frame, "PlaneOrientationSequence", path),
            inner(frame, "PixelMeasuresSequence", path),
        )
        planes.append(_plane(holders, size, path, f"{shown_path(path)}, frame {count}"))
    return planes


def groups_of(dataset: Any, path: Path) -> list[tuple[Any, ...]]:
    """For each frame where its facts may stand: its own group, then the one that all share.

    Raises:
        BadFile: there are not as many groups as frames.
    """
    frames = sequence(dataset, "PerFrameFunctionalGroupsSequence", path)
    count = frame_count(dataset, path)
    if len(frames) != count or count > _MOST:
        found = f"{len(frames)} groups for {count} frames"
        raise bad_tag(path, "PerFrameFunctionalGroupsSequence", found, "a group for each frame")
    shared = sequence(dataset, "SharedFunctionalGroupsSequence", path)[:1]
    return [(frame, *shared) for frame in frames]


def inner(groups: tuple[Any, ...], keyword: str, path: Path, *, needed: bool = True) -> Any:
    """The one item of a functional group, of the frame or shared by all; None where it is absent and not needed.

    Raises:
        BadFile: it is absent and needed.
    """
    for group in groups:
        items = sequence(group, keyword, path)
        if items:
            return items[0]
    if not needed:
        return None
    raise bad_tag(path, keyword, "nothing", "where each frame lies", "an element is missing")


def thickness_of(dataset: Any, path: Path) -> float | None:
    """Millimetres between slices, as the header says: SpacingBetweenSlices, else SliceThickness."""
    places = [dataset]
    if has(dataset, "PerFrameFunctionalGroupsSequence"):
        places = [inner(groups_of(dataset, path)[0], "PixelMeasuresSequence", path, needed=False)]
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        for place in places:
            try:
                found = abs(number(place, keyword, path, 0.0)) if place is not None else 0.0
            except BadFile:
                found = 0.0
            if found > 0:
                return found
    return None


def _plane(holders: tuple[Any, Any, Any], size: tuple[int, int], path: Path, where: str) -> Plane:
    # the holders of position, direction and spacing; rows and columns
    position, direction, measures = holders
    x, y, z = vector(position, "ImagePositionPatient", path, 3)
    a, b, c, d, e, f = vector(direction, "ImageOrientationPatient", path, 6)
    between_rows, between_columns = vector(measures, "PixelSpacing", path, 2)
    return Plane((x, y, z), (a, b, c, d, e, f), (between_rows, between_columns), *size, where)
