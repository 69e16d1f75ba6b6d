"""Pixels of frames: their size is checked by headers alone, then they are read, decoded and given their values."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadFile, BadLabel, MissingPackage, TooLarge
from medframe.base.extras import install_line, need
from medframe.base.sizes import check_size
from medframe.io.dicom.codestream import coded_size
from medframe.io.dicom.file import NATIVE, RAW_DEFLATE, open_dicom, pixel_bytes, with_meta
from medframe.io.dicom.frames import Encoding, Frame, Rescale, Stored
from medframe.io.dicom.header import tag_numbers, tag_place
from medframe.io.gzip_stream import check_bomb, check_packed, inflate
from medframe.io.raw import check_stamp
from medframe.io.reading import reading

Block = NDArray[Any]

_BIG = "1.2.840.10008.1.2.2"
_RLE = "1.2.840.10008.1.2.5"
_DECODED_BY = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
_COPY = "The file is truncated or its header is damaged; copy it again from its source."


def check_pixels(stored: Stored) -> None:
    """Compare what a header claims with the bytes there are, before anything is allocated.

    Raises:
        TooLarge: fewer bytes than claimed, or more than the limits allow.
        BadFile: a frame more than claimed: the header and the pixels do not belong together.
    """
    encoding, block, size = stored.encoding, stored.block, stored.stamp[0]
    claimed = stored.frames * encoding.frame_bytes
    shape = (stored.frames, encoding.samples, encoding.rows, encoding.columns)
    itemsize = encoding.allocated // 8
    if stored.syntax not in NATIVE:
        check_size(shape, itemsize, where=stored.path)
        check_bomb(claimed, size, stored.path)
        return
    if encoding.photometric.startswith("YBR") and encoding.photometric != "YBR_FULL":
        raise BadFile(
            "subsampled colours are read from compressed pixels alone",
            where=tag_place(stored.path, "PhotometricInterpretation"),
            found=encoding.photometric,
            due="RGB or YBR_FULL",
            mend="Export the image as RGB.",
        )
    length = block.length
    if length is None:
        raise BadFile(
            "uncompressed pixels have a length",
            where=tag_place(stored.path, block.keyword),
            found="an undefined length",
            due=f"{claimed} bytes",
            mend=_COPY,
        )
    if block.inflated_from is None:
        there = min(length, size - block.offset)
        check_size(shape, itemsize, where=tag_place(stored.path, block.keyword), available=there)
    else:
        check_size(shape, itemsize, where=tag_place(stored.path, block.keyword), available=length)
        compressed = size - block.inflated_from
        check_packed(shape, itemsize, skip=block.offset, compressed=compressed, where=stored.path)
    if length - claimed >= encoding.frame_bytes:
        raise BadFile(
            "the file holds more pixels than its header says",
            where=tag_place(stored.path, block.keyword),
            found=f"{length} bytes",
            due=f"{claimed} for {stored.frames} frame(s) of {encoding.rows} x {encoding.columns}",
            mend="NumberOfFrames, Rows or Columns are wrong; export the file again from its source.",
        )


def values_dtype(frames: Sequence[Frame], labels: bool) -> np.dtype[Any]:
    """The dtype of the image that frames make, from headers alone, so it is known before the voxels are read.

    - Whole slopes and intercepts keep integers: the narrowest of uint8 (8-bit files only), int16, int32 and int64 that
      holds whatever the stored bits could come to. Twelve-bit CT gives int16, sixteen-bit CT int32.
    - Other slopes give float32, or float64 where float32 would merge two stored values.
    - Float pixels keep their dtype.
    - Labels must be whole numbers by their header.

    Raises:
        BadLabel: labels of a file with fractions or colours.
    """
    encodings = {f.stored.encoding for f in frames}
    fractions = any(e.floating for e in encodings) or not all(_whole(f.rescale) for f in frames)
    if labels:
        for frame in frames:
            _check_label(frame)
    if any(e.floating for e in encodings):
        single = all(e.allocated == 32 for e in encodings) and all(f.rescale.identity for f in frames)
        return np.dtype("f4" if single else "f8")
    if fractions:
        return np.dtype("f4" if all(_float32_keeps(f) for f in frames) else "f8")
    low, high = zip(*(_ends(f) for f in frames), strict=True)
    narrowest = ("u1", "i2", "i4", "i8") if all(e.allocated == 8 for e in encodings) else ("i2", "i4", "i8")
    for name in narrowest:
        ends = np.iinfo(name)
        if ends.min <= min(low) and max(high) <= ends.max:
            return np.dtype(name)
    return np.dtype("f8")


def _check_label(frame: Frame) -> None:
    encoding, rescale = frame.stored.encoding, frame.rescale
    found = None
    if encoding.samples > 1 or encoding.floating:
        found = "float pixels" if encoding.floating else "colours"
    elif not _whole(rescale):
        found = f"RescaleSlope {rescale.slope:g}, RescaleIntercept {rescale.inter:g}"
    if found is not None:
        raise BadLabel(
            "a label map holds whole numbers",
            where=frame.plane.where,
            found=found,
            due="one sample a pixel, and whole slope and intercept",
            mend="Read it as an Image, or store labels as a segmentation object.",
        )


def values(pixels: Block, encoding: Encoding, rescale: Rescale, dtype: np.dtype[Any]) -> Block:
    """Stored values as those of the image."""
    if rescale.lut is not None:
        place = np.clip(pixels.astype(np.int64) - rescale.first, 0, len(rescale.lut) - 1)
        return rescale.lut[place].astype(dtype)
    if rescale.identity:
        return pixels.astype(dtype, copy=False)
    if rescale.invert:
        pixels = sum(encoding.ends) - pixels.astype(np.int64)
    if dtype.kind in "iu":
        wide = pixels.astype(dtype if rescale.slope == 1 else np.int64)  # a whole shift stays within the dtype's range
        if rescale.slope != 1:
            wide *= int(rescale.slope)
        wide += int(rescale.inter)
        return wide.astype(dtype, copy=False)
    scaled = pixels.astype(np.float64)
    scaled *= rescale.slope
    scaled += rescale.inter
    return scaled.astype(dtype, copy=False)


class PixelReader:
    """Reads frames one after another and keeps the compressed file at hand from which the last one came.

    Example:
        >>> reader = PixelReader()  # doctest: +SKIP
        >>> reader.read(frame, slice(0, 64)).shape  # doctest: +SKIP
        (1, 64, 512)
    """

    def __init__(self) -> None:
        self._last: tuple[Stored, Any] | None = None

    def read(self, frame: Frame, rows: slice) -> Block:
        """Stored values of some rows of a frame, (samples, rows, columns); colours are RGB.

        Raises:
            BadFile: the file changed after its header was read, is damaged, or does not decode to what it claims.
            MissingPackage: the compression needs a decoder that is not installed.
            TooLarge: decoding needs more than the limits allow.
        """
        stored = frame.stored
        if stored.syntax in NATIVE:
            check_stamp(stored.path, stored.stamp)
            block = self._native(stored, frame.index, rows)
        else:
            block = self._decoded(stored, frame.index)[:, rows]
        return _clean(block, stored.encoding)

    def compressed(self, stored: Stored, index: int) -> Block:
        """Stored values of a compressed frame, (samples, rows, columns); see `read` for what is raised."""
        return _clean(self._decoded(stored, index), stored.encoding)

    def _native(self, stored: Stored, index: int, rows: slice) -> Block:
        encoding, block = stored.encoding, stored.block
        dtype = encoding.dtype.newbyteorder(">") if stored.syntax == _BIG else encoding.dtype
        start, stop, _ = rows.indices(encoding.rows)
        one_plane = encoding.samples == 1
        width = encoding.columns * dtype.itemsize
        skip, size = (start * width, (stop - start) * width) if one_plane else (0, encoding.frame_bytes)
        offset = block.offset + index * encoding.frame_bytes + skip
        if block.inflated_from is not None:
            raw = self._inflated(stored)[offset - block.offset :][:size]
        else:
            with reading(stored.path), open(stored.path, "rb") as stream:
                stream.seek(offset)
                raw = np.frombuffer(stream.read(size), np.uint8)
        if len(raw) != size:
            raise BadFile(
                "the file ends before its pixels do", where=stored.path, found=f"{len(raw)} bytes", due=size, mend=_COPY
            )
        if one_plane:
            return raw.view(dtype).reshape(1, stop - start, encoding.columns)
        if encoding.planar:
            planes = raw.view(dtype).reshape(encoding.samples, encoding.rows, encoding.columns)
        else:
            planes = raw.view(dtype).reshape(encoding.rows, encoding.columns, encoding.samples).transpose(2, 0, 1)
        if encoding.photometric == "YBR_FULL":
            convert = need("pydicom.pixels", "read DICOM colours").convert_color_space
            planes = convert(planes.transpose(1, 2, 0), "YBR_FULL", "RGB").transpose(2, 0, 1)
        return planes[:, rows]

    def _inflated(self, stored: Stored) -> NDArray[np.uint8]:
        if self._last is None or self._last[0] is not stored:
            block = stored.block
            assert block.inflated_from is not None
            size = stored.frames * stored.encoding.frame_bytes
            self._last = stored, inflate(stored.path, block.offset, size, block.inflated_from, RAW_DEFLATE)
        found: NDArray[np.uint8] = self._last[1]
        return found

    def _decoded(self, stored: Stored, index: int) -> Block:
        encoding = stored.encoding
        if self._last is None or self._last[0] is not stored:
            self._last = stored, _compressed(stored)
        dataset = self._last[1]
        _check_stream(stored, dataset, index)
        pixels = need("pydicom.pixels", "read DICOM files")
        plugin = "pydicom" if stored.syntax == _RLE else ""  # in Python, so a damaged stream cannot crash us
        with reading(stored.path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            try:
                raw = encoding.samples == 1
                array = np.asarray(pixels.pixel_array(dataset, index=index, raw=raw, decoding_plugin=plugin))
            except (OSError, MemoryError):
                raise
            except Exception as error:  # decoders raise what they like, and their text may quote values
                raise _undecodable(stored, index, type(error).__name__) from None
        array = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
        due = (encoding.samples, encoding.rows, encoding.columns)
        if array.shape != due or array.dtype.kind not in "iu" or array.dtype.itemsize * 8 < encoding.stored:
            raise _undecodable(stored, index, f"{array.shape} of {array.dtype}")
        return array


def _compressed(stored: Stored) -> Any:
    # a dataset of the elements that decoding needs, with the fragments
    opened = open_dicom(stored.path, tag_numbers(_DECODED_BY))
    check_stamp(stored.path, stored.stamp)
    decoders = need("pydicom.pixels", "read DICOM files")
    try:
        decoder = decoders.get_decoder(stored.syntax)
    except NotImplementedError:
        raise BadFile(
            "the compression is of a kind that is not read",
            where=tag_place(stored.path, "TransferSyntaxUID"),
            found=stored.syntax,
            due="RLE, JPEG, JPEG-LS, JPEG 2000 or no compression",
            mend="Export the file again as Explicit VR Little Endian.",
        ) from None
    if not decoder.is_available:
        raise MissingPackage(
            "a decoder is needed to read the compressed pixels",
            where=stored.path,
            found=f"none installed for transfer syntax {stored.syntax}",
            mend=f"Run: {install_line('gdcm')}",
        )
    dataset = with_meta(opened)
    dataset.add_new("PixelData", "OB", pixel_bytes(opened))
    dataset["PixelData"].is_undefined_length = True
    return dataset


def _check_stream(stored: Stored, dataset: Any, index: int) -> None:
    # a stream that claims another size would make its decoder allocate that
    encoding = stored.encoding
    encaps = need("pydicom.encaps", "read DICOM files")
    try:
        stream = encaps.get_frame(dataset.PixelData, index, number_of_frames=stored.frames)
    except Exception as error:  # whatever pydicom trips over
        raise _undecodable(stored, index, type(error).__name__) from None
    if stored.syntax != _RLE:
        found = coded_size(stream)
        if found is None:
            raise _undecodable(stored, index, "no picture")
        if found.marked and not stream.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise _undecodable(stored, index, "a stream without its end")
        # a stream of 8 bits in a file of 16 is decoded to half the bytes, which are then taken for pixels
        deep = found.bits <= encoding.allocated and (found.bits > 8) == (encoding.allocated > 8)
        if (found.rows, found.columns, found.samples) != (
            encoding.rows,
            encoding.columns,
            encoding.samples,
        ) or not deep:
            told = f"{found.rows} x {found.columns} x {found.samples} of {found.bits} bits"
            raise _undecodable(stored, index, told)
    if stored.syntax == _RLE and len(stream) * 64 < encoding.frame_bytes:  # two bytes give 128 at most
        raise TooLarge(
            "the compressed frame is too small for what its header claims",
            where=stored.path,
            found=f"{len(stream)} bytes",
            due=f"{encoding.frame_bytes} bytes when decoded",
            mend=_COPY,
        )


def _undecodable(stored: Stored, index: int, found: str) -> BadFile:
    encoding = stored.encoding
    return BadFile(
        "the compressed pixels do not decode to what the header says",
        where=f"{tag_place(stored.path, stored.block.keyword)}" + (f", frame {index + 1}" if stored.frames > 1 else ""),
        found=found,
        due=f"{encoding.rows} x {encoding.columns} x {encoding.samples} of {encoding.allocated} bits",
        mend=_COPY,
    )


def _clean(block: Block, encoding: Encoding) -> Block:
    # native byte order; bits that do not count (old overlays) go, and the sign comes from the highest that does
    native = block.dtype.newbyteorder("=")
    if encoding.floating or encoding.samples > 1:
        return block.astype(native, copy=False)
    bits = native.itemsize * 8
    whole = np.dtype(f"{'i' if encoding.signed else 'u'}{native.itemsize}")
    block = block.astype(native, copy=False).view(whole)
    left, right = bits - 1 - encoding.high, bits - encoding.stored
    if encoding.stored == bits:
        return block
    shifted: Block = (block << whole.type(left)) >> whole.type(right)
    return shifted


def _whole(rescale: Rescale) -> bool:
    return all(v == math.floor(v) and abs(v) < 1 << 31 for v in (rescale.slope, rescale.inter))


def _ends(frame: Frame) -> tuple[int, int]:
    rescale = frame.rescale
    if rescale.lut is not None:
        return int(rescale.lut.min()), int(rescale.lut.max())
    ends = [int(rescale.slope) * v + int(rescale.inter) for v in frame.stored.encoding.ends]
    return min(ends), max(ends)


def _float32_keeps(frame: Frame) -> bool:
    # neighbouring stored values lie |slope| apart; float32 tells them apart where that spans two of its steps
    rescale, encoding = frame.rescale, frame.stored.encoding
    if rescale.lut is not None:
        return True
    largest = max(abs(rescale.slope * v + rescale.inter) for v in encoding.ends)
    if encoding.stored > 16 or not 0 < largest < float(np.finfo(np.float32).max):
        return False
    return bool(abs(rescale.slope) >= 2 * np.spacing(np.float32(largest)))
