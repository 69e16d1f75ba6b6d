"""Sources of voxels that lie in DICOM frames: a window reads the files and rows it touches, and no others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.errors import BadLabel
from medframe.base.sizes import check_size
from medframe.geometry import Interpolation, Source, Space, Warp, resample
from medframe.io.dicom.frames import Frame
from medframe.io.dicom.pixels import PixelReader, values
from medframe.io.stored import reorder

Window = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class FrameSource:
    """Frames as (C, columns, rows, slices): a channel a volume, or a colour.

    Pickled, it is paths and numbers, no voxels. Compressed files are decoded anew for each window.

    Args:
        volumes: frames by volume and slice.
        dtype_name: NumPy's name of what the voxels become; see `pixels.values_dtype`.
        where: of messages.
        classes: labels must be 0 .. classes - 1; None does not ask.
    """

    volumes: tuple[tuple[Frame, ...], ...]
    dtype_name: str
    where: Path
    classes: int | None = None

    @property
    def samples(self) -> int:
        return self.volumes[0][0].stored.encoding.samples

    @property
    def shape(self) -> tuple[int, ...]:
        plane = self.volumes[0][0].plane
        return (len(self.volumes) * self.samples, plane.columns, plane.rows, len(self.volumes[0]))

    @property
    def dtype(self) -> torch.dtype:
        return torch.from_numpy(np.empty(0, self.dtype_name)).dtype

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def read(self, window: Window) -> Tensor:
        """(C, *window).

        Raises:
            BadFile: a file is damaged, or changed after its header was read.
            BadLabel: a label is not among the classes.
            MissingPackage: a decoder is not installed.
            TooLarge: the window passes the image limit.
        """
        _, *sizes = self.shape
        across, down, through = (range(n)[s] for n, s in zip(sizes, window, strict=True))
        dtype = np.dtype(self.dtype_name)
        shape = (self.shape[0], len(through), len(down), len(across))
        check_size([max(1, n) for n in shape], dtype.itemsize, where=self.where)
        block = np.empty(shape, dtype)
        reader = PixelReader()
        samples = self.samples
        if block.size:
            rows = slice(min(down), max(down) + 1)
            for volume, frames in enumerate(self.volumes):
                for place, k in enumerate(through):
                    frame = frames[k]
                    part = reader.read(frame, rows)[:, :: down.step, _as_slice(across)]
                    found = values(part, frame.stored.encoding, frame.rescale, dtype)
                    self._check(found, frame)
                    block[volume * samples : (volume + 1) * samples, place] = found
        out = np.empty((shape[0], len(across), len(down), len(through)), dtype)
        if out.size:
            reorder(block.transpose(0, 3, 2, 1), out, dtype)
        return torch.from_numpy(out)

    def _check(self, found: NDArray[Any], frame: Frame) -> None:
        if self.classes is None:
            return
        bad = (found < 0) | (found >= self.classes)
        if bad.any():
            raise BadLabel(
                "a label is not among the declared classes",
                where=frame.plane.where,
                found=f"label {int(found[bad].flat[0])}",
                due=f"0 to {self.classes - 1}",
                mend="Declare all classes, or map the labels before.",
            )


@dataclass(frozen=True, eq=False)
class Between:
    """An even stack read from an uneven one: each slice is blended from the two that lie around it.

    Args:
        source: the slices there are.
        places: where each of them lies among the slices of the even stack, increasing.
        count: slices of the even stack.
        labels: take the nearer slice rather than a blend.
    """

    source: FrameSource
    places: tuple[float, ...]
    count: int
    labels: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.source.shape[:-1], self.count)

    @property
    def dtype(self) -> torch.dtype:
        if self.labels:
            return self.source.dtype
        return torch.float64 if self.source.dtype == torch.float64 else torch.float32

    @property
    def device(self) -> torch.device:
        return self.source.device

    def read(self, window: Window) -> Tensor:
        """(C, *window); see `FrameSource.read` for errors."""
        at = np.arange(self.count)[window[-1]].astype(float)
        if not len(at):
            return self.source.read((*window[:-1], slice(0, 0))).to(self.dtype)
        places = np.array(self.places)
        upper = np.clip(np.searchsorted(places, at), 1, len(places) - 1)
        lower = upper - 1
        weight = np.clip((at - places[lower]) / (places[upper] - places[lower]), 0, 1)
        first, last = int(lower.min()), int(upper.max()) + 1
        slab = self.source.read((*window[:-1], slice(first, last)))
        if self.labels:
            nearest = np.where(weight < 0.5, lower, upper) - first
            return slab[..., torch.from_numpy(nearest)].contiguous()
        below, above = slab[..., torch.from_numpy(lower - first)], slab[..., torch.from_numpy(upper - first)]
        share = torch.from_numpy(weight)
        blend = below.double() * (1 - share) + above.double() * share
        return blend.to(self.dtype).contiguous()


@dataclass(frozen=True, eq=False)
class Resampled:
    """A source read on another lattice of its world; beyond its edge, an image's edge voxel goes on and labels are 0.

    Args:
        source: on `space`.
        space: where its voxels lie.
        target: where they are wanted.
        interpolation: how values between voxels are made.
    """

    source: Source
    space: Space
    target: Space
    interpolation: Interpolation

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.source.shape[0], *self.target.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.source.dtype

    @property
    def device(self) -> torch.device:
        return self.source.device

    def read(self, window: Window) -> Tensor:
        """(C, *window); see `FrameSource.read` for errors."""
        spans = [range(n)[s] for n, s in zip(self.target.shape, window, strict=True)]
        part = self.target.window([s.start for s in spans], [len(s) for s in spans])
        warp = Warp.between(self.space, part)
        how = self.interpolation
        return resample(self.source, warp, replace(how, border="border") if how.order else how)


def _as_slice(span: range) -> slice:
    stop = span.stop if span.stop >= 0 else None
    return slice(span.start, stop, span.step)
