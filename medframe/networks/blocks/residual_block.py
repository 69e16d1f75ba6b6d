"""The residual blocks of image classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.squeeze_excitation import SqueezeExcitation
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.pooling import mean_pool_layer
from medframe.networks.sizes import check_channels

Shortcut: TypeAlias = Literal["projection", "padding"]
Block: TypeAlias = Literal["basic", "bottleneck"]


class PaddedShortcut(nn.Module):
    """Strides by averaging windows of one voxel, and fills further channels with zeros: a short cut without weights."""

    def __init__(self, spatial_dims: int, more: int, stride: int) -> None:
        super().__init__()
        self.more = more
        self.pool = mean_pool_layer(spatial_dims, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)
        return torch.cat([x, x.new_zeros(x.shape[0], self.more, *x.shape[2:])], 1)


class ResidualBlock(nn.Module):
    """Two ("basic") or three ("bottleneck") convolutions with normalisation, added to the input, then the activation.

    Modules are called conv1, bn1, conv2, ... and downsample, as in the checkpoints that people have.

    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016,
    doi:10.1109/CVPR.2016.90; with groups S. Xie et al., "Aggregated residual transformations for deep neural networks",
    CVPR 2017, doi:10.1109/CVPR.2017.634.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the input.
        width: channels of the inner convolution.
        out_channels: of the output; equal to `width` for a basic block.
        stride: of the whole block.
        kind: "basic" or "bottleneck".
        groups: of the inner convolution of a bottleneck.
        stride_first: a bottleneck's first convolution strides instead of its middle one.
        shortcut: what carries the input across a change of size or channels.
        bias_downsample: whether a projecting short cut has a bias.
        se_reduction: squeeze and excitation before the addition, narrowed by this; None for none.
        norm: the normalisation.
        act: the activation.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int = 1,
        *,
        kind: Block = "basic",
        groups: int = 1,
        stride_first: bool = False,
        shortcut: Shortcut = "projection",
        bias_downsample: bool = False,
        se_reduction: int | None = None,
        norm: Spec = "batch",
        act: Spec = "relu",
    ) -> None:
        super().__init__()
        normed = partial(norm_layer, norm, spatial_dims)
        conv = partial(conv_layer, spatial_dims, bias=False)
        if kind == "basic":
            self.conv1 = conv(in_channels, width, 3, stride)
            self.bn1 = normed(width)
            self.conv2 = conv(width, out_channels, 3)
            self.bn2 = normed(out_channels)
            self.conv3: nn.Module | None = None
        else:
            first, middle = (stride, 1) if stride_first else (1, stride)
            self.conv1 = conv(in_channels, width, 1, first)
            self.bn1 = normed(width)
            self.conv2 = grouped(conv(width, width, 3, middle), groups)
            self.bn2 = normed(width)
            self.conv3 = conv(width, out_channels, 1)
            self.bn3 = normed(out_channels)
        self.act = act_layer(act)
        self.se_module: nn.Module = nn.Identity()
        if se_reduction is not None:
            self.se_module = SqueezeExcitation(out_channels, se_reduction)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            if shortcut == "padding":
                self.downsample = PaddedShortcut(spatial_dims, out_channels - in_channels, stride)
            else:
                self.downsample = nn.Sequential(
                    conv_layer(spatial_dims, in_channels, out_channels, 1, stride, bias=bias_downsample),
                    normed(out_channels),
                )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        if self.conv3 is not None:
            out = self.bn3(self.conv3(self.act(out)))
        out = self.se_module(out) + self.downsample(x)
        answer: Tensor = self.act(out)
        return answer


def grouped(conv: nn.Module, groups: int) -> nn.Module:
    """The same convolution with its channels in groups.

    Raises:
        BadArgument: the groups do not divide the channels.
    """
    if groups == 1:
        return conv
    inside, outside = int(conv.in_channels), int(conv.out_channels)  # type: ignore[arg-type]
    if inside % groups or outside % groups:
        raise BadArgument(
            "groups do not divide the channels", found=f"{inside} and {outside} channels, {groups} groups"
        )
    made: nn.Module = type(conv)(
        inside, outside, conv.kernel_size, conv.stride, conv.padding, groups=groups, bias=conv.bias is not None
    )
    return made


def check_depths(name: str, depth: int, known: Sequence[int]) -> None:
    """Raise BadArgument unless this depth is one of the published ones."""
    check_channels(depth=depth)
    if depth not in known:
        raise BadArgument(f"{name} is not published in this depth", found=depth, due=", ".join(map(str, known)))
