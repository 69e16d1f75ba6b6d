"""LowResolution: what a coarser scan would have shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.base.ranges import Range, check_range
from medframe.base.rng import Rng
from medframe.geometry import homogeneous
from medframe.geometry.space import Array
from medframe.kernels import pull
from medframe.transforms.base import Intensity, View
from medframe.transforms.intensity.channels import draw_channels, groups, number_of


@dataclass(frozen=True, repr=False)
class LowResolution(Intensity):
    """Sample to fewer voxels by nearest neighbour and back to the same lattice, as nnU-Net's augmentation does
    (Isensee et al., Nature Methods 2021, doi:10.1038/s41592-020-01008-z).

    Args:
        zoom: the share of voxels kept along each axis, above 0 to 1; the same for all axes.
        order: of the way back: 3 cubic B-spline, as published, or 1 linear, which cannot overshoot.
        axes: spatial axes to act on; default all. Leave out the axis across thick slices.
        per_channel: draw anew for each channel.
    """

    zoom: Range = (0.5, 1.0)
    order: int = 3
    axes: tuple[int, ...] | None = None
    per_channel: bool = False

    def check(self) -> None:
        check_range("LowResolution: zoom", self.zoom, 1e-3, 1)
        if self.order not in (1, 3):
            raise BadArgument("LowResolution: unknown order", found=self.order, due="1 linear or 3 cubic")

    def draw(self, view: View, rng: Rng) -> Array:
        return draw_channels(view, rng, self.zoom, self.per_channel)

    def apply(self, data: Tensor, params: Array, rng: Rng) -> Tensor:
        rank = data.ndim - 1
        axes = range(rank) if self.axes is None else self.axes
        if any(not -rank <= a < rank for a in axes):
            raise BadArgument("LowResolution: no such axis", found=self.axes, due=f"{-rank} to {rank - 1}")
        chosen = {a % rank for a in axes}
        parts = []
        for where, part in groups(data, self.per_channel):
            zoom = number_of(params, where)
            few = [max(1, round(n * zoom)) if a in chosen else n for a, n in enumerate(data.shape[1:])]
            parts.append(_there_and_back(part, few, self.order))
        return torch.cat(parts) if len(parts) > 1 else parts[0]


def _there_and_back(data: Tensor, few: list[int], order: int) -> Tensor:
    many = data.shape[1:]
    if tuple(few) == tuple(many):
        return data
    for axis, (size, n) in enumerate(zip(few, many, strict=True), start=1):
        places = torch.floor((torch.arange(size, dtype=torch.float64) + 0.5) * n / size).long()
        data = data.index_select(axis, places.to(data.device)) if size < n else data
    step = np.array(few) / np.array(many)  # edge to edge
    return pull(data, [homogeneous(np.diag(step), (step - 1) / 2)], many, order=order, border="border")
