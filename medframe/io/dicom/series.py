"""A DICOM series, or one multi-frame object, as an image: headers are read and judged now, pixels when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medframe.base.errors import BadArgument, BadFile, BadGeometry, shown_path
from medframe.base.sizes import check_size
from medframe.geometry import Source
from medframe.image import Image, LabelMap
from medframe.io.dicom.file import DicomFile, open_dicom
from medframe.io.dicom.folder import Found, files_in
from medframe.io.dicom.frames import Frame, frames_of
from medframe.io.dicom.grouping import Volumes, is_image, series_of, volumes_of
from medframe.io.dicom.header import HEADER, acquisition, code, tag_numbers
from medframe.io.dicom.lattice import TOLERANCE, places, stack, upright
from medframe.io.dicom.lattice import tilt as tilt_of
from medframe.io.dicom.pixels import check_pixels, values_dtype
from medframe.io.dicom.sources import Between, FrameSource, Resampled

__all__ = ["read"]

TILT = ("shear", "upright", "error")
_TILTED = 0.01  # degrees: less is rounding


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
    labels = issubclass(kind, LabelMap)
    if classes is not None and (not labels or classes < 1):
        raise BadArgument("classes is a positive count, and of label maps", found=classes, where=path)
    if tilt not in TILT:
        raise BadArgument("tilt has no such value", found=repr(tilt), due=" or ".join(map(repr, TILT)))
    notes: list[str] = []
    members = _members(path, series, notes)
    frames = [frame for opened in members for frame in frames_of(opened)]
    for stored in {id(frame.stored): frame.stored for frame in frames}.values():
        check_pixels(stored)
    volumes = volumes_of(frames, by=by, duplicates=duplicates, mixed=mixed)
    return _image(
        kind,
        path,
        members[0].dataset,
        volumes,
        [*notes, *volumes.notes],
        on_gap=on_gap,
        tilt=tilt,
        tolerance=tolerance,
        thickness=thickness,
        classes=classes if labels else None,
    )


def _members(path: Path, series: str | int | None, notes: list[str]) -> list[DicomFile]:
    # the opened files of one series
    tags = tag_numbers(HEADER)
    if not path.is_dir():
        opened = open_dicom(path, tags)
        return series_of([opened], series, path)
    found = files_in(path)
    opened_files = [open_dicom(file, tags) for file in found.files]
    images = [opened for opened in opened_files if is_image(opened)]
    passed = found.passed + len(opened_files) - len(images)
    if not images:
        raise _nothing(path, found, len(opened_files))
    if passed:
        notes.append(f"{passed} other file{'s' if passed > 1 else ''} in the folder, no image, passed over")
    return series_of(images, series, path)


def _nothing(path: Path, found: Found, objects: int) -> BadFile:
    below = any(child.is_dir() for child in path.iterdir())
    held = f"{found.passed} other files" if found.passed else "nothing"
    if objects:
        held = f"{objects} DICOM objects without pixels"
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
    notes: list[str],
    *,
    on_gap: str,
    tilt: str,
    tolerance: float,
    thickness: float | None,
    classes: int | None,
) -> Image:
    labels = issubclass(kind, LabelMap)
    lead = volumes.frames[0][0]
    planes = [frame.plane for frame in volumes.frames[0]]
    if len(planes) == 1 and thickness is None and lead.thickness is not None:
        thickness = lead.thickness
        notes.append("one slice: SliceThickness is taken for its spacing")
    space, order = stack(planes, on_gap=on_gap, tolerance=tolerance, thickness=thickness)
    every = [frame for volume in volumes.frames for frame in volume]
    dtype = values_dtype(every, labels)
    notes += _brightness(every, labels)
    frames = tuple(tuple(volume[k] for k in order) for volume in volumes.frames)
    slices = FrameSource(frames, dtype.name, path, classes)
    check_size(slices.shape, dtype.itemsize, where=path)
    source: Source = slices
    at = places([planes[k] for k in order], space)
    if on_gap == "resample" and (len(at) != space.shape[2] or np.abs(at - np.arange(len(at))).max() > tolerance):
        source = Between(slices, tuple(float(v) for v in at), space.shape[2], labels)
        notes.append(f"{len(at)} uneven slices were resampled onto {space.shape[2]} of {space.spacing[2]:.4g} mm")
    angle = tilt_of(space)
    if angle > _TILTED:
        if tilt == "error":
            raise BadGeometry(
                "the slices are shifted along each other (gantry tilt)",
                where=lead.plane.where,
                found=f"{angle:.3g} degrees from their normal",
                due="slices straight behind each other",
                mend="Read with tilt='shear', which keeps all voxels where they are, or 'upright', which resamples.",
            )
        if tilt == "upright":
            standing = upright(space)
            source, space = Resampled(source, space, standing, kind.default), standing
            notes.append(f"a tilt of {angle:.3g} degrees was undone by resampling")
        else:
            notes.append(f"a tilt of {angle:.3g} degrees was kept: the affine is sheared")
    meta: dict[str, Any] = {
        "file": shown_path(path),
        "format": "DICOM",
        "dtype": lead.stored.encoding.dtype.newbyteorder("=").name,
        "modality": code(dataset, "Modality"),
        "acquisition": acquisition(dataset),
        "notes": tuple(notes),
    }
    if volumes.by:
        meta["volumes"] = {"by": volumes.by, "values": list(volumes.values)}
    return kind(source, space=space, meta=meta)


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
