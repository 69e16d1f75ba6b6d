"""The U-Net whose skip connections are weighted by what the decoder asks for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.initialisation import he_init
from medframe.networks.layers import conv_layer
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims, per_axis, total_stride


class AttentionGate(nn.Module):
    """Weights a skip connection: x * sigmoid(norm(W(relu(norm(W_g g) + norm(W_x x))))), one weight for each voxel.

    Args:
        spatial_dims: 1, 2 or 3.
        gate_channels: of g, which comes from the decoder.
        skip_channels: of x, of the same size.
        inner_channels: of the sum.
    """

    def __init__(self, spatial_dims: int, gate_channels: int, skip_channels: int, inner_channels: int) -> None:
        super().__init__()
        self.gate = Convolution(spatial_dims, gate_channels, inner_channels, 1, norm="batch", act=None)
        self.skip = Convolution(spatial_dims, skip_channels, inner_channels, 1, norm="batch", act=None)
        self.psi = Convolution(spatial_dims, inner_channels, 1, 1, norm="batch", act="sigmoid")

    def forward(self, g: Tensor, x: Tensor) -> Tensor:
        weighted: Tensor = x * self.psi((self.gate(g) + self.skip(x)).relu())
        return weighted


class AttentionUNet(nn.Module):
    """U-Net with attention gates: (B, in_channels, *spatial) becomes (B, out_channels, *spatial) logits.

    A stage is twice convolution, batch normalisation, ReLU; the first convolution of every stage but the finest
    strides. The decoder upsamples by a transposed convolution, gates the skip connection by what it got, concatenates
    both and merges them by one convolution. Weights: `he_init`.

    O. Oktay et al., "Attention U-Net: learning where to look for the pancreas", MIDL 2018, arXiv:1804.03999.

    Example:
        >>> net = AttentionUNet(2, in_channels=1, out_channels=3, channels=(8, 16, 32), strides=(2, 2))
        >>> net(torch.zeros(1, 1, 64, 32)).shape
        torch.Size([1, 3, 64, 32])

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        channels: of each stage from fine to coarse, two or more.
        strides: between stages, so one fewer than `channels`; each a number or one for each axis.
        kernel_size: of convolutions, but those that merge, which are of 3; odd.
        up_kernel_size: of transposed convolutions.
        dropout: the chance that a voxel of a channel is set to zero.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        strides: Sequence[PerAxis],
        *,
        kernel_size: PerAxis = 3,
        up_kernel_size: PerAxis = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, channels=channels)
        if len(channels) < 2 or len(strides) != len(channels) - 1 or any(c < 2 for c in channels):
            raise BadArgument(
                "channels and strides do not describe the same stages",
                found=f"channels {tuple(channels)}, {len(strides)} strides",
                due="two or more stages of two or more channels, and one stride fewer",
            )
        steps = [per_axis(f"strides[{i}]", stride, spatial_dims) for i, stride in enumerate(strides)]
        self.in_channels = in_channels
        self.multiple = total_stride(steps)
        """What the input's size must be divisible by, for each axis."""

        def conv(inside: int, outside: int, stride: PerAxis) -> nn.Module:
            return Convolution(
                spatial_dims, inside, outside, kernel_size, stride, norm="batch", dropout=dropout, act="relu"
            )

        def rise(inside: int, outside: int, stride: PerAxis) -> nn.Module:
            return Convolution(
                spatial_dims,
                inside,
                outside,
                up_kernel_size,
                stride,
                transposed=True,
                norm="batch",
                dropout=dropout,
                act="relu",
            )

        ones = (1,) * spatial_dims
        self.encoder = nn.ModuleList(
            nn.Sequential(conv(inside, outside, step), conv(outside, outside, 1))
            for inside, outside, step in zip([in_channels, *channels[:-1]], channels, [ones, *steps], strict=True)
        )
        self.up = nn.ModuleList(
            rise(below, skip, step) for (skip, below), step in zip(pairwise(channels), steps, strict=True)
        )
        self.gates = nn.ModuleList(AttentionGate(spatial_dims, c, c, c // 2) for c in channels[:-1])
        plain = ("instance", {"affine": False})
        self.merge = nn.ModuleList(
            Convolution(spatial_dims, 2 * c, c, 3, norm=plain, dropout=dropout, act="prelu") for c in channels[:-1]
        )
        self.head = conv_layer(spatial_dims, channels[0], out_channels, 1)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "AttentionUNet")
        skips: list[Tensor] = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        decoder = zip(reversed(self.up), reversed(self.gates), reversed(self.merge), reversed(skips), strict=True)
        for up, gate, merge, skip in decoder:
            g = up(x)
            x = merge(torch.cat([gate(g, skip), g], 1))
        logits: Tensor = self.head(x)
        return logits
