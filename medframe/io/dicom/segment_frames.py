"""The frames of a segmentation: bits packed without gaps, bytes, or compressed; decoded one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.sizes import check_size
from medframe.io.dicom.file import BIG, NATIVE, DicomFile, need_pixels, open_dicom, pixel_bytes
from medframe.io.dicom.frames import Encoding
from medframe.io.dicom.frames import Stored as Pixels
from medframe.io.dicom.header import bad_tag, frame_count, whole
from medframe.io.dicom.pixels import PixelReader, check_pixels
from medframe.io.dicom.quiet import quiet


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
        MissingPackage: the compression needs a decoder that is not installed.
        TooLarge: there are fewer bytes of pixels than the frames need.
    """
    opened = open_dicom(path, ())
    if opened.syntax not in NATIVE:
        yield from _decoded(opened, facts)
        return
    if opened.syntax == BIG:  # retired before there were segmentations
        raise bad_tag(path, "TransferSyntaxUID", "Explicit VR Big Endian", "a little endian transfer syntax")
    raw = pixel_bytes(opened)
    pixels = facts.rows * facts.columns
    stored = np.frombuffer(raw, np.uint8)
    shape = (facts.frames, facts.rows, facts.columns)
    if facts.bits == 1:
        check_size(((facts.frames * pixels + 7) // 8,), 1, where=path, available=len(stored))
        for number in range(facts.frames):
            first = number * pixels
            bits = np.unpackbits(stored[first // 8 : (first + pixels + 7) // 8], bitorder="little")
            yield bits[first % 8 : first % 8 + pixels].reshape(facts.rows, facts.columns)
        return
    check_size(shape, facts.bits // 8, where=path, available=len(stored))
    dtype = np.dtype(f"<u{facts.bits // 8}")
    for frame in np.frombuffer(raw, dtype, count=facts.frames * pixels).reshape(shape):
        yield frame.astype(dtype.newbyteorder("="))


def _decoded(opened: DicomFile, facts: FrameFacts) -> Iterator[NDArray[Any]]:
    encoding = Encoding(
        facts.rows, facts.columns, 1, False, facts.bits, facts.bits, facts.bits - 1, False, "MONOCHROME2"
    )
    block = need_pixels(opened.pixels, opened.path)
    pixels = Pixels(opened.path, opened.stamp, opened.syntax, block, facts.frames, encoding)
    check_pixels(pixels)
    reader = PixelReader()
    for index in range(facts.frames):
        with quiet():  # never around a yield, which would silence the caller as well
            frame = reader.compressed(pixels, index)[0]
        yield frame
