"""RTSTRUCT objects: the closed contours of a planning system become labels on a lattice that the caller names.

Source: DICOM PS3.3, C.8.8.5 (structure set) and C.8.8.6 (ROI contour); contours of one plane are combined by exclusive
disjunction, of which the keyhole is a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medframe.base.errors import BadArgument, BadGeometry, shown_path
from medframe.base.sizes import check_size
from medframe.image import Image, LabelMap
from medframe.io.dicom.contour_fill import fill
from medframe.io.dicom.contour_places import ContourPlaces, Slices
from medframe.io.dicom.drawn_regions import Drawn, drawn_regions
from medframe.io.dicom.header import read_header
from medframe.io.dicom.named import chosen
from medframe.io.dicom.overlap import Overlap, channels_of, check_overlap, stacked
from medframe.io.dicom.reference import Reference, lattice_of
from medframe.io.raw import Whole
from medframe.io.reading import stamp_of
from medframe.io.stored import Block, Stored

__all__ = ["read"]

_TAGS = (
    "SOPClassUID",
    "SpecificCharacterSet",
    "StructureSetROISequence",
    "ROIContourSequence",
)


def read(
    path: Path,
    kind: type[Image],
    *,
    reference: Reference | None = None,
    rois: Sequence[str | int] | None = None,
    overlap: Overlap = "error",
    tolerance: float = 0.1,
    clip: bool = False,
    classes: int | None = None,
) -> Image:
    """Read the contours of an RTSTRUCT object as a label map.

    A voxel belongs to a region if its centre lies within, by the even-odd rule over all contours of the region in that
    slice: a contour inside another is a hole, and so is what a keyhole encloses. See `fill` for centres on an edge.

    A region's label is its ROI number, or its place in `rois`. `meta["labels"]` holds the name of each label: that is
    text somebody typed, kept since it says what the label is, and nothing else of the file is.

    Contours that are no areas (points, open lines) are passed over, with a note in `meta`. Slices between contours
    stay empty; where a region leaves them out evenly, as a coarser drawing does, a warning says so.

    Args:
        path: of the file.
        kind: LabelMap.
        reference: the lattice: an image, a space, or the path of an image or of a folder with the source series. With
            a DICOM folder the frame of reference is checked, too.
        rois: names or numbers of the regions to read; they become labels 1, 2, ... in this order.
        overlap: "error", or "channels" for a label map of zeros and ones with a channel for each region.
        tolerance: how far from a slice a contour may lie, in distances between slices; 0.5 takes the nearest slice.
        clip: cut off what lies beyond the lattice, instead of raising.
        classes: labels must be 0 .. classes - 1.

    Raises:
        BadFile: the file is damaged.
        BadGeometry: contours lie between the slices, in other planes, beyond the lattice, or in another frame of
            reference.
        BadLabel: regions overlap (when the voxels are read), or one that was asked for is not there.
        BadArgument: an option is out of its domain.
    """
    if not issubclass(kind, LabelMap):
        raise BadArgument(
            "contours are read as labels", where=path, found=kind.__name__, due="read(path, LabelMap, reference=...)"
        )
    if reference is None:
        raise BadArgument(
            "contours do not say where voxels are",
            where=path,
            found="no reference",
            due="reference=, an image or the folder of the series they were drawn on",
            mend='Such as read(path, LabelMap, reference="ct/").',
        )
    if not 0 <= tolerance <= 0.5:
        raise BadArgument("the tolerance is a part of the distance between slices", found=tolerance, due="0 to 0.5")
    check_overlap(overlap, path)
    stamp = stamp_of(path)
    dataset = read_header(path, tags=_TAGS)
    notes: list[str] = []
    regions = chosen(drawn_regions(dataset, path, notes), rois, "rois", path)
    space, frame = lattice_of(reference, path)
    _check_frame(regions, frame, path)
    labels = _labels(regions, renumber=rois is not None, notes=notes)
    placed = ContourPlaces(space, tolerance, clip, path, notes).place(regions)
    many = overlap == "channels"
    columns, rows, slices = space.shape
    shape = (len(regions) if many else 1, columns, rows, slices)
    dtype = "u1" if many or max(labels) < 256 else "u2"
    check_size(shape, np.dtype(dtype).itemsize, where=path)
    names = tuple(region.name for region in regions)
    values = (1,) * len(names) if many else labels
    decoder = partial(_voxels, placed=placed, labels=values, names=names, shape=shape, dtype=dtype)
    stored = Stored(dtype, shape, labels=True, classes=classes, c_order=True)
    meta = {
        "file": shown_path(path),
        "format": "DICOM RTSTRUCT",
        "dtype": np.dtype(dtype).name,
        "labels": channels_of(names) if many else {str(v): n for v, n in zip(labels, names, strict=True)},
        "notes": tuple(notes),
    }
    return kind(Whole(path, stored, stamp, decoder), space=space, meta=meta)


def _labels(regions: list[Drawn], *, renumber: bool, notes: list[str]) -> tuple[int, ...]:
    numbers = tuple(region.number for region in regions)
    if not renumber and min(numbers) > 0 and max(numbers) < 1 << 16:
        return numbers
    if not renumber:
        notes.append("the file's ROI numbers are no labels; the regions were numbered from 1 in their order")
    return tuple(range(1, len(regions) + 1))


def _check_frame(regions: list[Drawn], frame: str | None, path: Path) -> None:
    frames = {region.frame for region in regions if region.frame} | ({frame} if frame else set())
    if len(frames) > 1:
        raise BadGeometry(
            "the contours and the reference have different frames of reference",
            where=path,
            found=f"{len(frames)} frames of reference",
            due="one",
            mend="Give the series on which the contours were drawn, or read only its regions with rois=.",
        )


def _voxels(
    path: Path,
    *,
    placed: tuple[int, tuple[Slices, ...]],
    labels: tuple[int, ...],
    names: tuple[str, ...],
    shape: tuple[int, ...],
    dtype: str,
) -> Block:
    axis, regions = placed
    plane = tuple(n for k, n in enumerate(shape[1:]) if k != axis)

    def masks() -> Any:
        for number, slices in enumerate(regions):
            for at, polygons in slices.items():
                where = (*[slice(None)] * axis, at)
                yield number, where, fill(polygons, (plane[0], plane[1]))

    return stacked(masks(), labels, names, shape=shape, dtype=dtype, where=path)
