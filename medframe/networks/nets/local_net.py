"""Dense registration learned from labels."""

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
from medframe.networks.nets.reg_unet import read_levels
from medframe.networks.sizes import check_channels, check_input


class LocalNet(nn.Module):
    """LocalNet: a stacked pair (B, in_channels, *spatial) becomes displacements (B, out_channels, *spatial) in voxels.

    A `RegUNet` whose finest level sees through kernels of 7, whose coarsest has one convolution, and which adds what it
    upsamples to its own upsampled input. Each of `extract_levels` answers at its size; the mean of all, at full size,
    is the field. It begins at zero; other weights: `he_init`. `VoxelMorph(backbone=LocalNet(...),
    integration_steps=0)` warps by it.

    Y. Hu et al., "Weakly-supervised convolutional neural networks for multimodal image registration", Med. Image Anal.
    49, 2018, doi:10.1016/j.media.2018.07.002.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the moving and the fixed image together.
        num_channel_initial: of the finest level; they double from level to level.
        extract_levels: levels that answer, 0 the finest; the largest is how often sizes are halved.
        out_channels: of the answer; None for one an axis.
        pooling: halve sizes by maximum pooling; else by convolutions.
        use_additive_sampling: whether upsampled features are added to their upsampled input.
        concat_skip: join what comes from the encoder; else add it.
        out_act: of each level's answer; None for none.
        zero_output: whether the answer begins at zero.
        mode: how features and coarse answers are enlarged: "nearest" or "linear".

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`.

    Example:
        >>> import torch
        >>> LocalNet(2, 2, 4, (0, 1, 2))(torch.zeros(1, 2, 16, 32)).shape
        torch.Size([1, 2, 16, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        num_channel_initial: int,
        extract_levels: Sequence[int] = (0, 1, 2, 3, 4),
        *,
        out_channels: int | None = None,
        pooling: bool = True,
        use_additive_sampling: bool = True,
        concat_skip: bool = False,
        out_act: Spec | None = None,
        zero_output: bool = True,
        mode: Resize = "nearest",
    ) -> None:
        super().__init__()
        check_resize(mode)
        answers = spatial_dims if out_channels is None else out_channels
        check_channels(out_channels=answers)
        depth = max(extract_levels, default=0)
        if depth < 1:
            raise BadArgument(
                "extract_levels leave no level to halve to",
                where="extract_levels",
                found=tuple(extract_levels),
                due="levels such as (0, 1, 2)",
            )
        levels = read_levels(extract_levels, depth)
        self.encoder = RegistrationEncoder(
            spatial_dims,
            in_channels,
            num_channel_initial,
            depth,
            kernel_sizes=[7] + [3] * depth,
            pooling=pooling,
            residual_bottom=False,
        )
        self.in_channels = in_channels
        self.multiple = (2**depth,) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        self.decoder = RegistrationDecoder(
            spatial_dims,
            self.encoder.channels,
            min(levels),
            concat_skip=concat_skip,
            additive=use_additive_sampling,
            mode=mode,
        )
        self.output = LevelAnswers(
            spatial_dims, self.encoder.channels, levels, answers, zeros=zero_output, act=out_act, mode=mode
        )

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "LocalNet")
        field: Tensor = self.output(self.decoder(self.encoder(x)), x.shape[2:])
        return field
