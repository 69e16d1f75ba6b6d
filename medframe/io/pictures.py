"""PNG, JPEG and BMP pictures, as 2-D images (C, H, W); Pillow decodes them.

A picture says nothing of place: its world is one millimetre a pixel, rows along the first axis, and a note says so.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from medframe.base.errors import BadArgument, BadFile, BadLabel, MedframeError, TooLarge, shown_path
from medframe.base.extras import need
from medframe.base.files import atomic_write
from medframe.base.sizes import check_size
from medframe.image import Image, LabelMap
from medframe.io.gzip_stream import check_bomb, check_holds
from medframe.io.loss import OnLoss, check_on_loss, fit
from medframe.io.png_check import check_png
from medframe.io.raw import Flattened, Whole
from medframe.io.reading import reading, stamp_of
from medframe.io.stored import Block, Stored
from medframe.io.text_header import lattice
from medframe.io.writing import target_dtype, voxels_of

__all__ = ["read", "write"]

_FORMATS = ("PNG", "JPEG", "BMP")
# Pillow's modes: dtype and channels of what the file stores
_MODES = {"1": ("u1", 1), "L": ("u1", 1), "LA": ("u1", 2), "RGB": ("u1", 3), "RGBA": ("u1", 4), "P": ("u1", 1)}
_MODES |= {"I;16": ("u2", 1), "I;16B": ("u2", 1), "I;16L": ("u2", 1)}
_UNKNOWN = "the picture says nothing of spacing: 1 mm a pixel is assumed"
_COPY = "Copy the file again from its source."


def read(path: Path, kind: type[Image], *, affine: ArrayLike | None = None, classes: int | None = None) -> Image:
    """Read a picture; the pixels are decoded when they are asked for.

    Values are those the file stores, 16-bit ones included; grey levels of 1, 2 or 4 bits are not stretched to 255. The
    orientation of EXIF is followed, as viewers do. The colours of a palette are looked up for an Image; a LabelMap gets
    the palette's numbers, which is how label pictures are stored. Transparency is a channel like the others.

    Args:
        path: .png, .jpg, .jpeg or .bmp.
        kind: Image or LabelMap.
        affine: (3, 3) index -> world mm, where it is known.
        classes: label maps must hold 0 .. classes - 1.

    Raises:
        BadFile: damaged, truncated, animated, or of a mode that is not read.
        BadLabel: a label map in a JPEG file, whose values are only roughly those that were written.
        TooLarge: more pixels than the limits allow.
        MissingPackage: Pillow is not installed.
    """
    labels = issubclass(kind, LabelMap)
    if classes is not None and (not labels or classes < 1):
        raise BadArgument("classes is a positive count, and of label maps", found=classes, where=path)
    stamp = stamp_of(path)
    with reading(path), _opened(path) as picture:
        mode, raw, notes = picture.mode, _raw_mode(picture), []
        width, height = picture.size
        # before anything is decoded; eight pixels of one bit a byte at most, and JPEG and BMP pack less than PNG
        check_holds(height * width * (len(mode) if mode.isalpha() else 1) // 8, stamp[0], path)
        turned = picture.getexif().get(0x0112, 1)
        if getattr(picture, "n_frames", 1) > 1:
            raise _refuse(path, "an animated picture", f"{picture.n_frames} frames", "one picture", "Save one frame.")
        palette = picture.palette.mode if mode == "P" and picture.palette else ""
    if labels and picture.format == "JPEG":
        raise BadLabel(
            "a JPEG holds no labels, since its values are only roughly those that were written",
            where=path,
            found="JPEG",
            due="PNG, or a volume format",
            mend="Store label maps without loss.",
        )
    if mode not in _MODES or (mode not in ("I;16", "I;16B", "I;16L") and ";16" in raw):
        found = f"mode {mode}" + (f", stored as {raw}" if ";16" in raw else "")
        due = "grey of up to 16 bits, or RGB(A) and palette of 8"
        raise _refuse(path, "the picture's mode is not read", found, due, "Convert it to a TIFF file.")
    dtype, channels = _MODES[mode]
    expand = mode == "P" and not labels
    if expand:
        channels = 4 if palette == "RGBA" else 3
        notes.append("the palette's colours were looked up")
    if turned in range(2, 9):
        notes.append(f"turned as its EXIF orientation {turned} says")
        width, height = (height, width) if turned >= 5 else (width, height)
    if affine is None:
        notes.append(_UNKNOWN)
    shape = (channels, height, width, 1)
    size = check_size(shape, np.dtype(dtype).itemsize, where=path)
    check_bomb(size, stamp[0], path)
    stored = Stored(dtype, shape, labels=labels, classes=classes if labels else None, c_order=True)
    source = Flattened(Whole(path, stored, stamp, partial(_decode, expand=expand)), 2)
    matrix = np.eye(3) if affine is None else np.asarray(affine, np.float64)
    meta = {
        "file": shown_path(path),
        "format": str(picture.format),
        "dtype": np.dtype(dtype).name,
        "notes": tuple(notes),
    }
    return kind(source, space=lattice((height, width), matrix, path), meta=meta)


def _refuse(path: Path, what: str, found: str, due: str, mend: str) -> BadFile:
    return BadFile(what, where=path, found=found, due=due, mend=mend)


def _raw_mode(picture: Any) -> str:
    # how the file stores what Pillow gives as `mode`: a 16-bit colour picture would be cut to 8 bits without a word
    tiles = picture.tile or [None]
    tile = tiles[0]
    arguments = tile[3] if tile is not None and len(tile) > 3 else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _decode(path: Path, *, expand: bool) -> Block:
    with _opened(path) as picture:
        if picture.format == "PNG":
            check_png(path)
        raw = _raw_mode(picture)
        picture.load()
        turned = _pillow("ImageOps").exif_transpose(picture)
        if expand:
            turned = turned.convert("RGBA" if turned.palette.mode == "RGBA" else "RGB")
        pixels: NDArray[Any] = np.asarray(turned)
    pixels = pixels.astype("u2") if pixels.dtype.kind in "ui" and pixels.dtype.itemsize == 2 else pixels.astype("u1")
    steps = {"L;2": 85, "L;4": 17}  # Pillow stretches few grey levels to 255
    pixels = pixels // steps.get(raw, 1)
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return planes[..., None]


def _pillow(module: str) -> ModuleType:
    logging.getLogger("PIL").setLevel(logging.INFO)  # below that it reports every text and date of a picture
    return need(f"PIL.{module}", "read and write PNG, JPEG and BMP files")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    # whatever Pillow raises on a damaged file becomes our error
    pillow = _pillow("Image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pillow.open(path, formats=_FORMATS) as picture:
                yield picture
    except MedframeError:
        raise
    except pillow.DecompressionBombError as error:
        raise TooLarge(
            "the picture has more pixels than the limit allows",
            where=path,
            found=str(error).partition(",")[0],
            due=f"at most {2 * (pillow.MAX_IMAGE_PIXELS or 0)} pixels, Pillow's limit",
            mend="Set PIL.Image.MAX_IMAGE_PIXELS higher if this is meant.",
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise almost anything
        found = f"{type(error).__name__}: {error}".replace(str(path), path.name)
        raise _refuse(path, "the picture is damaged or no picture", found, "a PNG, JPEG or BMP file", _COPY) from None


_WRITTEN = {".png": ("uint8", "uint16"), ".bmp": ("uint8",)}


def write(
    image: Image,
    path: Path,
    *,
    overwrite: bool = False,
    dtype: torch.dtype | str | None = None,
    on_loss: OnLoss = "raise",
) -> None:
    """Write a 2-D image as .png or .bmp; the file appears whole or not at all. JPEG would change its values.

    Pictures have no room for an affine, so the image must lie at its identity.

    Args:
        image: of two axes, or three with the last of one voxel; one, three or four channels of 8 bits, or one of 16.
        path: its end names the format.
        overwrite: replace a file that stands there.
        dtype: "uint8", or "uint16" for PNG.
        on_loss: "raise", "round" or "clip", where values do not fit `dtype`; see `fit`.

    Raises:
        BadArgument: the affine, a channel or the dtype would be lost.
        BadVoxels: a value would be lost.
        WriteFailed: the disk is full, the name is taken, and the like.
    """
    check_on_loss(on_loss)
    suffix = path.suffix.lower()
    if suffix not in _WRITTEN:
        raise BadArgument(
            "JPEG files are read, not written, since they change the values", where=path, due=".png, .bmp"
        )
    if image.ndim != 2 or not np.array_equal(image.affine, np.eye(3)):
        raise BadArgument(
            "a picture cannot hold where the image lies",
            where=path,
            found=str(image.space),
            due="a 2-D image of 1 mm pixels from 0",
            mend="Write a volume format, or drop the place: Image(image.data).",
        )
    voxels = voxels_of(image)
    target = target_dtype(image, voxels, dtype, [np.dtype(name) for name in _WRITTEN[suffix]], path.suffix)
    if image.channels not in ((1,) if target.itemsize == 2 else (1, 3, 4) if suffix == ".png" else (1, 3)):
        raise BadArgument("a picture has no such number of channels", where=path, found=image.channels, due="1, 3 or 4")
    pixels = fit(voxels, target, on_loss, path)
    picture = _pillow("Image").fromarray(
        np.ascontiguousarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
    )
    with atomic_write(path, overwrite=overwrite) as stream:
        picture.save(stream, format=suffix[1:].upper())
