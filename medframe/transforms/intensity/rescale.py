"""RescaleIntensity: one range of values onto another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.base.rng import Rng
from medframe.transforms.base import Intensity, Params
from medframe.transforms.intensity.channels import groups, not_finite


@dataclass(frozen=True, repr=False)
class RescaleIntensity(Intensity):
    """Map a range of values linearly onto another.

    The range it starts from is given (`source`, such as a CT window), or lies between two percentiles of the image, or
    is the image's own. Where that range is empty, as in a constant image, every voxel becomes the low end of `out`.

    Args:
        out: lowest and highest value to map onto; the first may be the larger, which inverts.
        source: lowest and highest value to map from.
        percentiles: instead of `source`, two numbers from 0 to 100; exact, interpolated as `numpy.percentile` does.
        clip: keep what lies outside the range at its ends.
        per_channel: measure each channel on its own instead of all together.

    Raises:
        BadVoxels: when the range is measured on voxels that are NaN or infinite.
    """

    out: tuple[float, float] = (0.0, 1.0)
    source: tuple[float, float] | None = None
    percentiles: tuple[float, float] | None = None
    clip: bool = True
    per_channel: bool = True

    def check(self) -> None:
        if len(self.out) != 2:
            raise BadArgument("RescaleIntensity: out is two numbers", found=self.out)
        if self.source is not None and self.percentiles is not None:
            raise BadArgument("RescaleIntensity takes a source range or percentiles, not both", found=repr(self))
        if self.source is not None and not (len(self.source) == 2 and self.source[0] < self.source[1]):
            raise BadArgument("RescaleIntensity: source is (lowest, highest)", found=self.source)
        at = self.percentiles
        if at is not None and not (len(at) == 2 and 0 <= at[0] < at[1] <= 100):
            due = "(low, high) within 0 to 100"
            raise BadArgument("RescaleIntensity: percentiles are out of order", found=at, due=due)

    def apply(self, data: Tensor, params: Params, rng: Rng) -> Tensor:
        out = torch.empty_like(data, memory_format=torch.contiguous_format)
        start, end = self.out
        for where, part in groups(data, self.per_channel):
            lo, hi = self.source or self._measured(part)
            scale = (end - start) / (hi - lo) if hi > lo else 0.0
            # measured from lo, so that lo itself lands on the low end to the bit
            torch.sub(part.clamp(lo, hi) if self.clip else part, lo, out=out[where])
            out[where].mul_(scale).add_(start)
            if self.clip:
                out[where].clamp_(min(start, end), max(start, end))  # rounding may have passed the other end
        return out

    def _measured(self, values: Tensor) -> tuple[float, float]:
        if self.percentiles is None:
            lo, hi = (float(v) for v in torch.aminmax(values))
        else:
            # torch.quantile refuses more than 16 million elements; this partitions instead of sorting
            array = values.detach().cpu().float().numpy().ravel()
            with np.errstate(invalid="ignore"):  # infinities are told below
                lo, hi = (float(v) for v in np.percentile(array, self.percentiles))
        if not np.isfinite(hi - lo):
            raise not_finite(values)
        return lo, hi
