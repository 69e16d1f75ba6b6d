"""GaussianNoise: noise added to every voxel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.ranges import Range, check_range
from medframe.base.rng import Rng
from medframe.kernels import normal_noise
from medframe.transforms.base import Intensity, Params, View


@dataclass(frozen=True, repr=False)
class GaussianNoise(Intensity):
    """Add independent normal noise to every voxel.

    It is made where the image is, and is the same on a CPU and on a GPU to within 2e-6 of its standard deviation.

    Args:
        std: of the noise, in the image's own units, the same for all channels. Behind `Normalize` that is in standard
            deviations of the image, which is what the default is made for.
    """

    std: Range = (0.0, 0.1)

    def check(self) -> None:
        check_range("GaussianNoise: std", self.std, 0)

    @property
    def random(self) -> bool:
        return True

    def draw(self, view: View, rng: Rng) -> float:
        return float(rng.uniform(self.std))

    def apply(self, data: Tensor, params: Params, rng: Rng) -> Tensor:
        dtype = data.dtype if data.dtype in (torch.float16, torch.bfloat16) else torch.float32
        noise = normal_noise(data.shape, rng.seed, device=data.device, dtype=dtype).to(data.dtype)
        return noise.mul_(params).add_(data)
