"""A source of voxels that lie as one block in a file, plain or gzipped; they are read when asked for, by window."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument, BadFile, BadGeometry
from medframe.geometry import Source, Space
from medframe.io.gzip_stream import GZIP, inflate
from medframe.io.reading import Stamp, reading, stamp_of
from medframe.io.stored import Block, Stored


@dataclass(frozen=True, eq=False)
class RawSource:
    """Voxels in a file.

    A plain file is memory-mapped, and a window touches only its own pages. A gzipped one is inflated and checked as a
    whole when it is first read, and the voxels are kept. Pickled, a source is its path and these facts, no voxels.

    Args:
        path: the file that holds the block.
        offset: bytes before the block, in the inflated stream if it is gzipped.
        stored: what the bytes mean.
        gzipped: whether the file is a gzip stream.
        stamp: size and modification time when the header was read; a file changed since is not read.
        start: where in the file the compressed stream begins.
        wrapper: of the compressed stream: GZIP or ZLIB.
    """

    path: Path
    offset: int
    stored: Stored
    gzipped: bool
    stamp: Stamp
    start: int = 0
    wrapper: int = GZIP

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.stored.tensor_dtype

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def read(self, window: tuple[slice, ...]) -> Tensor:
        """(C, *window).

        Raises:
            BadFile: the file is damaged, or changed after its header was read.
            BadLabel: the voxels were to be labels and are not.
            TooLarge: the window passes the image limit.
        """
        if self.gzipped:
            return self._whole[(slice(None), *window)]
        check_stamp(self.path, self.stamp)
        with reading(self.path):
            count = math.prod(self.shape)
            raw = np.memmap(self.path, dtype=self.stored.dtype, mode="r", offset=self.offset, shape=(count,))
            part = self.stored.view(np.asarray(raw))[(slice(None), *window)]
            return self.stored.decode(part, [w.start or 0 for w in window], self.path)

    @cached_property
    def _whole(self) -> Tensor:
        check_stamp(self.path, self.stamp)
        dtype = np.dtype(self.stored.dtype)
        with reading(self.path):
            size = math.prod(self.shape) * dtype.itemsize
            raw = inflate(self.path, self.offset, size, self.start, self.wrapper).view(dtype)
            return self.stored.decode(self.stored.view(raw), (0, 0, 0), self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_whole"}


@dataclass(frozen=True, eq=False)
class Whole:
    """Voxels that a decoder gives as a whole; decoded when first asked for, and kept.

    Args:
        path: the file.
        stored: what the decoder gives: (C, D, H, W) in this dtype.
        stamp: size and modification time when the header was read.
        decoder: takes the path; picklable, a function of a module or a partial of one.
    """

    path: Path
    stored: Stored
    stamp: Stamp
    decoder: Callable[[Path], Block]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.stored.tensor_dtype

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def read(self, window: tuple[slice, ...]) -> Tensor:
        """(C, *window).

        Raises:
            BadFile: the file is damaged, or changed after its header was read.
            BadLabel: the voxels were to be labels and are not.
            TooLarge: the voxels pass the image limit.
        """
        return self._whole[(slice(None), *window)]

    @cached_property
    def _whole(self) -> Tensor:
        check_stamp(self.path, self.stamp)
        with reading(self.path):
            block = self.decoder(self.path)
            if block.shape != self.stored.shape or block.dtype != np.dtype(self.stored.dtype):
                raise BadFile(
                    "the voxels are not what the header says",
                    where=self.path,
                    found=f"{block.shape} of {block.dtype}",
                    due=f"{self.stored.shape} of {self.stored.dtype}",
                    mend="The file is damaged; copy it again from its source.",
                )
            return self.stored.decode(block, (0, 0, 0), self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_whole"}


def check_stamp(path: Path, stamp: Stamp) -> None:
    """Raise BadFile where a file is no longer the one whose header was read."""
    if stamp_of(path) != stamp:
        raise BadFile(
            "the file changed after its header was read",
            where=path,
            found="another size or modification time",
            due="the file as it was",
            mend="Read it again; do not write to a file while it is in use.",
        )


@dataclass(frozen=True, eq=False)
class Flattened:
    """A source without its last spatial axes, which have one voxel each.

    Args:
        source: what is read.
        ndim: spatial axes that stay.
    """

    source: Source
    ndim: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape[: self.ndim + 1]

    @property
    def dtype(self) -> torch.dtype:
        return self.source.dtype

    @property
    def device(self) -> torch.device:
        return self.source.device

    def read(self, window: tuple[slice, ...]) -> Tensor:
        gone = len(self.source.shape) - 1 - self.ndim
        part = self.source.read((*window, *[slice(0, 1)] * gone))
        return part.reshape(part.shape[: self.ndim + 1])


def flat(space: Space, ndim: int, where: Path) -> Space:
    """A lattice without its last axes, which must have one voxel each and stand upright in the world.

    Raises:
        BadArgument: `ndim` is not 1 or 2.
        BadGeometry: the lattice is not flat.
    """
    if ndim not in (1, 2):
        raise BadArgument("a volume file has one to three axes", where=where, found=ndim, due="1, 2 or 3")
    affine = space.affine
    upright = not affine[:ndim, ndim:3].any() and not affine[ndim:3, :ndim].any()
    if math.prod(space.shape[ndim:]) != 1 or not upright:
        raise BadGeometry(
            f"the image is not {ndim}-D",
            where=where,
            found=f"{space}",
            due="one voxel along the last axes, and those upright in the world",
            mend="Read it with three axes.",
        )
    keep = [*range(ndim), 3]
    return Space(space.shape[:ndim], affine[np.ix_(keep, keep)])
