"""The frames of a segmentation: bits packed without gaps, bytes, or compressed; decoded one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadFile
from medframe.base.extras import need
from medframe.base.sizes import check_size
from medframe.io.dicom.file import BIG, NATIVE, open_dicom, pixel_bytes
from medframe.io.dicom.header import bad_tag, frame_count, tag_numbers, whole
from medframe.io.dicom.quiet import quiet

# what pydicom's decoders ask of a header
_DECODED = (
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelRepresentation",
    "Rows",
    "Columns",
    "SamplesPerPixel",
)


@dataclass(frozen=True)
class FrameFacts:
    """What the pixels of a segmentation are.

    Args:
        frames: how many.
        rows: pixels down.
        columns: pixels across.
        bits: of a pixel: 1, 8 or 16.
    """

    frames: int
    rows: int
    columns: int
    bits: int


def frame_facts(dataset: Any, path: Path, way: str) -> FrameFacts:
    """The facts of a header, or an error where they contradict the kind of segmentation.

    Raises:
        BadFile: a number is absent, or the bits are not those of the kind.
        TooLarge: a frame passes the image limit.
    """
    rows, columns = (whole(dataset, key, path, least=1) for key in ("Rows", "Columns"))
    bits = whole(dataset, "BitsAllocated", path)
    known = {"BINARY": (1,), "FRACTIONAL": (8,), "LABELMAP": (8, 16)}[way]
    if bits not in known:
        raise bad_tag(path, "BitsAllocated", bits, f"{' or '.join(map(str, known))} for {way}")
    if whole(dataset, "SamplesPerPixel", path, 1) != 1:
        raise bad_tag(path, "SamplesPerPixel", "several", 1)
    check_size((rows, columns), max(bits // 8, 1), where=path)
    return FrameFacts(frame_count(dataset, path), rows, columns, bits)


def frames_of(path: Path, facts: FrameFacts) -> Iterator[NDArray[Any]]:
    """The frames in turn, (rows, columns) of uint8 or uint16.

    Raises:
        BadFile: there are no pixels, or they cannot be decoded.
        TooLarge: there are fewer bytes of pixels than the frames need.
    """
    opened = open_dicom(path, tag_numbers(_DECODED))
    raw = pixel_bytes(opened)
    if opened.syntax not in NATIVE:
        yield from _decoded(opened, raw, facts, path)
        return
    pixels = facts.rows * facts.columns
    stored = np.frombuffer(raw, np.uint8)
    shape = (facts.frames, facts.rows, facts.columns)
    if facts.bits == 1:
        check_size(((facts.frames * pixels + 7) // 8,), 1, where=path, available=len(stored))
        if opened.syntax == BIG:  # words of 16 bits, most significant byte first
            stored = stored[: len(stored) // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()
        for number in range(facts.frames):
            first = number * pixels
            bits = np.unpackbits(stored[first // 8 : (first + pixels + 7) // 8], bitorder="little")
            yield bits[first % 8 : first % 8 + pixels].reshape(facts.rows, facts.columns)
        return
    check_size(shape, facts.bits // 8, where=path, available=len(stored))
    dtype = np.dtype("u1") if facts.bits == 8 else np.dtype(">u2" if opened.syntax == BIG else "<u2")
    whole_ = np.frombuffer(raw, dtype, count=facts.frames * pixels).reshape(shape)
    for frame in whole_:
        yield frame.astype(dtype.newbyteorder("="))


def _decoded(opened: Any, raw: Any, facts: FrameFacts, path: Path) -> Iterator[NDArray[Any]]:
    pydicom = need("pydicom.dataset", "read DICOM files")
    pixels = need("pydicom.pixels", "read DICOM files")
    dataset = pydicom.Dataset(opened.dataset)
    dataset.file_meta = pydicom.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = opened.syntax
    dataset.add_new(0x7FE00010, "OB", bytes(raw))
    dataset["PixelData"].is_undefined_length = True
    count = 0
    try:
        frames = pixels.iter_pixels(dataset, raw=True)
        while True:
            with quiet():  # never around a yield, which would silence the caller as well
                frame = next(frames, None)
            if frame is None:
                break
            if frame.shape != (facts.rows, facts.columns):
                raise ValueError
            count += 1
            yield frame
    except (BadFile, OSError, MemoryError):
        raise
    except Exception as error:  # pydicom and its decoders raise of every kind, and quote the header
        raise BadFile(
            "the compressed frames cannot be decoded",
            where=path,
            found=type(error).__name__,
            due=f"{facts.frames} frames of {facts.rows} x {facts.columns}",
            mend="Install the decoders, pip install 'medframe[dicom]', or export the file without compression.",
        ) from None
    if count != facts.frames:
        raise bad_tag(path, "NumberOfFrames", f"{count} frames", facts.frames, "frames are missing")
