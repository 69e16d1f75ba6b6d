"""The convolutional blocks of transformer U-Nets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer, transposed_conv_layer
from medframe.networks.sizes import PerAxis


class ResidualConv(nn.Module):
    """Two normalised convolutions added to the input, which a third carries where channels or size change.

    As in A. Hatamizadeh et al., "UNETR: transformers for 3D medical image segmentation", WACV 2022,
    doi:10.1109/WACV51458.2022.00181.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        norm: Spec = ("instance", {"affine": False}),
        act: Spec = ("leaky_relu", {"negative_slope": 0.01}),
    ) -> None:
        super().__init__()
        self.conv1 = conv_layer(spatial_dims, in_channels, out_channels, 3, bias=False)
        self.conv2 = conv_layer(spatial_dims, out_channels, out_channels, 3, bias=False)
        self.act = act_layer(act)
        self.norm1 = norm_layer(norm, spatial_dims, out_channels)
        self.norm2 = norm_layer(norm, spatial_dims, out_channels)
        self.conv3: nn.Module | None = None
        if in_channels != out_channels:
            self.conv3 = conv_layer(spatial_dims, in_channels, out_channels, 1, bias=False)
            self.norm3 = norm_layer(norm, spatial_dims, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        if self.conv3 is not None:
            x = self.norm3(self.conv3(x))
        answer: Tensor = self.act(out + x)
        return answer


class UpJoin(nn.Module):
    """Doubles the size, joins a skip connection, and convolves residually."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        stride: PerAxis = 2,
        norm: Spec = ("instance", {"affine": False}),
    ) -> None:
        super().__init__()
        self.up = transposed_conv_layer(spatial_dims, in_channels, out_channels, stride, stride, bias=False)
        self.body = ResidualConv(spatial_dims, 2 * out_channels, out_channels, norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.body(torch.cat([self.up(x), skip], 1))
        return out
