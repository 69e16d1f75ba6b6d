"""SegResNet with deep supervision and voxels that are longer along one axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.pre_activation_block import PreActivationBlock
from medframe.networks.blocks.upsampling import UpMode, Upsampling
from medframe.networks.checkpointing import run_block
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer, conv_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims, total_stride


class SegResNetDS(nn.Module):
    """SegResNet with logits at several stages: (B, in_channels, *spatial) to (B, out_channels, *spatial) logits.

    Encoder stage i holds `blocks_down[i]` pre-activation blocks, then a strided convolution doubles the channels. The
    decoder upsamples, adds the skip connection and holds `blocks_up[i]` blocks, counted from the coarsest stage.
    With `dsdepth` over 1, while training, the answer is a list of that many logits, the finest first, each at the size
    of its stage; `DeepSupervisionLoss` takes it as it is. Weights: `he_init`.

    Where `resolution` is given, axes of longer voxels are not halved, and not convolved along, until the others' voxels
    have become as long.

    A. Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", BrainLes 2018,
    doi:10.1007/978-3-030-11726-9_28; in this form A. Myronenko, D. Yang, Y. He, D. Xu, "Automated segmentation of
    organs and tumors from partially labeled 3D CT in MICCAI FLARE 2023 challenge", 2023.

    Example:
        >>> import torch
        >>> net = SegResNetDS(2, init_filters=8, in_channels=1, out_channels=3, dsdepth=2)
        >>> [tuple(logits.shape) for logits in net(torch.zeros(2, 1, 32, 64))]
        [(2, 3, 32, 64), (2, 3, 16, 32)]

    Args:
        spatial_dims: 1, 2 or 3.
        init_filters: channels of the finest stage.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        act: the activation.
        norm: the normalisation.
        blocks_down: blocks of each encoder stage.
        blocks_up: blocks of each decoder stage from coarse to fine; by default one each.
        dsdepth: at how many stages logits are made while training.
        upsample_mode: "deconv", "nontrainable" or "pixelshuffle", see `Upsampling`.
        resolution: the voxels' spacing along each axis, in any unit; None where they are cubes.
        checkpointing: keep less for the way back and compute it again.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        init_filters: int = 32,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        act: Spec = "relu",
        norm: Spec = "batch",
        blocks_down: Sequence[int] = (1, 2, 2, 4),
        blocks_up: Sequence[int] | None = None,
        dsdepth: int = 1,
        upsample_mode: UpMode = "deconv",
        resolution: Sequence[float] | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(init_filters=init_filters, in_channels=in_channels, out_channels=out_channels)
        stages = len(blocks_down)
        ups = [1] * (stages - 1) if blocks_up is None else list(blocks_up)
        if stages < 2 or len(ups) != stages - 1 or min(*blocks_down, *ups) < 0:
            raise BadArgument(
                "blocks_down and blocks_up do not describe the same stages",
                found=f"{tuple(blocks_down)} and {blocks_up}",
                due="numbers of blocks for two or more stages, and for one stage fewer on the way up",
            )
        if not 1 <= dsdepth < stages:
            raise BadArgument("dsdepth is out of range", found=dsdepth, due=f"1 to {stages - 1}")
        if resolution is not None and (len(resolution) != spatial_dims or min(resolution) <= 0):
            raise BadArgument("resolution is not a spacing", found=resolution, due=f"{spatial_dims} positive numbers")
        strides = stage_strides(resolution or [1.0] * spatial_dims, stages)
        kernels = [tuple(3 if s > 1 else 1 for s in stride) for stride in strides]
        self.in_channels = in_channels
        self.multiple = total_stride(strides[:-1])
        """What the input's size must be divisible by, for each axis."""
        self.dsdepth = dsdepth
        self.checkpointing = checkpointing
        channels = [init_filters * 2**i for i in range(stages)]

        def blocks(count: int, stage: int) -> nn.Module:
            return nn.Sequential(
                *(
                    PreActivationBlock(spatial_dims, channels[stage], kernels[stage], norm=norm, act=act)
                    for _ in range(count)
                )
            )

        self.stem = conv_layer(spatial_dims, in_channels, init_filters, kernels[0], bias=False)
        self.encoder = nn.ModuleList(blocks(count, i) for i, count in enumerate(blocks_down))
        self.down = nn.ModuleList(
            conv_layer(spatial_dims, width, 2 * width, kernel, stride, bias=False)
            for width, kernel, stride in zip(channels[:-1], kernels, strides, strict=False)
        )
        self.up = nn.ModuleList(
            Upsampling(
                spatial_dims,
                2 * channels[i],
                channels[i],
                strides[i],
                mode=upsample_mode,
                kernel_size=kernels[i],
                bias=False,
            )
            for i in reversed(range(stages - 1))
        )
        self.decoder = nn.ModuleList(
            blocks(count, i) for count, i in zip(ups, reversed(range(stages - 1)), strict=True)
        )
        self.heads = nn.ModuleList(conv_layer(spatial_dims, channels[i], out_channels, 1) for i in range(dsdepth))
        he_init(self, negative_slope(act_layer(act)))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        check_input(x, self.in_channels, self.multiple, "SegResNetDS")
        x = self.stem(x)
        skips: list[Tensor] = []
        for i, stage in enumerate(self.encoder):
            x = run_block(stage, self.down[i - 1](x) if i else x, checkpointing=self.checkpointing)
            skips.append(x)
        skips.pop()
        features: list[Tensor] = []
        for up, stage, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = run_block(stage, up(x) + skip, checkpointing=self.checkpointing)
            features.append(x)
        if self.training and self.dsdepth > 1:
            return [head(f) for head, f in zip(self.heads, reversed(features), strict=False)]
        logits: Tensor = self.heads[0](x)
        return logits


def stage_strides(resolution: Sequence[float], stages: int) -> list[tuple[int, ...]]:
    """The stride after each stage that makes voxels of this spacing cubes first: 1 or 2 along each axis."""
    ahead = [math.floor(math.log2(max(resolution) / r)) for r in resolution]  # how often an axis must be halved before
    return [tuple(2 if i < n or i >= max(ahead) else 1 for n in ahead) for i in range(stages)]
