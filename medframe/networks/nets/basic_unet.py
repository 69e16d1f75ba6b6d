"""The U-Net of two convolutions a stage and maximum pooling between stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.blocks.upsampling import UpMode, Upsampling
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer, conv_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims

_POOLS: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


class BasicUNet(nn.Module):
    """U-Net with five stages: (B, in_channels, *spatial) becomes (B, out_channels, *spatial) logits.

    A stage is twice convolution, normalisation, dropout, activation. Between stages sizes are halved by maximum
    pooling, and doubled by `upsample` on the way back, where the skip connection is concatenated. Weights: `he_init`.

    T. Falk et al., "U-Net: deep learning for cell counting, detection, and morphometry", Nature Methods 16, 2019,
    doi:10.1038/s41592-018-0261-2; after O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for
    biomedical image segmentation", MICCAI 2015, doi:10.1007/978-3-319-24574-4_28.

    Example:
        >>> net = BasicUNet(2, in_channels=1, out_channels=3, features=(8, 8, 16, 32, 64, 8))
        >>> net(torch.zeros(1, 1, 64, 32)).shape
        torch.Size([1, 3, 64, 32])

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        features: channels of the five stages from fine to coarse, then those before the last convolution.
        act: the activation.
        norm: the normalisation; None for none.
        bias: whether convolutions have one.
        dropout: the chance that a voxel of a channel is set to zero.
        upsample: "deconv", "pixelshuffle" or "nontrainable", see `Upsampling`.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`, 16.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        features: Sequence[int] = (32, 32, 64, 128, 256, 32),
        act: Spec = ("leaky_relu", {"negative_slope": 0.1}),
        norm: Spec | None = "instance",
        bias: bool = True,
        dropout: float = 0.0,
        upsample: UpMode = "deconv",
    ) -> None:
        super().__init__()
        channels, last = stage_channels(spatial_dims, in_channels, out_channels, features)
        self.in_channels = in_channels
        self.multiple = (16,) * spatial_dims
        """What the input's size must be divisible by, for each axis."""

        def stage(inside: int, outside: int) -> nn.Module:
            return two_convolutions(spatial_dims, inside, outside, norm=norm, act=act, bias=bias, dropout=dropout)

        self.pool = halving(spatial_dims)
        self.encoder = nn.ModuleList(map(stage, [in_channels, *channels[:-1]], channels))
        # only the finest stage keeps the channels that come from below
        risen = [channels[1], *(c // 2 for c in channels[2:])]
        self.up = nn.ModuleList(
            Upsampling(spatial_dims, below, rise, mode=upsample, align_corners=True)
            for below, rise in zip(channels[1:], risen, strict=True)
        )
        ends = [last, *channels[1:-1]]
        self.decoder = nn.ModuleList(
            stage(skip + rise, end) for skip, rise, end in zip(channels[:-1], risen, ends, strict=True)
        )
        self.head = conv_layer(spatial_dims, last, out_channels, 1)
        he_init(self, negative_slope(act_layer(act)))

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "BasicUNet")
        skips: list[Tensor] = []
        for i, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if i else x)
            skips.append(x)
        skips.pop()
        for up, stage, skip in zip(reversed(self.up), reversed(self.decoder), reversed(skips), strict=True):
            x = stage(torch.cat([skip, up(x)], 1))
        logits: Tensor = self.head(x)
        return logits


def stage_channels(
    spatial_dims: int, in_channels: int, out_channels: int, features: Sequence[int]
) -> tuple[list[int], int]:
    """The channels of five stages and those before the head, once checked."""
    check_spatial_dims(spatial_dims)
    check_channels(in_channels=in_channels, out_channels=out_channels, features=features)
    if len(features) != 6 or any(c % 2 for c in features[2:5]):
        raise BadArgument(
            "features do not describe five stages and what stands before the head",
            found=tuple(features),
            due="six numbers, the third to the fifth even",
        )
    return list(features[:5]), features[5]


def halving(spatial_dims: int) -> nn.Module:
    """Maximum pooling by two."""
    return _POOLS[spatial_dims](2)


def two_convolutions(
    spatial_dims: int, inside: int, outside: int, *, norm: Spec | None, act: Spec, bias: bool, dropout: float
) -> nn.Module:
    """One stage: twice convolution, normalisation, dropout, activation."""
    return nn.Sequential(
        Convolution(spatial_dims, inside, outside, norm=norm, dropout=dropout, act=act, bias=bias),
        Convolution(spatial_dims, outside, outside, norm=norm, dropout=dropout, act=act, bias=bias),
    )
