"""Skipping a branch of a residual network for some samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument


class DropPath(nn.Module):
    """Sets a branch to zero for a random share of the samples in training, and scales up the rest.

    G. Huang et al., "Deep networks with stochastic depth", ECCV 2016, doi:10.1007/978-3-319-46493-0_39.

    Args:
        chance: that a sample's branch is dropped.

    Raises:
        BadArgument: not a chance below one.
    """

    def __init__(self, chance: float = 0.0) -> None:
        super().__init__()
        if not 0 <= chance < 1:
            raise BadArgument("a branch's chance to be dropped is not below one", found=chance, due="0 <= chance < 1")
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        if self.chance == 0 or not self.training:
            return x
        keep = torch.rand(x.shape[0], *(1,) * (x.dim() - 1), device=x.device) >= self.chance
        return x * keep.to(x.dtype) / (1 - self.chance)

    def extra_repr(self) -> str:
        return f"{self.chance:g}"
