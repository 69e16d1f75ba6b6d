"""BrightnessContrast: intensities spread, scaled and shifted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.ranges import Range, check_range
from medframe.base.rng import Rng
from medframe.geometry.space import Array
from medframe.transforms.base import Intensity, View
from medframe.transforms.intensity.channels import draw_channels, groups, moments, number_of


@dataclass(frozen=True, repr=False)
class BrightnessContrast(Intensity):
    """Spread intensities about each channel's mean (contrast), then scale them (brightness), then shift them.

    Each part is off at its neutral value: 1, 1 and 0.

    Args:
        brightness: factor of all intensities, zero staying zero; behind `Normalize`, where the mean is 0, that is the
            spread as well.
        contrast: factor about the channel's mean.
        shift: added to all intensities, in the image's own units.
        preserve_range: keep contrast from passing the lowest and highest voxel the channel had.
        per_channel: draw anew for each channel.
    """

    brightness: Range = (0.75, 1.25)
    contrast: Range = (0.75, 1.25)
    shift: Range = 0.0
    preserve_range: bool = True
    per_channel: bool = False

    def check(self) -> None:
        check_range("BrightnessContrast: brightness", self.brightness, 0)
        check_range("BrightnessContrast: contrast", self.contrast, 0)
        check_range("BrightnessContrast: shift", self.shift)

    def draw(self, view: View, rng: Rng) -> tuple[Array, Array, Array]:
        return (
            draw_channels(view, rng.fork("brightness"), self.brightness, self.per_channel),
            draw_channels(view, rng.fork("contrast"), self.contrast, self.per_channel),
            draw_channels(view, rng.fork("shift"), self.shift, self.per_channel),
        )

    def apply(self, data: Tensor, params: tuple[Array, Array, Array], rng: Rng) -> Tensor:
        out = torch.empty_like(data, memory_format=torch.contiguous_format)
        for where, part in groups(data, True):
            brightness, contrast, shift = (number_of(values, where) for values in params)
            offset = 0.0
            limits: tuple[float, ...] = ()
            if contrast != 1:
                offset = moments(part)[0] * (1 - contrast)
                limits = tuple(float(v) for v in torch.aminmax(part)) if self.preserve_range else ()
            torch.mul(part, contrast, out=out[where])
            if offset:
                out[where].add_(offset)
            if limits:
                out[where].clamp_(*limits)
            if brightness != 1:
                out[where].mul_(brightness)
            if shift:
                out[where].add_(shift)
        return out
