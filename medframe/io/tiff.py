"""TIFF files: pages as depth, spacing from OME, ImageJ or the resolution tags; tifffile decodes them.

A TIFF says nothing of sides: the axes of the array (pages, rows, columns) are taken as the axes of the world from 0,
and a note says so.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from medframe.base.errors import BadArgument, BadFile, MedframeError, shown_path
from medframe.base.extras import need
from medframe.base.files import atomic_write
from medframe.base.sizes import check_size
from medframe.geometry import Source
from medframe.image import Image, LabelMap
from medframe.io.gzip_stream import check_bomb, check_holds
from medframe.io.loss import OnLoss, check_on_loss, fit
from medframe.io.raw import Flattened, Whole
from medframe.io.reading import reading, stamp_of
from medframe.io.stored import Block, Stored
from medframe.io.text_header import lattice
from medframe.io.tiff_check import check_chain
from medframe.io.writing import target_dtype, voxels_of

__all__ = ["read", "write"]

_DTYPES = tuple(map(np.dtype, ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")))
_WRITTEN = tuple(map(np.dtype, ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")))  # what OME has names for
_UNITS = {"m": 1e3, "cm": 10.0, "mm": 1.0, "µm": 1e-3, "um": 1e-3, "\\u00b5m": 1e-3, "micron": 1e-3, "nm": 1e-6}
_UNITS |= {"inch": 25.4, "in": 25.4}
_SIZE = re.compile(r'PhysicalSize([XYZ])(Unit)?="([^"]{1,40})"')
_FILES = re.compile(r'FileName="([^"]*)"')
# by how many times more than deflate a compression may pack: deflate (8, 32946), JPEG, PackBits; LZW
_TIMES = {8: 1, 32946: 1, 7: 1, 32773: 1, 5: 4}
_DEPTH, _CHANNELS = "ZIQ", "CST"


def read(
    path: Path, kind: type[Image], *, affine: ArrayLike | None = None, series: int = 0, classes: int | None = None
) -> Image:
    """Read a TIFF file; pages are decoded when the voxels are asked for.

    One page gives a 2-D image (C, H, W), several pages of one size a volume (C, D, H, W). Samples, channels or time
    become the channels. Spacing comes from OME's metadata, ImageJ's, or the resolution tags.

    Args:
        path: .tif or .tiff.
        kind: Image or LabelMap.
        affine: index -> world mm, where it is known.
        series: which one of a file with several.
        classes: label maps must hold 0 .. classes - 1.

    Raises:
        BadFile: damaged, truncated, or of a kind that is not read.
        BadLabel: on reading the voxels of a label map that holds no labels.
        TooLarge: more voxels than there are or than the limits allow.
        MissingPackage: tifffile, or a codec it needs, is not installed.
    """
    labels = issubclass(kind, LabelMap)
    if classes is not None and (not labels or classes < 1):
        raise BadArgument("classes is a positive count, and of label maps", found=classes, where=path)
    stamp = stamp_of(path)
    with reading(path), _opened(path) as tiff:
        check_chain(path)
        if not 0 <= series < len(tiff.series):
            raise BadArgument("no such series", where=path, found=series, due=f"0 to {len(tiff.series) - 1}")
        if len(set(_FILES.findall(str(tiff.ome_metadata or "")))) > 1:
            raise _refuse(path, "the image lies in several files", "OME metadata that names several", "one file")
        chosen = tiff.series[series]
        axes, sizes = str(chosen.axes), tuple(int(n) for n in chosen.shape)
        dtype = np.dtype(chosen.dtype) if chosen.dtype is not None else np.dtype(object)
        page = chosen.keyframe
        packing, bits = int(page.compression), int(page.bitspersample)
        palette = int(page.photometric) == 3
        notes: list[str] = []
        spacing = _spacing(tiff, page, notes)
    if palette and not labels:
        raise _refuse(path, "a palette of colours", "palette", "grey or RGB; a LabelMap takes the palette's numbers")
    if dtype.newbyteorder("=") not in _DTYPES:
        raise _refuse(path, "the sample type is not read", str(dtype), "integers of 8 to 64 bits, float32 or float64")
    order, shape = _order(axes, sizes, path)
    wider = max(1, 8 * dtype.itemsize // max(1, bits))  # samples of few bits are unpacked
    if packing == 1:
        check_size(shape, dtype.itemsize, where=path, available=stamp[0] * wider)
    size = check_size(shape, dtype.itemsize, where=path)
    if packing in _TIMES:
        check_holds(size // (wider * _TIMES[packing]), stamp[0], path)
    check_bomb(size, stamp[0], path)
    flat_page = shape[1] == 1
    solid = (shape[0], shape[2], shape[3], 1) if flat_page else shape
    native = dtype.newbyteorder("=").str
    stored = Stored(native, solid, labels=labels, classes=classes if labels else None, c_order=True)
    decoder = partial(_decode, series=series, order=order, shape=solid)
    source: Source = Whole(path, stored, stamp, decoder)
    if flat_page:
        source = Flattened(source, 2)
    known = spacing[1:] if flat_page else spacing
    matrix = np.diag([*known, 1.0]) if affine is None else np.asarray(affine, np.float64)
    if affine is None:
        notes.append(
            "the file says nothing of sides: pages, rows and columns are taken as the axes of the world from 0"
        )
    meta = {"file": shown_path(path), "format": "TIFF", "dtype": dtype.name, "notes": tuple(notes)}
    return kind(source, space=lattice(source.shape[1:], matrix, path), meta=meta)


def _order(axes: str, sizes: tuple[int, ...], path: Path) -> tuple[tuple[int, ...], tuple[int, int, int, int]]:
    # which axes of the file become (C, D, H, W); all others have one element
    found: dict[str, int] = {}
    for k, (letter, size) in enumerate(zip(axes, sizes, strict=True)):
        place = letter if letter in "YX" else "D" if letter in _DEPTH else "C" if letter in _CHANNELS else "?"
        if size == 1 and letter not in "YX":
            continue
        if place == "?" or place in found:
            due = "pages, rows, columns and one kind of channels"
            raise _refuse(path, "the file has axes that are not read", f"axes {axes} of {sizes}", due)
        found[place] = k
    if "Y" not in found or "X" not in found:
        raise _refuse(path, "the file holds no picture", f"axes {axes} of {sizes}", "rows and columns")
    order = tuple(found[place] for place in "CDYX" if place in found)
    c, d = (sizes[found[place]] if place in found else 1 for place in "CD")
    return order, (c, d, sizes[found["Y"]], sizes[found["X"]])


def _decode(path: Path, *, series: int, order: tuple[int, ...], shape: tuple[int, int, int, int]) -> Block:
    with _opened(path) as tiff:
        chosen = tiff.series[series]
        for page in chosen.pages:
            # absent strips and pages, and pages in other files, would come out as zeros
            if page is None or 0 in page.databytecounts or 0 in page.dataoffsets or not page.dataoffsets:
                raise _refuse(path, "a page of the file is absent", "a page without pixels", "all pages in one file")
        array = np.asarray(chosen.asarray())
        gone = [k for k in range(array.ndim) if k not in order]
        turned = array.transpose([*order, *gone])  # a damaged page may decode to less than it says
        return turned.reshape(shape).astype(array.dtype.newbyteorder("="), copy=False)


def _spacing(tiff: Any, page: Any, notes: list[str]) -> list[float]:
    # millimetres between pages, rows and columns
    found = {"Z": 1.0, "Y": 0.0, "X": 0.0}
    ome = str(tiff.ome_metadata or "")
    if ome:
        pixels = ome[ome.find("<Pixels") :]
        facts: dict[str, dict[str, str]] = {"": {}, "Unit": {}}
        for axis, unit, value in _SIZE.findall(pixels[: pixels.find(">")]):
            facts[unit][axis] = value
        for axis, value in facts[""].items():
            scale = _UNITS.get(facts["Unit"].get(axis, "µm"))
            found[axis] = _positive(value) * (scale or 0.0)
    imagej = tiff.imagej_metadata or {}
    unit = _UNITS.get(str(imagej.get("unit", "")).strip().lower())
    code = int(page.tags["ResolutionUnit"].value) if "ResolutionUnit" in page.tags else 2
    scale = unit if imagej else {2: 25.4, 3: 10.0}.get(code)
    if not found["X"] and scale:
        for axis in "YX":
            tag = page.tags.get(f"{axis}Resolution")
            many, one = tag.value if tag is not None else (0, 1)
            found[axis] = scale * one / many if many and one else 0.0
        found["Z"] = _positive(str(imagej.get("spacing", 0))) * scale or found["Z"]
    if not found["X"] or not found["Y"]:
        notes.append("the file says nothing of spacing: 1 mm is assumed")
        found = {"Z": 1.0, "Y": 1.0, "X": 1.0}
    return [found[axis] or 1.0 for axis in "ZYX"]


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 < value < float("inf") else 0.0


def _refuse(path: Path, what: str, found: str, due: str) -> BadFile:
    return BadFile(what, where=path, found=found, due=due, mend="Convert the file with the program that made it.")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    # whatever tifffile raises on a damaged file becomes our error; other files, which OME may name, stay shut
    tifffile = need("tifffile", "read and write TIFF files")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it reports damage there, with full paths
    try:
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            yield tiff
    except (MedframeError, MemoryError):
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {error}".replace(str(path), path.name)
        raise BadFile(
            "the file is damaged or no TIFF",
            where=path,
            found=found[:200],
            due="a TIFF file whose pages can be decoded",
            mend="Copy the file again from its source; some compressions need: pip install imagecodecs.",
        ) from None


def write(
    image: Image,
    path: Path,
    *,
    overwrite: bool = False,
    dtype: torch.dtype | str | None = None,
    on_loss: OnLoss = "raise",
) -> None:
    """Write an image as OME-TIFF with its spacing; the file appears whole or not at all.

    A TIFF has no room for sides and origin: the image must lie along the axes of the world from 0.

    Args:
        image: of two or three axes.
        path: ends in .tif or .tiff.
        overwrite: replace a file that stands there.
        dtype: of the file: an integer type of 8 to 32 bits, float32 or float64.
        on_loss: "raise", "round" or "clip", where values do not fit `dtype`; see `fit`.

    Raises:
        BadArgument: the place would be lost.
        BadVoxels: a value would be lost.
        WriteFailed: the disk is full, the name is taken, and the like.
    """
    check_on_loss(on_loss)
    spacing = image.space.spacing
    if image.ndim == 1 or not np.array_equal(image.affine, np.diag([*spacing, 1.0])):
        raise BadArgument(
            "a TIFF file cannot hold where the image lies",
            where=path,
            found=str(image.space),
            due="two or three axes along those of the world, from 0",
            mend="Write a volume format such as NIfTI, or drop the place: Image(image.data).",
        )
    voxels = voxels_of(image)
    voxels = fit(voxels, target_dtype(image, voxels, dtype, _WRITTEN, "TIFF"), on_loss, path)
    axes = "CYX" if image.ndim == 2 else "CZYX"
    facts: dict[str, Any] = {"axes": axes}
    for axis, mm in zip(axes[1:], spacing, strict=True):
        facts |= {f"PhysicalSize{axis}": float(mm), f"PhysicalSize{axis}Unit": "mm"}
    out = io.BytesIO()
    tifffile = need("tifffile", "read and write TIFF files")
    tifffile.imwrite(out, voxels, ome=True, photometric="minisblack", metadata=facts)
    with atomic_write(path, overwrite=overwrite) as stream:
        stream.write(out.getbuffer())
