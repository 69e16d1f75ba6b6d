"""Gamma: a power of the intensities."""

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
class Gamma(Intensity):
    """Raise intensities to a power, within the image's own range: lowest and highest voxel are taken as 0 and 1.

    With `retain` and `invert` this is the gamma augmentation of nnU-Net (Isensee et al., "nnU-Net: a self-configuring
    method for deep learning-based biomedical image segmentation", Nature Methods 2021,
    doi:10.1038/s41592-020-01008-z). Constant channels stay as they are.

    Args:
        gamma: the exponent: below 1 brightens what is dark, above 1 darkens it. `LogUniform` makes both as likely.
        retain: give the result the mean and standard deviation that the channel had before.
        invert: turn intensities upside down first, and back afterwards, which acts on the bright end.
        per_channel: draw anew for each channel. The range is each channel's own in any case.
    """

    gamma: Range = (0.7, 1.5)
    retain: bool = True
    invert: bool = False
    per_channel: bool = False

    def check(self) -> None:
        check_range("Gamma: gamma", self.gamma, 1e-3, 1e3)

    def draw(self, view: View, rng: Rng) -> Array:
        return draw_channels(view, rng, self.gamma, self.per_channel)

    def apply(self, data: Tensor, params: Array, rng: Rng) -> Tensor:
        half = data.dtype in (torch.float16, torch.bfloat16)
        out = torch.empty_like(data, dtype=torch.float32 if half else None, memory_format=torch.contiguous_format)
        for where, part in groups(data, True):
            lo, hi = (float(v) for v in torch.aminmax(part))
            if hi <= lo:
                out[where] = part
                continue
            power = torch.sub(part.to(out.dtype), hi if self.invert else lo, out=out[where])
            power.mul_((-1 if self.invert else 1) / (hi - lo)).clamp_(0, 1).pow_(number_of(params, where))
            start, scale = (hi, lo - hi) if self.invert else (lo, hi - lo)
            if self.retain:
                (mean, std), (new_mean, new_std) = moments(part), moments(power)
                scale = (-1 if self.invert else 1) * (std / new_std if new_std > 0 else 0.0)
                start = mean - scale * new_mean
            power.mul_(scale).add_(start)
        return out.to(data.dtype)
