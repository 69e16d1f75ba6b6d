"""Convolution, normalisation, dropout and activation in a row."""

from __future__ import annotations

from torch import nn

from medframe.base.errors import BadArgument
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer, transposed_conv_layer
from medframe.networks.sizes import PerAxis


class Convolution(nn.Sequential):
    """Convolution -> normalisation -> dropout -> activation; steps that are None or zero are left out.

    (B, in_channels, *n) becomes (B, out_channels, *ceil(n / stride)), or (B, out_channels, *(n * stride)) transposed.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: for all axes or for each; odd unless transposed.
        stride: for all axes or for each.
        transposed: upsample by the stride instead.
        norm: see `medframe.networks.layers.norm_layer`.
        dropout: the chance that a voxel of a channel is set to zero.
        act: see `medframe.networks.layers.act_layer`.
        bias: whether the convolution has one.

    Raises:
        BadArgument: see the layers.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis = 3,
        stride: PerAxis = 1,
        *,
        transposed: bool = False,
        norm: Spec | None = "instance",
        dropout: float = 0.0,
        act: Spec | None = "prelu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise BadArgument("dropout is not a chance below one", found=dropout, due="0 <= dropout < 1")
        conv = transposed_conv_layer if transposed else conv_layer
        self.add_module("conv", conv(spatial_dims, in_channels, out_channels, kernel_size, stride, bias=bias))
        if norm is not None:
            self.add_module("norm", norm_layer(norm, spatial_dims, out_channels))
        if dropout > 0:
            self.add_module("dropout", nn.Dropout(dropout))
        if act is not None:
            self.add_module("act", act_layer(act))
