"""The U-Net of registration, with answers at several levels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.registration import (
    LevelAnswers,
    RegistrationDecoder,
    RegistrationEncoder,
    Resize,
    check_resize,
)
from medframe.networks.layers import Spec
from medframe.networks.sizes import check_channels, check_input


class RegUNet(nn.Module):
    """U-Net of residual stages: a stacked pair (B, in_channels, *spatial) becomes (B, out_channels, *spatial).

    Answers are taken at `extract_levels`, brought to the full size and averaged. They begin at zero, so that a field
    begins at the identity; other weights: `he_init`. `VoxelMorph(backbone=RegUNet(...))` warps by it.

    Y. Fu et al., "DeepReg: a deep learning toolkit for medical image registration", J. Open Source Softw. 5, 2020,
    doi:10.21105/joss.02705; after O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical
    image segmentation", MICCAI 2015, doi:10.1007/978-3-319-24574-4_28.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the moving and the fixed image together.
        num_channel_initial: of the finest level; they double from level to level.
        depth: how often sizes are halved.
        out_channels: of the answer; None for one an axis.
        extract_levels: levels that answer, 0 the finest; None for the finest alone.
        pooling: halve sizes by maximum pooling; else by convolutions.
        concat_skip: join what comes from the encoder; else add it.
        encode_kernel_sizes: of each of the depth + 1 levels of the encoder, or one for all; odd.
        out_act: of each level's answer; None for none.
        zero_output: whether the answer begins at zero.
        mode: how coarse answers are enlarged: "nearest" or "linear".

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`, 2^depth.

    Example:
        >>> import torch
        >>> RegUNet(2, 2, 4, 2)(torch.zeros(1, 2, 16, 32)).shape
        torch.Size([1, 2, 16, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        num_channel_initial: int,
        depth: int,
        *,
        out_channels: int | None = None,
        extract_levels: Sequence[int] | None = None,
        pooling: bool = True,
        concat_skip: bool = False,
        encode_kernel_sizes: int | Sequence[int] = 3,
        out_act: Spec | None = None,
        zero_output: bool = True,
        mode: Resize = "nearest",
    ) -> None:
        super().__init__()
        check_resize(mode)
        answers = spatial_dims if out_channels is None else out_channels
        check_channels(out_channels=answers)
        self.encoder = RegistrationEncoder(
            spatial_dims,
            in_channels,
            num_channel_initial,
            depth,
            kernel_sizes=encode_kernel_sizes,
            pooling=pooling,
        )
        levels = read_levels((0,) if extract_levels is None else extract_levels, depth)
        self.in_channels = in_channels
        self.multiple = (2**depth,) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        self.decoder = RegistrationDecoder(spatial_dims, self.encoder.channels, min(levels), concat_skip=concat_skip)
        self.output = LevelAnswers(
            spatial_dims, self.encoder.channels, levels, answers, zeros=zero_output, act=out_act, mode=mode
        )

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "RegUNet")
        field: Tensor = self.output(self.decoder(self.encoder(x)), x.shape[2:])
        return field


def read_levels(levels: Sequence[int], depth: int) -> tuple[int, ...]:
    """The levels that answer.

    Raises:
        BadArgument: none, or one that there is not.
    """
    if not levels or not all(0 <= level <= depth for level in levels):
        raise BadArgument("no such level", where="extract_levels", found=tuple(levels), due=f"levels from 0 to {depth}")
    return tuple(levels)
