"""The halves of the U-Nets of weakly supervised registration: an encoder, a decoder, and answers at several levels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.initialisation import he_init
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.pooling import max_pool_layer
from medframe.networks.sizes import PerAxis, check_channels, check_spatial_dims

Resize: TypeAlias = Literal["linear", "nearest"]
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class NormedResidual(nn.Module):
    """Twice convolution and batch normalisation, added to the input before the second activation."""

    def __init__(self, spatial_dims: int, channels: int, kernel_size: PerAxis = 3) -> None:
        super().__init__()
        self.conv1 = Convolution(spatial_dims, channels, channels, kernel_size, norm="batch", act="relu", bias=False)
        self.conv2 = Convolution(spatial_dims, channels, channels, kernel_size, norm="batch", act=None, bias=False)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.conv2(self.conv1(x)) + x)
        return out


def registration_stage(spatial_dims: int, inside: int, outside: int, kernel_size: PerAxis = 3) -> nn.Module:
    """Convolution, batch normalisation, activation; then `NormedResidual`."""
    conv = Convolution(spatial_dims, inside, outside, kernel_size, norm="batch", act="relu", bias=False)
    return nn.Sequential(conv, NormedResidual(spatial_dims, outside, kernel_size))


class RegistrationEncoder(nn.Module):
    """(B, in_channels, *spatial) to the features of each level, finest first; sizes are halved, channels doubled.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the moving and the fixed image together.
        num_channel_initial: of the finest level.
        depth: how often sizes are halved.
        kernel_sizes: of each of the depth + 1 levels, or one for all; odd.
        pooling: halve sizes by maximum pooling; else by convolutions of kernel and stride 2.
        residual_bottom: whether the coarsest level has its residual part, too.

    Raises:
        BadArgument: numbers out of range, or another number of kernels than levels.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        num_channel_initial: int,
        depth: int,
        *,
        kernel_sizes: int | Sequence[int] = 3,
        pooling: bool = True,
        residual_bottom: bool = True,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, num_channel_initial=num_channel_initial, depth=depth)
        kernels = [kernel_sizes] * (depth + 1) if isinstance(kernel_sizes, int) else list(kernel_sizes)
        if len(kernels) != depth + 1:
            raise BadArgument(
                "encode_kernel_sizes does not hold one size for each level",
                found=tuple(kernels),
                due=f"one number, or {depth + 1} of them",
            )
        self.channels = [num_channel_initial * 2**level for level in range(depth + 1)]
        stage = partial(registration_stage, spatial_dims)
        self.stages = nn.ModuleList(
            stage(inside, outside, kernel)
            for inside, outside, kernel in zip(
                [in_channels, *self.channels[:-2]], self.channels[:-1], kernels[:-1], strict=True
            )
        )
        self.down = nn.ModuleList(
            max_pool_layer(spatial_dims) if pooling else _halved(spatial_dims, n) for n in self.channels[:-1]
        )
        bottom = stage(self.channels[-2], self.channels[-1], kernels[-1])
        self.bottom = bottom if residual_bottom else bottom[0]  # type: ignore[index]  # a Sequential
        he_init(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for stage, down in zip(self.stages, self.down, strict=True):
            levels.append(stage(x))
            x = down(levels[-1])
        return [*levels, self.bottom(x)]


class RegistrationDecoder(nn.Module):
    """The features of each level, finest first, to those of the decoder, coarsest first, down to `finest`.

    Args:
        spatial_dims: 1, 2 or 3.
        channels: of each level, finest first.
        finest: the level at which to stop.
        concat_skip: join what comes from the encoder; else add it.
        additive: add the input, its channels summed in halves and its voxels repeated, to what is upsampled.
        mode: of that repetition: "nearest" or "linear".
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: Sequence[int],
        finest: int,
        *,
        concat_skip: bool = False,
        additive: bool = False,
        mode: Resize = "nearest",
    ) -> None:
        super().__init__()
        self.concat_skip, self.additive, self.mode = concat_skip, additive, mode
        ways = list(range(len(channels) - 2, finest - 1, -1))
        up = partial(Convolution, spatial_dims, kernel_size=3, stride=2, transposed=True)
        self.up = nn.ModuleList(up(channels[i + 1], channels[i], norm="batch", act="relu", bias=False) for i in ways)
        self.stages = nn.ModuleList(
            registration_stage(spatial_dims, channels[i] * (2 if concat_skip else 1), channels[i]) for i in ways
        )
        he_init(self)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        x = levels[-1]
        answers = [x]
        for up, stage, skip in zip(self.up, self.stages, reversed(levels[:-1]), strict=False):
            risen = up(x)
            if self.additive:
                half = x.shape[1] // 2
                risen = risen + resized(x[:, :half] + x[:, half:], risen.shape[2:], self.mode)
            x = stage(torch.cat([risen, skip], 1) if self.concat_skip else risen + skip)
            answers.append(x)
        return answers


class LevelAnswers(nn.Module):
    """The mean of what a convolution answers at each of several levels, each brought to the full size.

    Args:
        spatial_dims: 1, 2 or 3.
        channels: of each level, finest first.
        levels: which of them answer.
        out_channels: of the answer.
        zeros: begin with weights of zero.
        act: of each level's answer; None for none.
        mode: how answers are enlarged: "nearest" or "linear".
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: Sequence[int],
        levels: Sequence[int],
        out_channels: int,
        *,
        zeros: bool = True,
        act: Spec | None = None,
        mode: Resize = "nearest",
    ) -> None:
        super().__init__()
        self.levels, self.coarsest, self.mode = tuple(levels), len(channels) - 1, mode
        self.heads = nn.ModuleList(
            conv_layer(spatial_dims, channels[level], out_channels, 3, bias=False) for level in levels
        )
        self.act: nn.Module = nn.Identity() if act is None else act_layer(act)
        he_init(self)
        if zeros:
            for head in self.heads:
                nn.init.zeros_(head.weight)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """`features` are the decoder's answers, coarsest first."""
        answers = [
            resized(self.act(head(features[self.coarsest - level])), size, self.mode)
            for head, level in zip(self.heads, self.levels, strict=True)
        ]
        return torch.stack(answers).mean(0)


def check_resize(mode: str) -> None:
    """Raise BadArgument unless the way to enlarge is one we know."""
    if mode not in ("nearest", "linear"):
        raise BadArgument("the way to enlarge is not known", where="mode", found=repr(mode), due="nearest or linear")


def resized(x: Tensor, size: Sequence[int], mode: Resize) -> Tensor:
    """(B, C, *spatial) brought to a size by nearest or linear interpolation."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    if mode == "nearest":
        return F.interpolate(x, list(size), mode="nearest")
    return F.interpolate(x, list(size), mode=_LINEAR[len(size)], align_corners=False)


def _halved(spatial_dims: int, channels: int) -> nn.Module:
    conv = type(conv_layer(spatial_dims, 1, 1, 1))(channels, channels, 2, 2, bias=False)
    return nn.Sequential(conv, norm_layer("batch", spatial_dims, channels), nn.ReLU())
