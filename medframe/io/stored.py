"""Voxels as a file stores them, and how they become a tensor: byte order, scaling, axis order, labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.errors import BadLabel, BadVoxels
from medframe.base.sizes import check_size

Block = NDArray[Any]
Step = Callable[[Block, tuple[int, int, int, int]], Block]

_CHUNK = 1 << 18  # bytes turned at a time: small enough for the second-level cache
_WIDER = {"u2": "i4", "u4": "i8", "u8": "i8"}  # torch has these dtypes, but hardly an operation for them
_WHOLE_LIMIT = {2: 1 << 11, 4: 1 << 24, 8: 1 << 53}  # floats of so many bytes hold every whole number up to this


@dataclass(frozen=True)
class Stored:
    """What the bytes of one block of voxels mean.

    The dtype of the tensor follows from these facts alone, never from the voxels, so it is known before they are read:

    - integers without scaling keep their dtype; unsigned ones of 16 and 32 bits become int32 and int64, and those of
      64 bits int64 (values from 2^63 are refused);
    - floats without scaling keep their dtype;
    - scaled 8- and 16-bit integers become float32, or float64 where float32 would merge two stored values; all other
      scaled voxels become float64. The sum is done in double precision and rounded once;
    - labels of float files must be whole: floats of up to 32 bits become int32 (exact to 2^24), float64
      and scaled ones int64.

    Args:
        dtype: NumPy's name with byte order, such as ">i2".
        shape: (C, D, H, W).
        interleaved: the channels of a voxel stand together (RGB), rather than whole volumes after each other.
        slope: value = slope x stored + inter.
        inter: see slope.
        labels: the voxels are labels.
        classes: labels must be 0 .. classes - 1.
        c_order: the last axis runs fastest in the file, as in NumPy's files; the channels are whole volumes.
    """

    dtype: str
    shape: tuple[int, int, int, int]
    interleaved: bool = False
    slope: float = 1.0
    inter: float = 0.0
    labels: bool = False
    classes: int | None = None
    c_order: bool = False

    @property
    def scaled(self) -> bool:
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def tensor_dtype(self) -> torch.dtype:
        return torch.from_numpy(np.empty(0, self._result)).dtype

    @property
    def _result(self) -> np.dtype[Any]:
        stored = np.dtype(self.dtype).newbyteorder("=")
        if stored.kind == "b" and self.labels:
            return np.dtype("u1")
        if self.labels and (self.scaled or stored.kind == "f"):
            return np.dtype("i4" if not self.scaled and stored.itemsize <= 4 else "i8")
        if self.scaled:
            return np.dtype("f4" if stored.kind in "iu" and stored.itemsize <= 2 and self._float32_keeps() else "f8")
        return np.dtype(_WIDER.get(stored.str[1:], stored.str[1:]))

    def _float32_keeps(self) -> bool:
        # neighbouring stored values lie |slope| apart; float32 tells them apart where that spans two of its steps
        ends = np.iinfo(self.dtype)
        largest = max(abs(self.slope * ends.min + self.inter), abs(self.slope * ends.max + self.inter))
        if not 0 < largest < float(np.finfo(np.float32).max):
            return False
        return bool(abs(self.slope) >= 2 * np.spacing(np.float32(largest)))

    def view(self, raw: Block) -> Block:
        """Flat stored voxels as (C, D, H, W), without a copy; the first spatial axis runs fastest, unless `c_order`."""
        if self.c_order:
            return raw.reshape(self.shape)
        channels, *spatial = self.shape
        if self.interleaved:
            return raw.reshape((channels, *spatial), order="F")
        return raw.reshape((*spatial, channels), order="F").transpose(3, 0, 1, 2)

    def decode(self, block: Block, start: Sequence[int], where: str | os.PathLike[str]) -> Tensor:
        """A window of stored voxels as a contiguous tensor.

        Args:
            block: (C, *window), a part of what `view` gives.
            start: where the window begins, for messages.
            where: the file, for messages.

        Raises:
            BadLabel: a label is not whole, not finite, or not among the classes.
            BadVoxels: an integer is too large for what it becomes.
            TooLarge: the result passes the image limit.
        """
        check_size(block.shape, self._result.itemsize, where=where)
        out = np.empty(block.shape, self._result)
        work, step = self._step(start, where)
        try:
            with np.errstate(over="raise", under="ignore", invalid="ignore"):
                reorder(block, out, work, step)
        except FloatingPointError:
            raise BadVoxels(
                "the scaled voxels pass what double precision holds",
                where=where,
                found=f"slope {self.slope:g}, intercept {self.inter:g}",
                due="finite values",
                mend="The header's scaling is damaged; write the file again.",
            ) from None
        return torch.from_numpy(out)

    def _step(self, start: Sequence[int], where: str | os.PathLike[str]) -> tuple[np.dtype[Any], Step | None]:
        stored, result = np.dtype(self.dtype).newbyteorder("="), self._result
        fractional = self.scaled or stored.kind == "f"

        def at(bad: NDArray[np.bool_], corner: tuple[int, int, int, int]) -> tuple[tuple[int, ...], str]:
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            index = tuple(p + c + s for p, c, s in zip(place, corner, (0, *start), strict=True))
            return place, f"voxel {index[1:]}" + (f" of channel {index[0]}" if self.shape[0] > 1 else "")

        def step(values: Block, corner: tuple[int, int, int, int]) -> Block:
            if stored.kind in "iu" and stored.itemsize == 8 and (self.scaled or stored.kind == "u"):
                most = (1 << 53) if self.scaled else (1 << 63) - 1
                bad = (np.abs(values) > most) if self.scaled else values > most
                if bad.any():
                    place, index = at(bad, corner)
                    raise (BadLabel if self.labels else BadVoxels)(
                        "an integer is too large to be kept exactly",
                        where=where,
                        found=f"{values[place]} at {index}",
                        due=f"at most {most}",
                        mend="Renumber the labels, or store the values with fewer digits.",
                    )
            if self.scaled:
                values *= self.slope
                values += self.inter
            if self.labels and fractional:
                limit = 1 << 53 if self.scaled else _WHOLE_LIMIT[stored.itemsize]
                bad = ~((np.rint(values) == values) & (np.abs(values) <= limit))
                if bad.any():
                    place, index = at(bad, corner)
                    raise BadLabel(
                        "a label map holds a value that is no label",
                        where=where,
                        found=f"{float(values[place])!r} at {index}" + (", after scaling" if self.scaled else ""),
                        due=f"whole numbers up to {limit}",
                        mend="Resample label maps with the nearest neighbour; read probabilities as an Image.",
                    )
            if self.labels and self.classes is not None:
                bad = (values < 0) | (values >= self.classes)
                if bad.any():
                    place, index = at(bad, corner)
                    raise BadLabel(
                        "a label is not among the declared classes",
                        where=where,
                        found=f"label {int(values[place])} at {index}",
                        due=f"0 to {self.classes - 1}",
                        mend="Declare all classes, or map the labels before.",
                    )
            return values

        if fractional and (self.scaled or self.labels):
            return np.dtype("f8"), step
        if stored == np.dtype("u8") or (self.labels and self.classes is not None):
            return stored, step
        return result, None


def reorder(source: Block, target: Block, work: np.dtype[Any], step: Step | None = None) -> None:
    """Copy (C, D, H, W) voxels between arrays whose fastest axes differ, with `step` applied on the way.

    A plain strided copy of a volume misses the cache at almost every voxel. Here slabs go through a small buffer
    whose rows are padded, so that a column of it does not fall on one cache set.

    Args:
        source: read from; any strides, byte order and real dtype.
        target: written to; any strides.
        work: the dtype in which `step` sees the voxels.
        step: gets a slab (c, D, h, W) that it may change, and the index of its first voxel; returns what is written.
    """
    channels, nx, ny, nz = source.shape
    x_fast = abs(source.strides[1]) <= abs(source.strides[3])
    row, column = (nx, nz) if x_fast else (nz, nx)
    plane = nx * nz * work.itemsize
    ys = max(1, min(ny, _CHUNK // plane))
    cs = 1 if ys < ny else max(1, min(channels, _CHUNK // (plane * ny)))
    buffer = np.empty((cs, ys, column, row + 64 // work.itemsize + 1), work)[..., :row]
    into, back = ((0, 2, 3, 1), (0, 3, 1, 2)) if x_fast else ((0, 2, 1, 3), (0, 2, 1, 3))
    for c in range(0, channels, cs):
        for y in range(0, ny, ys):
            part = source[c : c + cs, :, y : y + ys]
            slab = buffer[: part.shape[0], : part.shape[2]]
            np.copyto(slab, part.transpose(into), casting="unsafe")
            turned = slab.transpose(back)
            if step is not None:
                turned = step(turned, (c, 0, y, 0))
            np.copyto(target[c : c + cs, :, y : y + ys], turned, casting="unsafe")
