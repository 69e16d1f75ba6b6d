"""RTSTRUCT objects: the closed contours of a planning system become labels on a lattice that the caller names.

Source: DICOM PS3.3, C.8.8.5 (structure set) and C.8.8.6 (ROI contour); contours of one plane are combined by exclusive
disjunction, of which the keyhole is a case.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadGeometry, BadLabel, MedframeWarning, shown_path
from medframe.base.sizes import check_size
from medframe.geometry import Space
from medframe.image import Image, LabelMap
from medframe.io.dicom.contour_fill import fill
from medframe.io.dicom.header import bad_tag, code, read_header, sequence, uid, whole
from medframe.io.dicom.overlap import Overlap, channels_of, check_overlap, shown_name, stacked
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
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_FLAT = 0.1  # of the distance between slices: how far the points of one contour may lie from its plane
_SAME = 0.01  # of the distance between slices: contours closer than this lie in one plane
_BEYOND = 1.0  # voxels: contours of the body's surface pass the edge of the image by as much


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
    regions = _chosen(_regions(dataset, path, notes), rois, path, notes)
    space, frame = lattice_of(reference, path)
    _check_frame(regions, frame, path)
    labels = _labels(regions, renumber=rois is not None, notes=notes)
    placed = _Placer(space, tolerance, clip, path, notes).place(regions)
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


@dataclass(frozen=True, eq=False)
class _Region:
    # one region of interest; contours as world places (N, 3), RAS+
    number: int
    name: str
    frame: str
    contours: tuple[NDArray[np.float64], ...]


def _regions(dataset: Any, path: Path, notes: list[str]) -> list[_Region]:
    drawn: dict[int, Any] = {}
    for item in sequence(dataset, "ROIContourSequence", path):
        number = whole(item, "ReferencedROINumber", path)
        if number in drawn:
            raise bad_tag(path, "ReferencedROINumber", f"{number} twice", "once for each region")
        drawn[number] = item
    found: dict[int, _Region] = {}
    for item in sequence(dataset, "StructureSetROISequence", path):
        number = whole(item, "ROINumber", path)
        if number in found:
            raise bad_tag(path, "ROINumber", f"{number} twice", "once for each region")
        name = shown_name(item, "ROIName", f"ROI {number}")
        frame = uid(item, "ReferencedFrameOfReferenceUID", path, "")
        contours: list[NDArray[np.float64]] = []
        others = 0
        for contour in sequence(drawn[number], "ContourSequence", path) if number in drawn else ():
            if code(contour, "ContourGeometricType") in _CLOSED:
                contours.append(_points(contour, name, path))
            else:
                others += 1
        if others:
            notes.append(f"{name}: {others} contours that enclose no area were passed over")
        if others and not contours:
            continue
        found[number] = _Region(number, name, frame, tuple(contours))
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


def _chosen(regions: list[_Region], rois: Sequence[str | int] | None, path: Path, notes: list[str]) -> list[_Region]:
    if rois is None:
        return sorted(regions, key=lambda region: region.number)
    if isinstance(rois, str | int) or not rois:
        raise BadArgument("rois is a list", where=path, found=repr(rois), due='such as rois=["Heart"]')
    out = []
    for wanted in rois:
        fitting = [r for r in regions if (r.number if isinstance(wanted, int) else r.name) == wanted]
        if len(fitting) != 1:
            listed = "; ".join(f"{r.number}: {r.name}" for r in regions[:12]) + ("; ..." if len(regions) > 12 else "")
            raise BadLabel(
                "no such region with closed contours" if not fitting else "several regions have this name",
                where=path,
                found=repr(wanted),
                due=listed,
                mend="Name a region as the file does, or give its number.",
            )
        if fitting[0] in out:
            raise BadArgument("a region is asked for twice", where=path, found=repr(wanted), due="each once")
        out += fitting
    return out


def _labels(regions: list[_Region], *, renumber: bool, notes: list[str]) -> tuple[int, ...]:
    numbers = tuple(region.number for region in regions)
    if not renumber and min(numbers) > 0 and max(numbers) < 1 << 16:
        return numbers
    if not renumber:
        notes.append("the file's ROI numbers are no labels; the regions were numbered from 1 in their order")
    return tuple(range(1, len(regions) + 1))


def _check_frame(regions: list[_Region], frame: str | None, path: Path) -> None:
    frames = {region.frame for region in regions if region.frame} | ({frame} if frame else set())
    if len(frames) > 1:
        raise BadGeometry(
            "the contours and the reference have different frames of reference",
            where=path,
            found=f"{len(frames)} frames of reference",
            due="one",
            mend="Give the series on which the contours were drawn, or read only its regions with rois=.",
        )


# for each slice the polygons (N, 2) in index coordinates of its plane
_Slices = dict[int, tuple[NDArray[np.float64], ...]]


@dataclass(frozen=True, eq=False)
class _Placer:
    # from contours in the world to polygons on the slices of a lattice
    space: Space
    tolerance: float
    clip: bool
    path: Path
    notes: list[str]

    def place(self, regions: list[_Region]) -> tuple[int, tuple[_Slices, ...]]:
        """The axis across the contours' planes, and for each region its polygons by slice."""
        if self.space.ndim != 3:
            found = f"a reference of {self.space.ndim} axes"
            raise BadGeometry("contours lie in a volume", where=self.path, found=found, due="three axes")
        indexed = [[self.space.to_index(points) for points in region.contours] for region in regions]
        spreads = [np.ptp(points, axis=0) for contours in indexed for points in contours]
        spread = np.max(spreads, axis=0) if spreads else np.zeros(3)
        axis = int(np.argmin(spread)) if spreads else 2
        if spread[axis] > _FLAT:
            raise BadGeometry(
                "the contours do not lie in the planes of the lattice",
                where=self.path,
                found=f"a contour that passes through {spread[axis]:.2f} slices",
                due="contours parallel to two of the lattice's axes",
                mend="Give the series on which they were drawn as the reference, then call to_space.",
            )
        return axis, tuple(self._by_slice(*pair, axis) for pair in zip(regions, indexed, strict=True))

    def _by_slice(self, region: _Region, contours: list[NDArray[np.float64]], axis: int) -> _Slices:
        heights = np.array([points[:, axis].mean() for points in contours])
        slices = np.rint(heights).astype(np.int64)
        off = np.abs(heights - slices)
        self._check_near(region, off, self.space.spacing[axis])
        across = [k for k in range(3) if k != axis]
        planes = [points[:, across] for points in contours]
        inside = self._check_within(region, planes, slices, axis)
        found: dict[int, list[int]] = {}
        for number in np.flatnonzero(inside).tolist():
            found.setdefault(int(slices[number]), []).append(number)
        kept, dropped = {}, 0
        for at, numbers in found.items():
            # several planes fall to one slice where the lattice is coarser than the contours: the nearest one counts
            best = min(numbers, key=lambda n: off[n])
            same = [n for n in numbers if abs(heights[n] - heights[best]) <= _SAME]
            dropped += len(numbers) - len(same)
            kept[at] = tuple(planes[n] for n in same)
        if dropped:
            self.notes.append(f"{region.name}: {dropped} contours were passed over for others nearer to the slice")
        self._warn_of_gaps(region, sorted(kept))
        return kept

    def _check_near(self, region: _Region, off: NDArray[np.float64], spacing: float) -> None:
        far = off > self.tolerance + 1e-9
        if far.any():
            raise BadGeometry(
                "contours lie between the slices of the lattice",
                where=self.path,
                found=f"{int(far.sum())} of {len(off)} contours of {region.name}, up to {off.max() * spacing:.3g} mm"
                " from the nearest slice",
                due=f"at most {self.tolerance:g} of the distance between slices, {spacing:.4g} mm",
                mend="Give the series they were drawn on as the reference, or tolerance=0.5 for the nearest slice.",
            )

    def _check_within(
        self, region: _Region, planes: list[NDArray[np.float64]], slices: NDArray[np.int64], axis: int
    ) -> NDArray[np.bool_]:
        # which contours lie on a slice of the lattice
        size = np.array([n for k, n in enumerate(self.space.shape) if k != axis])
        inside = (slices >= 0) & (slices < self.space.shape[axis])
        wide = [bool((p.min(0) < -0.5 - _BEYOND).any() or (p.max(0) > size - 0.5 + _BEYOND).any()) for p in planes]
        beyond = int((~inside | np.array(wide, bool)).sum())
        if beyond and not self.clip:
            raise BadGeometry(
                "contours lie beyond the lattice",
                where=self.path,
                found=f"{beyond} of {len(planes)} contours of {region.name}",
                due=f"contours within {self.space}",
                mend="Give a reference that holds them all, or cut them off with clip=True.",
            )
        if beyond:
            self.notes.append(f"{region.name}: {beyond} contours reach beyond the lattice and were cut off")
        return inside

    def _warn_of_gaps(self, region: _Region, slices: list[int]) -> None:
        # a region of several parts leaves slices out, too; that it leaves them out evenly tells a coarser drawing
        gaps = np.diff(slices)
        if len(gaps) > 1 and gaps.min() == gaps.max() > 1:
            text = f"{region.name}: only every {gaps[0]}. slice has a contour; the slices between stay empty"
            self.notes.append(text)
            warnings.warn(f"{shown_path(self.path)}: {text}", MedframeWarning, stacklevel=6)


def _voxels(
    path: Path,
    *,
    placed: tuple[int, tuple[_Slices, ...]],
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
