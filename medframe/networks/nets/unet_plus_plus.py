"""The nested U-Net."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medframe.networks.blocks.upsampling import UpMode, Upsampling
from medframe.networks.checkpointing import run_block
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer, conv_layer
from medframe.networks.nets.basic_unet import halving, stage_channels, two_convolutions
from medframe.networks.sizes import check_input


class UNetPlusPlus(nn.Module):
    """U-Net++ with five stages: (B, in_channels, *spatial) becomes (B, out_channels, *spatial) logits.

    Node (i, j) of stage i concatenates the nodes (i, 0) to (i, j - 1) with what node (i + 1, j - 1) gives upsampled,
    and convolves twice. Node (0, 4) makes the logits. With `deep_supervision`, while training, the answer is a list of
    the logits of nodes (0, 4), (0, 3), (0, 2) and (0, 1), all of the input's size. Weights: `he_init`.

    Z. Zhou, M. M. R. Siddiquee, N. Tajbakhsh, J. Liang, "UNet++: redesigning skip connections to exploit multiscale
    features in image segmentation", IEEE Transactions on Medical Imaging 39, 2020, doi:10.1109/TMI.2019.2959609.

    Example:
        >>> net = UNetPlusPlus(2, in_channels=1, out_channels=3, features=(8, 8, 16, 32, 64, 8), deep_supervision=True)
        >>> [tuple(logits.shape) for logits in net(torch.zeros(1, 1, 64, 32))]
        [(1, 3, 64, 32), (1, 3, 64, 32), (1, 3, 64, 32), (1, 3, 64, 32)]

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        features: channels of the five stages from fine to coarse, then those before the last convolution.
        deep_supervision: give the logits of four nodes while training.
        act: the activation.
        norm: the normalisation; None for none.
        bias: whether convolutions have one.
        dropout: the chance that a voxel of a channel is set to zero.
        upsample: "deconv", "pixelshuffle" or "nontrainable", see `Upsampling`.
        checkpointing: keep less for the way back and compute it again.

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
        deep_supervision: bool = False,
        act: Spec = ("leaky_relu", {"negative_slope": 0.1}),
        norm: Spec | None = "instance",
        bias: bool = True,
        dropout: float = 0.0,
        upsample: UpMode = "deconv",
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        channels, last = stage_channels(spatial_dims, in_channels, out_channels, features)
        self.in_channels = in_channels
        self.multiple = (16,) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        self.deep_supervision = deep_supervision
        self.checkpointing = checkpointing

        def stage(inside: int, outside: int) -> nn.Module:
            return two_convolutions(spatial_dims, inside, outside, norm=norm, act=act, bias=bias, dropout=dropout)

        self.pool = halving(spatial_dims)
        self.encoder = nn.ModuleList(map(stage, [in_channels, *channels[:-1]], channels))
        self.up = nn.ModuleDict()
        self.nodes = nn.ModuleDict()
        for j in range(1, 5):
            for i in range(5 - j):
                rise = channels[i + 1] // 2 if i else channels[1]
                end = last if (i, j) == (0, 4) else channels[i]
                self.up[f"{i}_{j}"] = Upsampling(spatial_dims, channels[i + 1], rise, mode=upsample, align_corners=True)
                self.nodes[f"{i}_{j}"] = stage(j * channels[i] + rise, end)
        ends = [last, *[channels[0]] * 3] if deep_supervision else [last]
        self.heads = nn.ModuleList(conv_layer(spatial_dims, c, out_channels, 1) for c in ends)
        he_init(self, negative_slope(act_layer(act)))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        check_input(x, self.in_channels, self.multiple, "UNetPlusPlus")
        rows: list[list[Tensor]] = []  # by stage, each from left to right
        for i, stage in enumerate(self.encoder):
            x = run_block(stage, self.pool(x) if i else x, checkpointing=self.checkpointing)
            rows.append([x])
        for j in range(1, 5):
            for i in range(5 - j):
                up: Tensor = self.up[f"{i}_{j}"](rows[i + 1][j - 1])
                joined = torch.cat([*rows[i], up], 1)
                rows[i].append(run_block(self.nodes[f"{i}_{j}"], joined, checkpointing=self.checkpointing))
        if self.training and self.deep_supervision:
            return [head(node) for head, node in zip(self.heads, reversed(rows[0][1:]), strict=True)]
        logits: Tensor = self.heads[0](rows[0][4])
        return logits
