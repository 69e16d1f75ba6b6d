"""A source of voxels that lie as one block in a file, plain or gzipped; they are read when asked for, by window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadFile
from medframe.geometry import Source
from medframe.io.gzip_stream import inflate
from medframe.io.reading import Stamp, reading, stamp_of
from medframe.io.stored import Stored


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
    """

    path: Path
    offset: int
    stored: Stored
    gzipped: bool
    stamp: Stamp

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
        self._check_stamp()
        with reading(self.path):
            count = math.prod(self.shape)
            raw = np.memmap(self.path, dtype=self.stored.dtype, mode="r", offset=self.offset, shape=(count,))
            part = self.stored.view(np.asarray(raw))[(slice(None), *window)]
            return self.stored.decode(part, [w.start or 0 for w in window], self.path)

    @cached_property
    def _whole(self) -> Tensor:
        self._check_stamp()
        dtype = np.dtype(self.stored.dtype)
        with reading(self.path):
            size = math.prod(self.shape) * dtype.itemsize
            raw = inflate(self.path, self.offset, size).view(dtype)
            return self.stored.decode(self.stored.view(raw), (0, 0, 0), self.path)

    def _check_stamp(self) -> None:
        if stamp_of(self.path) != self.stamp:
            raise BadFile(
                "the file changed after its header was read",
                where=self.path,
                found="another size or modification time",
                due="the file as it was",
                mend="Read it again; do not write to a file while it is in use.",
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_whole"}


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
