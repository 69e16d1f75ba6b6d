"""What one frame of a DICOM file is: where its pixels are stored and how, what they mean, where they lie, and when.

A single image is a file of one frame. In a multi-frame object a frame's own functional group is asked first, then the
shared group, then the file's top level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadFile, BadGeometry, shown_path
from medframe.io.dicom.file import DicomFile, PixelBlock, need_pixels
from medframe.io.dicom.header import (
    bad_tag,
    code,
    frame_count,
    has,
    number,
    sequence,
    tag_place,
    text,
    vector,
    whole,
)
from medframe.io.dicom.lattice import Plane
from medframe.io.reading import Stamp

# what may tell the volumes of one series apart: element, and the functional group that holds it in a multi-frame object
KEYS = {
    "TemporalPositionIndex": "FrameContentSequence",
    "TemporalPositionIdentifier": "",
    "DiffusionBValue": "MRDiffusionSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "EchoTime": "",
    "EchoNumbers": "",
    "InversionTime": "",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
    "TriggerTime": "",
    "ImageType": "",
    "ComplexImageComponent": "MRImageFrameTypeSequence",
    "AcquisitionNumber": "",
}
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420", "YBR_PARTIAL_422")
# spacing of flat images, the best first, and what is said of it
FLAT_SPACING = {
    "PixelSpacing": "a flat image: its place in the patient is not kept",
    "ImagerPixelSpacing": "a flat image: its spacing is that at the detector, larger than in the patient",
    "NominalScannedPixelSpacing": "a flat image: its spacing is that of a scanned film",
}
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")

_FLOATS = {"FloatPixelData": ("f4", 32), "DoubleFloatPixelData": ("f8", 64)}


@dataclass(frozen=True)
class Encoding:
    """How the pixels of a file are stored; equal for all its frames.

    Args:
        rows: pixels down.
        columns: pixels across.
        samples: 1, or 3 for colours.
        planar: colours lie plane by plane rather than pixel by pixel.
        allocated: bits a sample takes.
        stored: bits of them that count.
        high: number of the highest bit that counts.
        signed: two's complement of `stored` bits.
        photometric: PhotometricInterpretation.
        floating: the samples are floats of `allocated` bits.
    """

    rows: int
    columns: int
    samples: int
    planar: bool
    allocated: int
    stored: int
    high: int
    signed: bool
    photometric: str
    floating: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a sample, little endian."""
        return np.dtype(f"<{'f' if self.floating else 'i' if self.signed else 'u'}{self.allocated // 8}")

    @property
    def frame_bytes(self) -> int:
        return self.rows * self.columns * self.samples * self.allocated // 8

    @property
    def ends(self) -> tuple[int, int]:
        """The smallest and largest stored value."""
        half = 1 << (self.stored - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)


@dataclass(frozen=True, eq=False)
class Rescale:
    """From stored values to those the image has.

    Args:
        slope: value = slope x stored + inter.
        inter: see slope.
        invert: stored values are mirrored within their range first (MONOCHROME1).
        lut: a Modality LUT instead: the values of stored `first`, `first` + 1, ..., and ends held.
        first: see lut.
    """

    slope: float = 1.0
    inter: float = 0.0
    invert: bool = False
    lut: NDArray[np.int64] | None = None
    first: int = 0

    @property
    def identity(self) -> bool:
        return (self.slope, self.inter, self.invert) == (1.0, 0.0, False) and self.lut is None


@dataclass(frozen=True, eq=False)
class Stored:
    """The pixels of one file.

    Args:
        path: of the file.
        stamp: its size and modification time when the header was read.
        syntax: transfer syntax UID.
        block: where the pixels are.
        frames: how many frames it holds.
        encoding: how they are stored.
    """

    path: Path
    stamp: Stamp
    syntax: str
    block: PixelBlock
    frames: int
    encoding: Encoding


@dataclass(frozen=True, eq=False)
class Frame:
    """One image: its pixels, meaning, place and what tells it from others at its place.

    Args:
        stored: the file's pixels.
        index: which frame of the file.
        rescale: what stored values mean.
        plane: where it lies.
        thickness: mm, where the header tells.
        keys: values of `KEYS` that the header holds.
        instance: InstanceNumber of the file.
        temporal: NumberOfTemporalPositions that the file declares, or 0.
        identity: SOPInstanceUID, to know copies by; never shown.
    """

    stored: Stored
    index: int
    rescale: Rescale
    plane: Plane
    thickness: float | None
    keys: Mapping[str, float | str]
    instance: int
    temporal: int
    identity: str


def encoding_of(opened: DicomFile) -> Encoding:
    """How the pixels of a file are stored.

    Raises:
        BadFile: elements are missing or contradict each other, or the colours are of a kind that is not read.
    """
    dataset, where = opened.dataset, opened.path
    keyword = need_pixels(opened.pixels, where).keyword
    rows, columns = whole(dataset, "Rows", where, least=1), whole(dataset, "Columns", where, least=1)
    samples = whole(dataset, "SamplesPerPixel", where, 1, least=1)
    photometric = text(dataset, "PhotometricInterpretation", where, "MONOCHROME2")
    if keyword in _FLOATS:
        bits = _FLOATS[keyword][1]
        return Encoding(rows, columns, 1, False, bits, bits, bits - 1, True, "MONOCHROME2", floating=True)
    allocated = whole(dataset, "BitsAllocated", where)
    stored = whole(dataset, "BitsStored", where, allocated)
    high = whole(dataset, "HighBit", where, stored - 1)
    if allocated not in (8, 16, 32):
        raise bad_tag(where, "BitsAllocated", allocated, "8, 16 or 32", "the pixels are of a kind that is not read")
    if not 1 <= stored <= high + 1 <= allocated:
        found = f"{stored} bits up to bit {high}"
        raise bad_tag(where, "BitsStored", found, f"bits among the {allocated} allocated")
    if photometric not in (*GREY, *COLOUR) or samples != (1 if photometric in GREY else 3):
        raise BadFile(
            "the pixels are no grey levels or colours",
            where=tag_place(where, "PhotometricInterpretation"),
            found=f"{code(dataset, 'PhotometricInterpretation') or 'no code'} with {samples} samples a pixel",
            due="MONOCHROME1 or 2, or RGB or YBR of 3 samples",
            mend="Numbers of a palette are no intensities; export the image as grey levels or RGB.",
        )
    signed = whole(dataset, "PixelRepresentation", where, 0) == 1
    planar = samples > 1 and whole(dataset, "PlanarConfiguration", where, 0) == 1
    return Encoding(rows, columns, samples, planar, allocated, stored, high, signed, photometric)


def frames_of(opened: DicomFile, *, flat: bool = False) -> list[Frame]:
    """All frames of a file, in the order of the file.

    Args:
        opened: the file.
        flat: its place in the patient is not asked for: one plane at the origin, of pixels of 1 mm.

    Raises:
        BadFile: an element is missing or invalid, or the file is of a kind that is read elsewhere.
        BadGeometry: the file does not say where a frame lies.
    """
    dataset, path = opened.dataset, opened.path
    _refuse_others(dataset, path)
    stored = Stored(
        path,
        opened.stamp,
        opened.syntax,
        need_pixels(opened.pixels, path),
        frame_count(dataset, path),
        encoding_of(opened),
    )
    shared = next(iter(sequence(dataset, "SharedFunctionalGroupsSequence", path)), None)
    own = sequence(dataset, "PerFrameFunctionalGroupsSequence", path)
    if own and len(own) != stored.frames:
        raise bad_tag(
            path, "PerFrameFunctionalGroupsSequence", f"{len(own)} items", f"one for each of {stored.frames} frames"
        )
    offsets = _dose_offsets(dataset, path, stored.frames)
    if stored.frames > 1 and not own and offsets is None and not flat:
        raise BadGeometry(
            "the frames do not say where they lie",
            where=tag_place(path, "PerFrameFunctionalGroupsSequence"),
            found=f"{stored.frames} frames without positions",
            due="a position for each frame",
            mend="Clips and planes without geometry are no volume; nothing is invented for them.",
        )
    shown = shown_path(path)
    groups = own or [None] * (1 if offsets is None else len(offsets))
    frames = []
    for index, group in enumerate(groups):
        view = _View(dataset, shared, group, shown if stored.frames == 1 else f"{shown}, frame {index + 1}")
        offset = 0.0 if offsets is None else offsets[index]
        plane = _flat(view, stored.encoding) if flat else _plane(view, stored.encoding, offset)
        frames.append(_frame(view, stored, index, plane))
    return frames


def flat_spacing(opened: DicomFile) -> tuple[tuple[float, float], str]:
    """Millimetres between rows and between columns of an image without a place in the patient, and how they are known.

    Raises:
        BadFile: a spacing is no pair of numbers.
    """
    for keyword, note in FLAT_SPACING.items():
        if has(opened.dataset, keyword):
            down, across = vector(opened.dataset, keyword, opened.path, 2)
            return (down, across), note
    return (1.0, 1.0), "the file says nothing of spacing: 1 mm a pixel is assumed"


@dataclass(frozen=True, eq=False)
class _View:
    # one frame's header: its own group, the shared one, the file's top level
    dataset: Any
    shared: Any
    own: Any
    where: str

    def holder(self, group: str, keyword: str) -> Any:
        """The dataset that holds an element, the nearest to the frame; the top level where none does."""
        if group and (self.own is not None or self.shared is not None):
            for part in (self.own, self.shared):
                item = None if part is None else next(iter(sequence(part, group, self.where)), None)
                if item is not None and has(item, keyword):
                    return item
        return self.dataset


def _frame(view: _View, stored: Stored, index: int, plane: Plane) -> Frame:
    dataset, where = view.dataset, view.where
    thickness = number(view.holder("PixelMeasuresSequence", "SliceThickness"), "SliceThickness", where, 0.0)
    return Frame(
        stored,
        index,
        _rescale(view, stored.encoding),
        plane,
        thickness if thickness > 0 else None,
        _keys(view),
        whole(dataset, "InstanceNumber", where, 0),
        whole(dataset, "NumberOfTemporalPositions", where, 0),
        text(dataset, "SOPInstanceUID", where, ""),
    )


def _flat(view: _View, encoding: Encoding) -> Plane:
    return Plane((0, 0, 0), (1, 0, 0, 0, 1, 0), (1, 1), encoding.rows, encoding.columns, view.where)


def _plane(view: _View, encoding: Encoding, offset: float) -> Plane:
    where = view.where
    measures = view.holder("PixelMeasuresSequence", "PixelSpacing")
    position = view.holder("PlanePositionSequence", "ImagePositionPatient")
    orientation = view.holder("PlaneOrientationSequence", "ImageOrientationPatient")
    needed = ((position, "ImagePositionPatient"), (orientation, "ImageOrientationPatient"), (measures, "PixelSpacing"))
    for holder, keyword in needed:
        if not has(holder, keyword):
            projection = keyword == "PixelSpacing" and has(view.dataset, "ImagerPixelSpacing")
            raise BadGeometry(
                "the file does not say where its pixels lie",
                where=tag_place(where, keyword),
                found="ImagerPixelSpacing alone, which is measured at the detector" if projection else "nothing",
                due=keyword,
                mend="Nothing is invented; read an image without a place in the patient with ndim=2.",
            )
    place = np.array(vector(position, "ImagePositionPatient", where, 3))
    directions = vector(orientation, "ImageOrientationPatient", where, 6)
    if offset:
        place += offset * np.cross(directions[:3], directions[3:])
    return Plane(
        tuple(place),
        directions,  # type: ignore[arg-type]  # counted above
        vector(measures, "PixelSpacing", where, 2),  # type: ignore[arg-type]
        encoding.rows,
        encoding.columns,
        where,
    )


def _rescale(view: _View, encoding: Encoding) -> Rescale:
    where, dataset = view.where, view.dataset
    holder = view.holder("PixelValueTransformationSequence", "RescaleSlope")
    slope = number(holder, "RescaleSlope", where, 1.0)
    inter = number(holder, "RescaleIntercept", where, 0.0)
    if has(dataset, "DoseGridScaling"):
        slope *= number(dataset, "DoseGridScaling", where)
    if slope == 0:
        raise bad_tag(where, "RescaleSlope", 0, "another number than 0", "the rescale slope wipes the values")
    lut = next(iter(sequence(dataset, "ModalityLUTSequence", where)), None)
    if lut is not None and not has(holder, "RescaleSlope"):
        first, values = _lut(lut, encoding, where)
        return Rescale(lut=values, first=first)
    # values with a unit, such as HU, mean what they are whatever colour they are shown in
    return Rescale(slope, inter, invert=encoding.photometric == "MONOCHROME1" and (slope, inter) == (1.0, 0.0))


def _lut(item: Any, encoding: Encoding, where: str) -> tuple[int, NDArray[np.int64]]:
    count, first, bits = (int(v) for v in vector(item, "LUTDescriptor", where, 3))
    count = count % (1 << 16) or 1 << 16  # 0 stands for 65536, and a signed reading of the count wraps
    if encoding.signed and first >= 1 << 15:
        first -= 1 << 16
    raw = vector(item, "LUTData", where)
    if len(raw) != count or not 1 <= bits <= 16:
        raise bad_tag(where, "LUTData", f"{len(raw)} entries of {bits} bits", f"{count} entries of up to 16 bits")
    return first, np.array(raw, np.int64)


def _keys(view: _View) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    for keyword, group in KEYS.items():
        holder = view.holder(group, keyword)
        if not has(holder, keyword):
            continue
        if keyword in ("ImageType", "ComplexImageComponent"):
            found[keyword] = text(holder, keyword, view.where)
        else:
            found[keyword] = number(holder, keyword, view.where)
    return found


def _dose_offsets(dataset: Any, path: Path, frames: int) -> tuple[float, ...] | None:
    # a dose grid gives the distance of each frame from the first, along the normal
    if not has(dataset, "GridFrameOffsetVector"):
        return None
    offsets = vector(dataset, "GridFrameOffsetVector", path, frames)
    return tuple(offset - offsets[0] for offset in offsets)


def _refuse_others(dataset: Any, path: Path) -> None:
    if text(dataset, "SOPClassUID", path, "") in SEGMENTATIONS:
        raise BadFile(
            "this is a segmentation object, not an image",
            where=path,
            found="DICOM SEG",
            due="an image",
            mend="Its segments are read by medframe.io.dicom.segmentation.",
        )
    if "MOSAIC" in text(dataset, "ImageType", path, "").split("\\"):
        raise BadFile(
            "the slices are tiled into one picture (vendor mosaic), which is not read",
            where=tag_place(path, "ImageType"),
            found="MOSAIC",
            due="one image a slice",
            mend="Convert the series to NIfTI first, or export it from the scanner as single or enhanced images.",
        )
