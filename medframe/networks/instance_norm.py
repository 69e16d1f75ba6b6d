"""Instance normalisation that stays fast in bfloat16 on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadGeometry

_HALF = (torch.bfloat16, torch.float16)


class InstanceNorm(nn.Module):
    """Each channel of each case to zero mean and unit variance over its voxels, then scaled and shifted.

    Equal to `torch.nn.functional.instance_norm` for (B, C, *spatial) with any number of spatial axes. Two things
    differ from `torch.nn.InstanceNorm3d`: statistics are kept in float32 for half-precision input even where there are
    no parameters or they are half-precision too, and a channels-last half-precision input on a CPU comes out
    channels-last, which keeps the convolutions around it free of reorderings.

    D. Ulyanov, A. Vedaldi, V. Lempitsky, "Instance normalization: the missing ingredient for fast stylization", 2016,
    arXiv:1607.08022.

    Args:
        num_features: the number of channels C.
        eps: added to the variance.
        affine: learn a scale (first 1) and a shift (first 0) for each channel.

    Raises:
        BadGeometry: when called with a single voxel per channel, whose variance says nothing.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        if all(size == 1 for size in x.shape[2:]):
            raise BadGeometry(
                "instance normalisation has a single voxel to take statistics of",
                found=f"shape {tuple(x.shape)}",
                due="two or more voxels at the deepest stage",
                mend='Use a larger patch, fewer stages, or norm="group".',
            )
        weight: Tensor | None = self.weight
        bias: Tensor | None = self.bias
        if x.dtype in _HALF:  # torch keeps the statistics in the parameters' dtype
            weight = x.new_ones(self.num_features, dtype=torch.float32) if weight is None else weight.float()
            bias = x.new_zeros(self.num_features, dtype=torch.float32) if bias is None else bias.float()
            if x.device.type == "cpu" and not torch.compiler.is_compiling() and not x.is_contiguous():
                # Batch normalisation of one case is instance normalisation, and it has a channels-last kernel. In
                # float32 that kernel's running sums are wrong by 1e-4, so there torch's instance_norm is kept.
                cases = [
                    F.batch_norm(case, None, None, weight, bias, True, 0.0, self.eps) for case in torch.split(x, 1)
                ]
                return cases[0] if len(cases) == 1 else torch.cat(cases)
        return F.instance_norm(x, weight=weight, bias=bias, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, affine={self.weight is not None}"
