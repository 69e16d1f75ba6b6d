"""The classical encoder-decoder with skip connections."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.blocks.residual_unit import ResidualUnit
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims, per_axis, total_stride


class UNet(nn.Module):
    """U-Net whose stages each hold one convolution or one residual unit, strided at the start of every encoder stage.

    (B, in_channels, *spatial) becomes (B, out_channels, *spatial) logits. Encoder stage i strides by `strides[i]` and
    yields `channels[i]`; the bottom, the last of `channels`, does not stride. Decoder stage i concatenates encoder
    stage i with what comes from below and upsamples by `strides[i]` with a transposed convolution, followed by a
    residual unit of one convolution if `num_res_units` is not 0. The finest skip connection stands after the first
    stride, which makes this U-Net light; `DynUNet` has one at full resolution. Weights: `he_init`.

    O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI 2015,
    doi:10.1007/978-3-319-24574-4_28; with residual units E. Kerfoot et al., "Left-ventricle quantification using
    residual U-Net", STACOM 2018, doi:10.1007/978-3-030-12029-0_40.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        channels: of each stage from the finest to the bottom, two or more.
        strides: of each stage but the bottom, so one fewer than `channels`; each a number or one for each axis.
        kernel_size: of convolutions; odd.
        up_kernel_size: of transposed convolutions.
        num_res_units: convolutions in each encoder stage's residual unit; 0 for plain single convolutions.
        act: the activation.
        norm: the normalisation; None for none.
        dropout: the chance that a voxel of a channel is set to zero, after each normalisation.
        bias: whether convolutions have one.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`.

    Example:
        >>> import torch
        >>> UNet(3, 1, 2, channels=(8, 16, 32), strides=(2, 2))(torch.zeros(1, 1, 16, 16, 8)).shape
        torch.Size([1, 2, 16, 16, 8])
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
        num_res_units: int = 0,
        act: Spec = "prelu",
        norm: Spec | None = "instance",
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, channels=channels)
        if len(channels) < 2 or len(strides) != len(channels) - 1:
            raise BadArgument(
                "channels and strides do not describe the same stages",
                found=f"{len(channels)} channels, {len(strides)} strides",
                due="two or more channels and one stride fewer (the bottom has none)",
            )
        if num_res_units < 0:
            raise BadArgument("num_res_units is negative", found=num_res_units, due="0 or more")
        steps = [per_axis(f"strides[{i}]", stride, spatial_dims) for i, stride in enumerate(strides)]
        self.in_channels = in_channels
        self.multiple = total_stride(steps)
        """What the input's size must be divisible by, for each axis."""

        conv = partial(Convolution, spatial_dims, norm=norm, dropout=dropout, act=act, bias=bias)
        unit = partial(ResidualUnit, spatial_dims, norm=norm, dropout=dropout, act=act, bias=bias)

        def down(inside: int, outside: int, stride: PerAxis) -> nn.Module:
            if num_res_units:
                return unit(inside, outside, kernel_size, stride, subunits=num_res_units)
            return conv(inside, outside, kernel_size, stride)

        def up(inside: int, outside: int, stride: PerAxis, top: bool) -> nn.Module:
            rise = partial(conv, inside, outside, up_kernel_size, stride, transposed=True)
            if num_res_units:
                return nn.Sequential(rise(), unit(outside, outside, kernel_size, subunits=1, last_conv_only=top))
            return rise(norm=None, dropout=0.0, act=None) if top else rise()

        skips = list(channels[:-1])
        finer = [out_channels, *skips[:-1]]  # what decoder stage i yields
        lower = [*skips[:-1], channels[-1]]  # what it gets from below
        self.down = nn.ModuleList(map(down, [in_channels, *skips[:-1]], skips, steps))
        self.bottom = down(skips[-1], channels[-1], 1)
        self.up = nn.ModuleList(
            up(skip + low, out, step, top=i == 0)
            for i, (skip, low, out, step) in enumerate(zip(skips, lower, finer, steps, strict=True))
        )
        he_init(self, negative_slope(act_layer(act)))

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "UNet")
        skips: list[Tensor] = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        x = self.bottom(x)
        for stage, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = stage(torch.cat([skip, x], 1))
        return x
