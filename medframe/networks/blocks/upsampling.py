"""Upsampling by a whole factor, learned or not."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.networks.layers import conv_layer, transposed_conv_layer
from medframe.networks.sizes import PerAxis, check_spatial_dims, per_axis

UpMode: TypeAlias = Literal["deconv", "nontrainable", "pixelshuffle"]
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Upsampling(nn.Module):
    """(B, in_channels, *n) to (B, out_channels, *(n * factor)).

    - "deconv": a transposed convolution.
    - "nontrainable": a convolution of kernel 1 where the channels change, then linear interpolation.
    - "pixelshuffle": a convolution of kernel 3 to `factor` times the channels for each axis, whose channels become
      neighbouring voxels, averaged over `factor` voxels against checkerboards (W. Shi et al., "Real-time single image
      and video super-resolution using an efficient sub-pixel convolutional neural network", CVPR 2016,
      doi:10.1109/CVPR.2016.207; Y. Sugawara, S. Shiota, H. Kiya, "Super-resolution using convolutional neural networks
      without any checkerboard artifacts", ICIP 2018, doi:10.1109/ICIP.2018.8451141).

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the input.
        out_channels: of the output.
        factor: for all axes or for each.
        mode: one of the three.
        kernel_size: of the transposed convolution; by default the factor.
        align_corners: of the interpolation.
        bias: whether the convolution has one.

    Raises:
        BadArgument: an unknown mode, or other arguments out of range.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        factor: PerAxis = 2,
        *,
        mode: UpMode = "deconv",
        kernel_size: PerAxis | None = None,
        align_corners: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        if mode not in ("deconv", "nontrainable", "pixelshuffle"):
            raise BadArgument(
                "the mode of upsampling is not known", found=repr(mode), due="deconv, nontrainable, pixelshuffle"
            )
        self.factor = per_axis("factor", factor, spatial_dims)
        self.mode = mode
        self.align_corners = align_corners
        self.conv: nn.Module = nn.Identity()
        if mode == "deconv":
            kernel = self.factor if kernel_size is None else kernel_size
            self.conv = transposed_conv_layer(spatial_dims, in_channels, out_channels, kernel, self.factor, bias=bias)
        elif mode == "pixelshuffle":
            self.conv = conv_layer(spatial_dims, in_channels, out_channels * math.prod(self.factor), bias=bias)
        elif in_channels != out_channels:
            self.conv = conv_layer(spatial_dims, in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.mode == "deconv":
            return x
        if self.mode == "pixelshuffle":
            return _averaged(_shuffled(x, self.factor), self.factor)
        scale = [float(f) for f in self.factor]
        return F.interpolate(x, scale_factor=scale, mode=_LINEAR[len(scale)], align_corners=self.align_corners)


def _shuffled(x: Tensor, factor: tuple[int, ...]) -> Tensor:
    """Groups of prod(factor) channels as blocks of neighbouring voxels."""
    axes = len(factor)
    channels, sizes = x.shape[1] // math.prod(factor), x.shape[2:]
    x = x.reshape(x.shape[0], channels, *factor, *sizes)
    order = [0, 1]
    for axis in range(axes):
        order += [2 + axes + axis, 2 + axis]
    x = x.permute(order)
    return x.reshape(x.shape[0], channels, *(n * f for n, f in zip(sizes, factor, strict=True)))


def _averaged(x: Tensor, factor: tuple[int, ...]) -> Tensor:
    """Each voxel as the mean of the `factor` voxels that end with it; zero before the first."""
    pad = [n for f in reversed(factor) for n in (f - 1, 0)]
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[len(factor)]
    pooled: Tensor = pool(F.pad(x, pad), factor, stride=1)
    return pooled
