"""GaussianBlur: smoothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.ranges import Range, check_range
from medframe.base.rng import Rng
from medframe.geometry.space import Array
from medframe.kernels import gaussian
from medframe.transforms.base import Intensity, View
from medframe.transforms.intensity.channels import draw_channels, groups, number_of


@dataclass(frozen=True, repr=False)
class GaussianBlur(Intensity):
    """Blur with a Gaussian, cut at three standard deviations; edge voxels go on beyond the edge.

    Args:
        sigma: standard deviation in voxels (an intensity step sees no millimetres), the same along all axes.
        per_channel: draw anew for each channel.
    """

    sigma: Range = (0.5, 1.0)
    per_channel: bool = False

    def check(self) -> None:
        check_range("GaussianBlur: sigma", self.sigma, 0, 1e3)

    def draw(self, view: View, rng: Rng) -> Array:
        return draw_channels(view, rng, self.sigma, self.per_channel)

    def apply(self, data: Tensor, params: Array, rng: Rng) -> Tensor:
        parts = [_smooth(part, number_of(params, where)) for where, part in groups(data, self.per_channel)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]


def _smooth(data: Tensor, sigma: float) -> Tensor:
    return gaussian(data, (sigma,) * (data.ndim - 1))
