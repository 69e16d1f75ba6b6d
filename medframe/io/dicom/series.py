"""A DICOM series, or one multi-frame object, as an image: headers are read and judged now, pixels when asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medframe.base.errors import BadArgument, BadFile, BadGeometry, shown_path
from medframe.base.sizes import check_size
from medframe.geometry import Source
from medframe.image import Image, LabelMap
from medframe.io.dicom.file import DicomFile, open_dicom
from medframe.io.dicom.folder import Found, files_in
from medframe.io.dicom.frames import KEYS, Frame, flat_spacing, frames_of
from medframe.io.dicom.grouping import (
    DUPLICATES,
    INSTANCE,
    MIXED,
    Volumes,
    is_image,
    is_segmentation,
    series_of,
    volumes_of,
)
from medframe.io.dicom.header import HEADER, acquisition, code, tag_numbers
from medframe.io.dicom.lattice import ON_GAP, TOLERANCE, places, stack, upright
from medframe.io.dicom.lattice import tilt as tilt_of
from medframe.io.dicom.pixels import check_pixels, values_dtype
from medframe.io.dicom.sources import Between, FrameSource, Resampled
from medframe.io.raw import Flattened
from medframe.io.text_header import lattice

__all__ = ["read"]

TILT = ("shear", "upright", "error")
_TILTED = 0.01  # degrees: less is rounding


@dataclass(frozen=True)
class Options:
    """What `read` takes beside a path, a kind and a series; see there."""

    by: str | None = None
    on_gap: str = "error"
    duplicates: str = "error"
    mixed: str = "error"
    tilt: str = "shear"
    tolerance: float = TOLERANCE
    thickness: float | None = None
    ndim: int = 3
    classes: int | None = None

    def check(self, kind: type[Image], where: Path) -> None:
        """Raise BadArgument where an option is out of its domain."""
        known = {"on_gap": ON_GAP, "duplicates": DUPLICATES, "mixed": MIXED, "tilt": TILT, "ndim": (2, 3)}
        for name, values in known.items():
            value = getattr(self, name)
            if value not in values:
                due = " or ".join(map(repr, values))
                raise BadArgument(f"{name} has no such value", where=where, found=repr(value), due=due)
        if self.by is not None and self.by not in (*KEYS, INSTANCE):
            due = ", ".join((*KEYS, INSTANCE))
            raise BadArgument("volumes are not told apart by this", where=where, found=repr(self.by), due=due)
        if not 0 < self.tolerance < 0.5:
            raise BadArgument("tolerance is a part of the spacing", where=where, found=self.tolerance, due="0 to 0.5")
        if self.thickness is not None and not 0 < self.thickness < math.inf:
            raise BadArgument("thickness is in mm", where=where, found=self.thickness, due="above 0")
        if self.classes is not None and (not issubclass(kind, LabelMap) or self.classes < 1):
            raise BadArgument("classes is a positive count, and of label maps", found=self.classes, where=where)


def read(
    path: Path,
    kind: type[Image],
    *,
    series: str | int | None = None,
    by: str | None = None,
    on_gap: str = "error",
    duplicates: str = "error",
    mixed: str = "error",
    tilt: str = "shear",
    tolerance: float = TOLERANCE,
    thickness: float | None = None,
    ndim: int = 3,
    classes: int | None = None,
) -> Image:
    """Read the DICOM series of a folder, or of one file.

    Axes: i along a row (over columns), j down a column (over rows), k along the normal, (C, columns, rows, slices).
    Slices are sorted by position, whatever their names and numbers say. Volumes of a 4-D series (time, echo, b-value)
    become channels, in the order of the value that tells them apart; so do colours. Slope and intercept are applied,
    slice by slice; `pixels.values_dtype` tells which dtype comes out. MONOCHROME1 images without a unit are inverted,
    so that more is brighter.

    What would have to be guessed is an error, and each has an option that says what is wanted.

    `meta` holds the file or folder as messages show it, modality, stored dtype, acquisition numbers (see
    `tags.ACQUISITION`), what tells volumes apart, and notes on what was assumed or left out; nothing else of a header.

    Args:
        path: a folder that holds the files of a series (folders below it are not looked into), or one file.
        kind: Image or LabelMap.
        series: of a folder that holds several: UID, the end of a UID as messages show it, or SeriesNumber.
        by: the element that tells volumes apart, where several could; see `frames.KEYS`.
        on_gap: "resample" reads an uneven or incomplete stack onto an even lattice, blending the slices around; floats
            come out, or labels of the nearest slice.
        duplicates: "drop_identical" leaves out copies of images.
        mixed: "largest" leaves out images of other size, spacing or direction than most (localizers).
        tilt: of slices shifted along each other (gantry tilt): "shear" keeps the voxels and says so in the affine,
            "upright" resamples onto a lattice that stands on the slices, "error" refuses.
        tolerance: part of the spacing by which gaps may differ.
        thickness: mm between slices, for a single slice whose header does not tell.
        ndim: 2 reads one image flat, (C, columns, rows), without a place in the patient: radiographs have none.
        classes: label maps must hold 0 .. classes - 1.

    Raises:
        BadFile: nothing to read, several series, or a file is damaged or of a kind that is not read.
        BadGeometry: positions are missing, doubled, uneven or mixed.
        BadLabel: a label map whose header speaks of fractions.
        TooLarge: headers claim more pixels than there are, or than the limits allow.

    Example:
        >>> from medframe.io import read
        >>> image = read("patient/ct")  # doctest: +SKIP
        >>> image = read("patient/ct", series=4, on_gap="resample")  # doctest: +SKIP
    """
    options = Options(by, on_gap, duplicates, mixed, tilt, tolerance, thickness, ndim, classes)
    options.check(kind, path)
    members, notes = _members(path, series)
    return _read(members, kind, path, notes, options)


def read_files(files: Sequence[Path], kind: type[Image], where: Path, options: Options) -> Image:
    """Read the series that some files make up, whatever else lies beside them; see `read` for errors.

    Args:
        files: of one series.
        kind: Image or LabelMap.
        where: what to call them in messages.
        options: see `read`.
    """
    options.check(kind, where)
    tags = tag_numbers(HEADER)
    return _read([open_dicom(file, tags) for file in files], kind, where, [], options)


def _read(members: Sequence[DicomFile], kind: type[Image], path: Path, notes: list[str], options: Options) -> Image:
    frames = [frame for opened in members for frame in frames_of(opened, flat=options.ndim == 2)]
    for stored in {id(frame.stored): frame.stored for frame in frames}.values():
        check_pixels(stored)
    if options.ndim == 2:
        return _flat(kind, path, members, frames, options)
    volumes = volumes_of(frames, by=options.by, duplicates=options.duplicates, mixed=options.mixed)
    volumes = replace(volumes, notes=(*notes, *volumes.notes))
    return _image(kind, path, members[0].dataset, volumes, options)


def _members(path: Path, series: str | int | None) -> tuple[list[DicomFile], list[str]]:
    # the opened files of one series, and what is said of the others
    tags = tag_numbers(HEADER)
    if not path.is_dir():
        opened = open_dicom(path, tags)
        return series_of([opened], series, path), []
    found = files_in(path)
    opened_files = [open_dicom(file, tags) for file in found.files]
    images = [opened for opened in opened_files if is_image(opened)]
    images = [opened for opened in images if not is_segmentation(opened)] or images
    passed = found.passed + len(opened_files) - len(images)
    if not images:
        raise _nothing(path, found, len(opened_files))
    notes = [f"{passed} other file{'s' if passed > 1 else ''} in the folder, no image, passed over"] if passed else []
    return series_of(images, series, path), notes


def _nothing(path: Path, found: Found, objects: int) -> BadFile:
    below = any(child.is_dir() for child in path.iterdir())
    held = f"{found.passed} other files" if found.passed else "nothing"
    if objects:
        held = f"{objects} DICOM objects that are no images"
    return BadFile(
        "the folder holds no DICOM image",
        where=path,
        found=held + (", and folders" if below else ""),
        due="the files of a series",
        mend="Give the folder that holds the files themselves; medframe.io.dicom.index lists all series below one.",
    )


def _image(
    kind: type[Image],
    path: Path,
    dataset: Any,
    volumes: Volumes,
    options: Options,
) -> Image:
    labels, notes = issubclass(kind, LabelMap), list(volumes.notes)
    lead = volumes.frames[0][0]
    planes = [frame.plane for frame in volumes.frames[0]]
    thickness = options.thickness
    if len(planes) == 1 and thickness is None and lead.thickness is not None:
        thickness = lead.thickness
        notes.append("one slice: SliceThickness is taken for its spacing")
    space, order = stack(planes, on_gap=options.on_gap, tolerance=options.tolerance, thickness=thickness)
    every = [frame for volume in volumes.frames for frame in volume]
    dtype = values_dtype(every, labels)
    notes += _brightness(every, labels)
    frames = tuple(tuple(volume[k] for k in order) for volume in volumes.frames)
    slices = FrameSource(frames, dtype.name, path, options.classes)
    check_size(slices.shape, dtype.itemsize, where=path)
    source: Source = slices
    at = places([planes[k] for k in order], space)
    apart = 0.0 if len(at) != space.shape[2] else float(np.abs(at - np.arange(len(at))).max())
    if options.on_gap == "resample" and (len(at) != space.shape[2] or apart > options.tolerance):
        source = Between(slices, tuple(float(v) for v in at), space.shape[2], labels)
        notes.append(f"{len(at)} uneven slices were resampled onto {space.shape[2]} of {space.spacing[2]:.4g} mm")
    angle = tilt_of(space)
    if angle > _TILTED:
        if options.tilt == "error":
            raise BadGeometry(
                "the slices are shifted along each other (gantry tilt)",
                where=lead.plane.where,
                found=f"{angle:.3g} degrees from their normal",
                due="slices straight behind each other",
                mend="Read with tilt='shear', which keeps all voxels where they are, or 'upright', which resamples.",
            )
        if options.tilt == "upright":
            standing = upright(space)
            source, space = Resampled(source, space, standing, kind.default), standing
            notes.append(f"a tilt of {angle:.3g} degrees was undone by resampling")
        else:
            notes.append(f"a tilt of {angle:.3g} degrees was kept: the affine is sheared")
    meta = _meta(path, dataset, lead, notes)
    if volumes.by:
        meta["volumes"] = {"by": volumes.by, "values": list(volumes.values)}
    return kind(source, space=space, meta=meta)


def _flat(kind: type[Image], path: Path, members: Sequence[DicomFile], frames: list[Frame], options: Options) -> Image:
    if len(frames) != 1 or frames[0].stored.frames != 1:
        raise BadFile(
            "a flat image is one frame",
            where=path,
            found=f"{max(len(frames), frames[0].stored.frames)} frames",
            due="one file of one frame",
            mend="Read a series with three axes.",
        )
    lead = frames[0]
    labels = issubclass(kind, LabelMap)
    dtype = values_dtype(frames, labels)
    (down, across), note = flat_spacing(members[0])
    source = FrameSource(((lead,),), dtype.name, path, options.classes)
    check_size(source.shape, dtype.itemsize, where=path)
    space = lattice((lead.plane.columns, lead.plane.rows), np.diag([across, down, 1.0]), path)
    notes = [note, *_brightness(frames, labels)]
    return kind(Flattened(source, 2), space=space, meta=_meta(path, members[0].dataset, lead, notes))


def _meta(path: Path, dataset: Any, lead: Frame, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "file": shown_path(path),
        "format": "DICOM",
        "dtype": lead.stored.encoding.dtype.newbyteorder("=").name,
        "modality": code(dataset, "Modality"),
        "acquisition": acquisition(dataset),
        "notes": tuple(notes),
    }


def _brightness(frames: Sequence[Frame], labels: bool) -> list[str]:
    # what is said of images whose low values are shown bright, and whether all agree
    dark = [frame for frame in frames if frame.stored.encoding.photometric == "MONOCHROME1"]
    colours = {frame.stored.encoding.samples for frame in frames}
    if (dark and len(dark) != len(frames)) or len(colours) != 1:
        odd = dark[0] if dark else frames[0]
        raise BadFile(
            "grey levels of two kinds, or grey and colour, are mixed",
            where=odd.plane.where,
            found=f"{odd.stored.encoding.photometric} among others",
            due="one PhotometricInterpretation",
            mend="Take the odd ones out of the folder.",
        )
    if not dark:
        return []
    if not dark[0].rescale.invert:
        return ["MONOCHROME1 with a unit: values were kept, and low ones are meant to be shown bright"]
    if labels:
        raise BadFile(
            "a label map is not shown inverted",
            where=dark[0].plane.where,
            found="MONOCHROME1",
            due="MONOCHROME2",
            mend="Read it as an Image.",
        )
    return ["MONOCHROME1: values were inverted within the range of their bits, so that more is brighter"]
