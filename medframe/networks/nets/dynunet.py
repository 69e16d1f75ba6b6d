"""The U-Net that a planner configures: any number of stages, kernels and strides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.checkpointing import run_block
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer, conv_layer, transposed_conv_layer
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims, per_axis, total_stride


class DynUNet(nn.Module):
    """nnU-Net's plain U-Net: a few convolutions each stage, strided and transposed convolutions between stages.

    (B, in_channels, *spatial) becomes (B, out_channels, *spatial) logits. Stage i holds `convs_per_stage` times
    convolution, normalisation, activation; its first convolution strides by `strides[i]`. The decoder upsamples by a
    transposed convolution whose kernel is its stride, concatenates the skip connection and convolves again.

    With `deep_supervision`, while training, the answer is a list: logits at full resolution first, then those of every
    coarser decoder stage, each smaller by the next of `strides[1:]`; `DeepSupervisionLoss` takes it as it is. In
    evaluation mode only the logits at full resolution are made. Weights: `he_init`.

    F. Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    Nature Methods 18, 2021, doi:10.1038/s41592-020-01008-z.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        kernel_size: of each stage, two stages or more; each a number or one for each axis, odd.
        strides: of each stage, the first all ones; each a number or one for each axis.
        channels: of each stage; by default 32 doubled from stage to stage, at most 320 in 3-D and 512 otherwise.
        norm: the normalisation; None for none.
        act: the activation.
        deep_supervision: give logits at every decoder stage while training.
        convs_per_stage: in the encoder and in the decoder.
        dropout: the chance that a voxel of a channel is set to zero, after each normalisation.
        bias: whether convolutions have one; not needed before a normalisation, which takes it out again. The last
            convolutions, which make logits, always have.
        checkpointing: keep less for the way back and compute it again.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`.

    Example:
        >>> import torch
        >>> network = DynUNet(2, 1, 3, kernel_size=[3, 3, 3], strides=[1, 2, 2], channels=(8, 16, 32)).eval()
        >>> network(torch.zeros(2, 1, 32, 48)).shape
        torch.Size([2, 3, 32, 48])
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
        norm: Spec | None = "instance",
        act: Spec = ("leaky_relu", {"negative_slope": 0.01}),
        deep_supervision: bool = False,
        convs_per_stage: int = 2,
        dropout: float = 0.0,
        bias: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        if channels is None:
            channels = [min(32 * 2**i, 320 if spatial_dims == 3 else 512) for i in range(len(strides))]
        check_channels(in_channels=in_channels, out_channels=out_channels, channels=channels)
        if not len(kernel_size) == len(strides) == len(channels) >= 2:
            raise BadArgument(
                "kernel_size, strides and channels do not describe the same stages",
                found=f"{len(kernel_size)} kernels, {len(strides)} strides, {len(channels)} channels",
                due="one of each for every stage, two stages or more",
            )
        if convs_per_stage < 1:
            raise BadArgument(
                "a stage has no convolution", found=f"convs_per_stage={convs_per_stage}", due="at least 1"
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

        conv = partial(Convolution, spatial_dims, norm=norm, dropout=dropout, act=act, bias=bias)

        def stage(inside: int, outside: int, kernel: PerAxis, stride: PerAxis) -> nn.Module:
            more = (conv(outside, outside, kernel) for _ in range(convs_per_stage - 1))
            return nn.Sequential(conv(inside, outside, kernel, stride), *more)

        self.encoder = nn.ModuleList(map(stage, [in_channels, *channels[:-1]], channels, kernels, steps))
        self.up = nn.ModuleList(
            transposed_conv_layer(spatial_dims, below, skip, step, step, bias=bias)
            for (skip, below), step in zip(pairwise(channels), steps[1:], strict=True)
        )
        self.decoder = nn.ModuleList(stage(2 * c, c, k, 1) for c, k in zip(channels[:-1], kernels, strict=False))
        supervised = channels[:-1] if deep_supervision else channels[:1]
        self.heads = nn.ModuleList(conv_layer(spatial_dims, c, out_channels, 1) for c in supervised)
        he_init(self, negative_slope(act_layer(act)))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        check_input(x, self.in_channels, self.multiple, "DynUNet")
        skips: list[Tensor] = []
        for stage in self.encoder:
            x = run_block(stage, x, checkpointing=self.checkpointing)
            skips.append(x)
        skips.pop()  # the deepest stage's output goes on as x
        features: list[Tensor] = []
        for up, stage, skip in zip(reversed(self.up), reversed(self.decoder), reversed(skips), strict=True):
            x = run_block(stage, torch.cat([up(x), skip], 1), checkpointing=self.checkpointing)
            features.append(x)
        features.reverse()  # finest first, as the heads are
        if self.training and self.deep_supervision:
            return [head(f) for head, f in zip(self.heads, features, strict=True)]
        logits: Tensor = self.heads[0](x)
        return logits
