"""nnU-Net's U-Net with a residual encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.checkpointing import run_block
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer, conv_layer, transposed_conv_layer
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims, per_axis, total_stride

_MEANS: dict[int, type[nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_BLOCKS = (1, 3, 4, 6)  # of the encoder's stages; 6 for all further ones
_SMALLEST = 4  # voxels that the coarsest stage keeps along an axis

PATCHES: dict[str, dict[int, tuple[int, ...]]] = {
    "M": {2: (512, 512), 3: (128, 128, 128)},
    "L": {2: (768, 768), 3: (160, 160, 160)},
    "XL": {2: (1024, 1024), 3: (192, 192, 192)},
}
"""The patch each preset is built for where none is given; what fits a GPU depends on the batch, too."""


class ResidualStageBlock(nn.Module):
    """act(shortcut(x) + norm(conv(act(norm(strided conv(x)))))): (B, in_channels, *n) to (B, out_channels, *(n / s)).

    The short cut averages over the stride, and where channels change a convolution of kernel 1 and a normalisation
    follow, so that no voxel is skipped (block D of T. He et al., "Bag of tricks for image classification with
    convolutional neural networks", CVPR 2019, doi:10.1109/CVPR.2019.00065).
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: Sequence[int],
        *,
        norm: Spec | None,
        act: Spec,
        dropout: float,
        bias: bool,
    ) -> None:
        super().__init__()
        conv = partial(Convolution, spatial_dims, norm=norm, bias=bias)
        self.conv1 = conv(in_channels, out_channels, kernel_size, stride, act=act, dropout=dropout)
        self.conv2 = conv(out_channels, out_channels, kernel_size, act=None)
        self.shortcut = nn.Sequential()
        if math.prod(stride) > 1:
            self.shortcut.append(_MEANS[spatial_dims](tuple(stride), tuple(stride)))
        if in_channels != out_channels:
            bare = Convolution(spatial_dims, in_channels, out_channels, 1, norm=norm, act=None, bias=False)
            self.shortcut.append(bare)
        self.act = act_layer(act)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.conv2(self.conv1(x)) + self.shortcut(x))
        return out


class ResEncUNet(nn.Module):
    """nnU-Net's U-Net with a residual encoder: (B, in_channels, *spatial) to (B, out_channels, *spatial) logits.

    One convolution, then stages of residual blocks whose first strides by `strides[i]`. The decoder upsamples by a
    transposed convolution whose kernel is its stride, concatenates the skip connection and convolves
    `n_conv_per_stage_decoder` times. With `deep_supervision`, while training, the answer is a list of logits, the
    finest first, each coarser one smaller by the next of `strides[1:]`; `DeepSupervisionLoss` takes it as it is.
    Weights: `he_init`. `ResEncUNet.preset` builds nnU-Net's presets M, L and XL.

    F. Isensee, T. Wald, C. Ulrich, M. Baumgartner, S. Roy, K. Maier-Hein, P. F. Jäger, "nnU-Net revisited: a call for
    rigorous validation in 3D medical image segmentation", MICCAI 2024, doi:10.1007/978-3-031-72114-4_47.

    Example:
        >>> net = ResEncUNet(2, 1, 3, kernel_size=[3, 3, 3], strides=[1, 2, 2], channels=(8, 16, 32))
        >>> net(torch.zeros(1, 1, 64, 32)).shape
        torch.Size([1, 3, 64, 32])

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        kernel_size: of each stage, two stages or more; each a number or one for each axis, odd.
        strides: of each stage, the first all ones; each a number or one for each axis.
        channels: of each stage; by default 32 doubled from stage to stage, at most 320 in 3-D and 512 otherwise.
        n_blocks_per_stage: residual blocks of each stage; by default 1, 3, 4, and 6 for all further ones.
        n_conv_per_stage_decoder: one number for all stages of the decoder.
        norm: the normalisation; None for none.
        act: the activation.
        deep_supervision: give logits at every decoder stage while training.
        dropout: the chance that a voxel of a channel is set to zero, in the encoder's first convolutions of a block.
        bias: whether convolutions have one.
        checkpointing: keep less for the way back and compute it again.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[PerAxis],
        strides: Sequence[PerAxis],
        *,
        channels: Sequence[int] | None = None,
        n_blocks_per_stage: Sequence[int] | None = None,
        n_conv_per_stage_decoder: int = 1,
        norm: Spec | None = "instance",
        act: Spec = ("leaky_relu", {"negative_slope": 0.01}),
        deep_supervision: bool = False,
        dropout: float = 0.0,
        bias: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        stages = len(strides)
        if channels is None:
            channels = [min(32 * 2**i, 320 if spatial_dims == 3 else 512) for i in range(stages)]
        blocks = [*_BLOCKS, *[6] * stages][:stages] if n_blocks_per_stage is None else list(n_blocks_per_stage)
        check_channels(in_channels=in_channels, out_channels=out_channels, channels=channels)
        if not len(kernel_size) == stages == len(channels) == len(blocks) >= 2:
            raise BadArgument(
                "kernel_size, strides, channels and n_blocks_per_stage do not describe the same stages",
                found=f"{len(kernel_size)} kernels, {stages} strides, {len(channels)} channels, {len(blocks)} blocks",
                due="one of each for every stage, two stages or more",
            )
        if min(*blocks, n_conv_per_stage_decoder) < 1:
            raise BadArgument(
                "a stage has no block", found=f"{tuple(blocks)}, {n_conv_per_stage_decoder}", due="at least 1 each"
            )
        kernels = [per_axis(f"kernel_size[{i}]", k, spatial_dims, odd=True) for i, k in enumerate(kernel_size)]
        steps = [per_axis(f"strides[{i}]", s, spatial_dims) for i, s in enumerate(strides)]
        if math.prod(steps[0]) != 1:
            raise BadArgument("the first stage strides", found=f"strides[0]={strides[0]}", due="1 along every axis")
        self.in_channels = in_channels
        self.multiple = total_stride(steps)
        """What the input's size must be divisible by, for each axis."""
        self.deep_supervision = deep_supervision
        self.checkpointing = checkpointing
        conv = partial(Convolution, spatial_dims, norm=norm, act=act, bias=bias)
        ones = (1,) * spatial_dims

        def encode(inside: int, outside: int, kernel: PerAxis, stride: Sequence[int], count: int) -> nn.Module:
            return nn.Sequential(
                *(
                    ResidualStageBlock(
                        spatial_dims,
                        outside if i else inside,
                        outside,
                        kernel,
                        ones if i else stride,
                        norm=norm,
                        act=act,
                        dropout=dropout,
                        bias=bias,
                    )
                    for i in range(count)
                )
            )

        def decode(width: int, kernel: PerAxis) -> nn.Module:
            count = n_conv_per_stage_decoder
            return nn.Sequential(*(conv(width if i else 2 * width, width, kernel) for i in range(count)))

        self.stem = conv(in_channels, channels[0], kernels[0])
        self.encoder = nn.ModuleList(map(encode, [channels[0], *channels[:-1]], channels, kernels, steps, blocks))
        self.up = nn.ModuleList(
            transposed_conv_layer(spatial_dims, below, skip, step, step, bias=bias)
            for (skip, below), step in zip(pairwise(channels), steps[1:], strict=True)
        )
        self.decoder = nn.ModuleList(
            decode(width, kernel) for width, kernel in zip(channels[:-1], kernels, strict=False)
        )
        supervised = channels[:-1] if deep_supervision else channels[:1]
        self.heads = nn.ModuleList(conv_layer(spatial_dims, c, out_channels, 1) for c in supervised)
        he_init(self, negative_slope(act_layer(act)))

    @classmethod
    def preset(
        cls,
        size: str,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        patch_size: Sequence[int] | None = None,
        spacing: Sequence[float] | None = None,
        **more: Any,
    ) -> ResEncUNet:
        """nnU-Net's preset "M", "L" or "XL".

        The three share blocks, channels and the rule for stages (`stages_of`), and are meant for GPUs of about 8, 24
        and 40 GB: what grows is the patch, and with it the number of stages.

        Args:
            size: "M", "L" or "XL".
            spatial_dims: 2 or 3.
            in_channels: of the image.
            out_channels: of the logits.
            patch_size: the patch to train on; by default that of `PATCHES`.
            spacing: the voxels' spacing along each axis; by default cubes.
            more: further arguments of `ResEncUNet`.

        Raises:
            BadArgument: an unknown size, or a patch or spacing that is none.
        """
        if size not in PATCHES or spatial_dims not in PATCHES[size]:
            raise BadArgument(
                "the preset is not known",
                found=f"{size!r} in {spatial_dims}-D",
                due=f"{', '.join(PATCHES)} in 2-D or 3-D",
            )
        patch = PATCHES[size][spatial_dims] if patch_size is None else tuple(patch_size)
        distances = (1.0,) * spatial_dims if spacing is None else tuple(spacing)
        if len(patch) != spatial_dims or len(distances) != spatial_dims or min(*patch, *distances) <= 0:
            raise BadArgument(
                "patch_size and spacing do not fit",
                found=f"{patch} and {distances}",
                due=f"{spatial_dims} positive numbers each",
            )
        kernels, strides = stages_of(patch, distances)
        return cls(spatial_dims, in_channels, out_channels, kernels, strides, **more)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        check_input(x, self.in_channels, self.multiple, "ResEncUNet")
        x = self.stem(x)
        skips: list[Tensor] = []
        for stage in self.encoder:
            x = run_block(stage, x, checkpointing=self.checkpointing)
            skips.append(x)
        skips.pop()
        features: list[Tensor] = []
        for up, stage, skip in zip(reversed(self.up), reversed(self.decoder), reversed(skips), strict=True):
            x = run_block(stage, torch.cat([up(x), skip], 1), checkpointing=self.checkpointing)
            features.append(x)
        features.reverse()  # finest first, as the heads are
        if self.training and self.deep_supervision:
            return [head(f) for head, f in zip(self.heads, features, strict=True)]
        logits: Tensor = self.heads[0](x)
        return logits


def stages_of(
    patch_size: Sequence[int], spacing: Sequence[float]
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """nnU-Net's kernels and strides of each stage for a patch of voxels of a spacing.

    An axis is halved while it has eight voxels or more and its voxels are less than twice as long as the shortest that
    can be halved; it is convolved along as soon as its voxels are less than twice as long as the shortest.

    F. Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    Nature Methods 18, 2021, doi:10.1038/s41592-020-01008-z.
    """
    sizes, lengths = list(patch_size), [float(s) for s in spacing]
    kernels = []
    kernel = [1] * len(sizes)
    strides = [(1,) * len(sizes)]
    while True:
        large = [i for i, n in enumerate(sizes) if n >= 2 * _SMALLEST]
        halved = [i for i in large if lengths[i] / min(lengths[j] for j in large) < 2]
        if not halved or (len(halved) == 1 and sizes[halved[0]] < 3 * _SMALLEST):
            break
        kernel = [3 if k == 3 or length / min(lengths) < 2 else 1 for k, length in zip(kernel, lengths, strict=True)]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if i in halved else 1 for i in range(len(sizes))))
        for i in halved:
            sizes[i] = -(-sizes[i] // 2)
            lengths[i] *= 2
    if not kernels:
        raise BadArgument("the patch is too small for a second stage", found=tuple(patch_size), due="8 voxels or more")
    kernels.append((3,) * len(sizes))
    return kernels, strides
