"""The regions of interest of a structure set, parsed: numbers, names and closed contours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medframe.io.dicom.header import bad_tag, code, sequence, uid, whole
from medframe.io.dicom.named import shown_name

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclass(frozen=True, eq=False)
class Drawn:
    """One region of interest.

    Args:
        number: ROINumber.
        name: ROIName, as somebody typed it.
        frame: UID of its frame of reference, or empty.
        contours: closed ones, as world places (N, 3), RAS+.
    """

    number: int
    name: str
    frame: str
    contours: tuple[NDArray[np.float64], ...]


def drawn_regions(dataset: Any, path: Path, notes: list[str]) -> list[Drawn]:
    """The regions of a file that have closed contours, or none at all.

    Args:
        dataset: its header.
        path: of the file.
        notes: gets what was passed over.

    Raises:
        BadFile: there are none, two have one number, or a contour is damaged.
    """
    items: dict[int, Any] = {}
    for item in sequence(dataset, "ROIContourSequence", path):
        number = whole(item, "ReferencedROINumber", path)
        if number in items:
            raise bad_tag(path, "ReferencedROINumber", f"{number} twice", "once for each region")
        items[number] = item
    found: dict[int, Drawn] = {}
    for item in sequence(dataset, "StructureSetROISequence", path):
        number = whole(item, "ROINumber", path)
        if number in found:
            raise bad_tag(path, "ROINumber", f"{number} twice", "once for each region")
        name = shown_name(item, "ROIName", f"ROI {number}")
        frame = uid(item, "ReferencedFrameOfReferenceUID", path, "")
        contours: list[NDArray[np.float64]] = []
        others = 0
        for contour in sequence(items[number], "ContourSequence", path) if number in items else ():
            if code(contour, "ContourGeometricType") in _CLOSED:
                contours.append(_points(contour, name, path))
            else:
                others += 1
        if others:
            notes.append(f"{name}: {others} contours that enclose no area were passed over")
        if others and not contours:
            continue
        found[number] = Drawn(number, name, frame, tuple(contours))
    if not found:
        raise bad_tag(path, "StructureSetROISequence", "no region with closed contours", "at least one")
    return list(found.values())


def _points(contour: Any, name: str, path: Path) -> NDArray[np.float64]:
    # a file holds millions of these numbers, so they are parsed at once and not one by one
    item = contour.get_item("ContourData") if "ContourData" in contour else None
    raw = b"" if item is None or item.value is None else item.value
    if isinstance(raw, bytes):
        parts: Sequence[Any] = raw.rstrip(b" \0").split(b"\\")
    else:
        parts = raw.split("\\") if isinstance(raw, str) else [str(value) for value in raw]
    try:
        numbers = np.array(parts).astype(np.float64)
    except ValueError:
        raise bad_tag(path, "ContourData", f"no numbers, in region {name}", "numbers") from None
    claimed = whole(contour, "NumberOfContourPoints", path, len(numbers) // 3)
    if len(numbers) != 3 * claimed or not len(numbers):
        found = f"{len(numbers)} numbers for {claimed} points, in region {name}"
        raise bad_tag(path, "ContourData", found, "x, y and z of each point")
    if not np.isfinite(numbers).all():
        raise bad_tag(path, "ContourData", f"NaN or infinity, in region {name}", "finite numbers")
    return numbers.reshape(-1, 3) * (-1.0, -1.0, 1.0)
