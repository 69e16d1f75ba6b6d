"""The blocks of autoencoders to and from a latent space."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from medframe.networks.blocks.spatial_attention import group_norm
from medframe.networks.layers import conv_layer

Normed = Callable[[int], nn.Module]


class LatentResidual(nn.Module):
    """Normalisation, SiLU and convolution twice, added to the input; a 1-voxel convolution where channels change.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the input.
        out_channels: of the output.
        num_groups: of the normalisations.
        eps: of the normalisations.
        norm: makes the normalisations of so many channels instead; they may take a label map as a second input.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        num_groups: int = 32,
        eps: float = 1e-6,
        norm: Normed | None = None,
    ) -> None:
        super().__init__()
        make: Normed = norm or (lambda channels: group_norm(channels, num_groups, eps))
        self.norm1 = make(in_channels)
        self.conv1 = conv_layer(spatial_dims, in_channels, out_channels, 3)
        self.norm2 = make(out_channels)
        self.conv2 = conv_layer(spatial_dims, out_channels, out_channels, 3)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = conv_layer(spatial_dims, in_channels, out_channels, 1)

    def forward(self, x: Tensor, *labels: Tensor) -> Tensor:
        out = self.conv1(F.silu(self.norm1(x, *labels)))
        out = self.conv2(F.silu(self.norm2(out, *labels)))
        answer: Tensor = self.shortcut(x) + out
        return answer


class HalfSize(nn.Module):
    """A strided convolution that pads the far end only."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.conv = conv_layer(spatial_dims, channels, channels, 3, 2)
        self.conv.padding = (0,) * spatial_dims  # type: ignore[assignment]
        self.pad = (0, 1) * spatial_dims

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, self.pad))
        return out


class DoubleSize(nn.Module):
    """Every voxel repeated, then a convolution."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.conv = conv_layer(spatial_dims, channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return out
