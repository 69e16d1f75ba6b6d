"""Two convolutions beside a short cut, normalised and activated before they convolve."""

from __future__ import annotations

from torch import Tensor, nn

from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.sizes import PerAxis


class PreActivationBlock(nn.Module):
    """x + convolution(act(norm(convolution(act(norm(x)))))): (B, C, *n) stays (B, C, *n).

    K. He, X. Zhang, S. Ren, J. Sun, "Identity mappings in deep residual networks", ECCV 2016,
    doi:10.1007/978-3-319-46493-0_38.

    Args:
        spatial_dims: 1, 2 or 3.
        channels: C.
        kernel_size: odd, for all axes or for each.
        norm: see `medframe.networks.layers.norm_layer`.
        act: see `medframe.networks.layers.act_layer`.
    """

    def __init__(
        self, spatial_dims: int, channels: int, kernel_size: PerAxis = 3, *, norm: Spec = "batch", act: Spec = "relu"
    ) -> None:
        super().__init__()
        self.norm1 = norm_layer(norm, spatial_dims, channels)
        self.act1 = act_layer(act)
        self.conv1 = conv_layer(spatial_dims, channels, channels, kernel_size, bias=False)
        self.norm2 = norm_layer(norm, spatial_dims, channels)
        self.act2 = act_layer(act)
        self.conv2 = conv_layer(spatial_dims, channels, channels, kernel_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.act1(self.norm1(x)))
        out: Tensor = x + self.conv2(self.act2(self.norm2(h)))
        return out
