"""Convolutions beside a short cut."""

from __future__ import annotations

from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.layers import Spec, conv_layer
from medframe.networks.sizes import PerAxis, per_axis


class ResidualUnit(nn.Module):
    """A row of convolutions, the first of them strided, whose result is added to the input.

    Where stride or channels change, the short cut is a convolution too: of the same kernel where it strides, so that
    no voxel is skipped, of kernel 1 where only the channels change. Nothing follows the addition.

    K. He et al., "Deep residual learning for image recognition", CVPR 2016, doi:10.1109/CVPR.2016.90; in this form
    E. Kerfoot et al., "Left-ventricle quantification using residual U-Net", STACOM 2018,
    doi:10.1007/978-3-030-12029-0_40.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: odd, for all axes or for each.
        stride: of the first convolution and of the short cut.
        subunits: how many convolutions.
        norm: after each convolution.
        dropout: after each normalisation.
        act: after each dropout.
        bias: whether the convolutions have one.
        last_conv_only: leave the last convolution bare, as at the end of a network.

    Raises:
        BadArgument: no subunit, or see `Convolution`.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis = 3,
        stride: PerAxis = 1,
        *,
        subunits: int = 2,
        norm: Spec | None = "instance",
        dropout: float = 0.0,
        act: Spec | None = "prelu",
        bias: bool = True,
        last_conv_only: bool = False,
    ) -> None:
        super().__init__()
        if subunits < 1:
            raise BadArgument("a residual unit has no convolution", found=f"subunits={subunits}", due="at least 1")
        self.body = nn.Sequential()
        for i in range(subunits):
            bare = last_conv_only and i == subunits - 1
            self.body.append(
                Convolution(
                    spatial_dims,
                    out_channels if i else in_channels,
                    out_channels,
                    kernel_size,
                    1 if i else stride,
                    norm=None if bare else norm,
                    dropout=0.0 if bare else dropout,
                    act=None if bare else act,
                    bias=bias,
                )
            )
        strided = max(per_axis("stride", stride, spatial_dims)) > 1
        self.shortcut: nn.Module = nn.Identity()
        if strided or in_channels != out_channels:
            kernel = kernel_size if strided else 1
            self.shortcut = conv_layer(spatial_dims, in_channels, out_channels, kernel, stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) + self.shortcut(x)
        return out
