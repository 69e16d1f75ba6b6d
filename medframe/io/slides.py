"""Whole-slide pyramids (.svs, .ndpi, .mrxs and others): one level, read by window; OpenSlide decodes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument, BadFile, BadLabel, MedframeError, shown_path
from medframe.base.extras import need
from medframe.base.sizes import check_size
from medframe.image import Image, LabelMap
from medframe.io.gzip_stream import check_holds
from medframe.io.raw import check_stamp
from medframe.io.reading import Stamp, reading, stamp_of
from medframe.io.text_header import lattice

__all__ = ["read"]

_IN_FOLDERS = (".mrxs", ".vms", ".vmu")  # their pixels lie in other files

_PER_UNIT = {"inch": 25.4, "centimeter": 10.0}


def read(path: Path, kind: type[Image], *, level: int = 0) -> Image:
    """Read one level of a slide as a 2-D image (3, H, W); only windows that are asked for are decoded.

    Pixels outside the scanned area are white. The affine comes from the slide's microns per pixel, and the levels of
    one slide lie on each other in the world; the first axis is that of the rows.

    Args:
        path: of the slide.
        kind: Image.
        level: of the pyramid; 0 is the finest.

    Raises:
        BadFile: OpenSlide cannot read the file.
        BadLabel: a label map was asked for.
        TooLarge: the file is too small for the level it claims.
        MissingPackage: OpenSlide is not installed.
    """
    if issubclass(kind, LabelMap):
        raise BadLabel("a slide is a picture in colour", where=path, found="RGB", due="an Image", mend="Read an Image.")
    stamp = stamp_of(path)
    notes: list[str] = []
    with reading(path), _opened(path) as slide:
        if not 0 <= level < slide.level_count:
            raise BadArgument("no such level", where=path, found=level, due=f"0 to {slide.level_count - 1}")
        width, height = slide.level_dimensions[level]
        full_width, full_height = slide.level_dimensions[0]
        spacing = _spacing(dict(slide.properties), notes)
        levels = slide.level_count
    if path.suffix.lower() not in _IN_FOLDERS:
        check_holds(3 * width * height, stamp[0], path)
    factors = (full_height / height, full_width / width)
    affine = np.eye(3)
    for k, (mm, factor) in enumerate(zip(spacing, factors, strict=True)):
        affine[k, k] = mm * factor
        affine[k, 2] = mm * (factor - 1) / 2  # the centre of a coarse pixel lies amid the fine ones it covers
    notes.append("a slide says nothing of sides: rows and columns are taken as the axes of the world")
    meta = {
        "file": shown_path(path),
        "format": "whole slide",
        "dtype": "uint8",
        "level": level,
        "levels": levels,
        "notes": tuple(notes),
    }
    source = SlideSource(path, stamp, (3, height, width), level, factors)
    return kind(source, space=lattice((height, width), affine, path), meta=meta)


@dataclass(frozen=True, eq=False)
class SlideSource:
    """Pixels of one level of a slide.

    Args:
        path: of the slide.
        stamp: size and modification time when the header was read.
        shape: (3, H, W) of the level.
        level: of the pyramid.
        factors: pixels of level 0 for one of this level, per axis.
    """

    path: Path
    stamp: Stamp
    shape: tuple[int, ...]
    level: int
    factors: tuple[float, float]

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def read(self, window: tuple[slice, ...]) -> Tensor:
        """(3, *window).

        Raises:
            BadFile: the file is damaged, or changed after its header was read.
            TooLarge: the window passes the image limit.
        """
        (top, bottom, down), (left, right, across) = (w.indices(n) for w, n in zip(window, self.shape[1:], strict=True))
        check_size((4, max(bottom - top, 1), max(right - left, 1)), 1, where=self.path)
        check_stamp(self.path, self.stamp)
        place = (round(left * self.factors[1]), round(top * self.factors[0]))
        with reading(self.path), _net(self.path):
            pixels = np.array(self._slide.read_region(place, self.level, (right - left, bottom - top)))
        pixels[pixels[..., 3] == 0] = 255
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels[::down, ::across, :3], -1, 0)))

    @cached_property
    def _slide(self) -> Any:
        return need("openslide", "read whole slides").OpenSlide(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_slide"}


def _spacing(facts: dict[str, str], notes: list[str]) -> tuple[float, float]:
    # millimetres between rows and columns
    found = []
    for axis in "yx":
        microns = _number(facts.get(f"openslide.mpp-{axis}"))
        many = _number(facts.get(f"tiff.{axis.upper()}Resolution"))
        unit = _PER_UNIT.get(facts.get("tiff.ResolutionUnit", ""), 0.0)
        found.append(microns / 1000 if microns else unit / many if many else 0.0)
    if not all(found):
        notes.append("the slide says nothing of spacing: 1 mm a pixel is assumed")
        return 1.0, 1.0
    return found[0], found[1]


def _number(text: str | None) -> float:
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if 0 < value < float("inf") else 0.0


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    openslide = need("openslide", "read whole slides")
    with _net(path), openslide.OpenSlide(path) as slide:
        yield slide


@contextmanager
def _net(path: Path) -> Iterator[None]:
    try:
        yield
    except (MedframeError, MemoryError):
        raise
    except Exception as error:
        raise BadFile(
            "the slide is damaged or of an unknown kind",
            where=path,
            found=f"{type(error).__name__}: {error}".replace(str(path), path.name)[:200],
            due="a whole slide that OpenSlide reads",
            mend="Copy the file again from its source, with the files beside it.",
        ) from None
