"""Normalize: zero mean, unit standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.base.rng import Rng
from medframe.transforms.base import Intensity, Params
from medframe.transforms.intensity.channels import groups, moments

Pair = tuple[float, float]


@dataclass(frozen=True, repr=False)
class Normalize(Intensity):
    """Subtract the mean and divide by the standard deviation (of the population: divided by N).

    Voxels that are all equal become 0. For CT, give `clip`, `mean` and `std` as found over the training cases: then
    nothing is measured on the image itself.

    Args:
        nonzero: measure over voxels that are not 0, and leave the others at 0: for images whose background was removed.
        per_channel: measure each channel on its own instead of all together.
        mean: known beforehand: a number, or one a channel; default measured.
        std: as `mean`; above 0.
        clip: (lowest, highest) for all channels, or one such pair a channel; applied first.

    Raises:
        BadVoxels: when measuring voxels that are NaN or infinite.
    """

    nonzero: bool = False
    per_channel: bool = True
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] | None = None
    clip: Pair | tuple[Pair, ...] | None = None

    def check(self) -> None:
        if self.std is not None and not all(0 < s < float("inf") for s in _each(self.std)):
            raise BadArgument("Normalize: std is above 0", found=self.std)
        if not self.per_channel and any(isinstance(v, tuple) for v in (self.mean, self.std)):
            due = "one number, or per_channel=True"
            raise BadArgument("Normalize: numbers a channel for all channels together", found=repr(self), due=due)
        if self.clip is not None and not all(len(pair) == 2 and pair[0] < pair[1] for pair in self._clips):
            raise BadArgument("Normalize: clip is (lowest, highest)", found=self.clip)

    @property
    def _clips(self) -> tuple[Pair, ...]:
        if not self.clip:
            return ()
        return self.clip if isinstance(self.clip[0], tuple) else (self.clip,)

    def apply(self, data: Tensor, params: Params, rng: Rng) -> Tensor:
        for name, given in (("mean", _each(self.mean)), ("std", _each(self.std)), ("clip", self._clips)):
            if len(given) > 1 and len(given) != len(data):
                raise BadArgument(f"Normalize: one {name} a channel", found=given, due=f"{len(data)} of them")
        values = _clipped(data, self._clips)
        out = torch.empty_like(values, memory_format=torch.contiguous_format)
        for where, part in groups(values, self.per_channel):
            kept = (data[where] != 0).to(data.dtype) if self.nonzero else None
            mean, std = self._moments(part, kept, where.start)
            torch.sub(part, mean, out=out[where])
            out[where].mul_(1 / std if std > 0 else 0.0)
            if kept is not None:
                out[where].mul_(kept).add_(0.0)  # adding makes 0 of -0
        return out

    def _moments(self, values: Tensor, kept: Tensor | None, channel: int) -> tuple[float, float]:
        mean, std = _of_channel(self.mean, channel), _of_channel(self.std, channel)
        if mean is not None and std is not None:
            return mean, std
        found = moments(values, kept)
        return found[0] if mean is None else mean, found[1] if std is None else std


def _each(given: float | tuple[float, ...] | None) -> tuple[float, ...]:
    return () if given is None else given if isinstance(given, tuple) else (given,)


def _of_channel(given: float | tuple[float, ...] | None, channel: int) -> float | None:
    return given[min(channel, len(given) - 1)] if isinstance(given, tuple) else given


def _clipped(data: Tensor, clips: tuple[Pair, ...]) -> Tensor:
    if len(clips) < 2:
        return data.clamp(*clips[0]) if clips else data
    return torch.stack([channel.clamp(*pair) for channel, pair in zip(data, clips, strict=True)])
