"""EfficientNet, for classification and as an encoder."""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.drop_path import DropPath
from medframe.networks.blocks.residual_block import grouped
from medframe.networks.initialisation import he_init
from medframe.networks.layers import conv_layer, norm_layer
from medframe.networks.pooling import global_mean, pad_same
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims, per_axis

SCALES: dict[str, tuple[float, float, int, float]] = {  # width, depth, size trained with, dropout
    "b0": (1.0, 1.0, 224, 0.2),
    "b1": (1.0, 1.1, 240, 0.2),
    "b2": (1.1, 1.2, 260, 0.3),
    "b3": (1.2, 1.4, 300, 0.3),
    "b4": (1.4, 1.8, 380, 0.4),
    "b5": (1.6, 2.2, 456, 0.4),
    "b6": (1.8, 2.6, 528, 0.5),
    "b7": (2.0, 3.1, 600, 0.5),
    "b8": (2.2, 3.6, 672, 0.5),
}
_STAGES = (  # blocks, kernel, stride, expansion, channels of B0
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def round_channels(channels: float, width: float) -> int:
    """Channels times `width`, to a multiple of 8 that is not more than a tenth smaller."""
    wide = channels * width
    rounded = max(8, int(wide + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wide else rounded


class SqueezeGate(nn.Module):
    """Squeeze and excitation whose width is a share of the block's input, with SiLU between."""

    def __init__(self, spatial_dims: int, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv_reduce = conv_layer(spatial_dims, channels, squeezed, 1)
        self.act = nn.SiLU(inplace=True)
        self.conv_expand = conv_layer(spatial_dims, squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(2).mean(-1).reshape(*x.shape[:2], *(1,) * (x.dim() - 2))
        gate: Tensor = self.conv_expand(self.act(self.conv_reduce(mean))).sigmoid()
        return x * gate


class SameConv(nn.Module):
    """A convolution under `pad_same`."""

    def __init__(
        self, spatial_dims: int, inside: int, outside: int, *, kernel_size: int, stride: int, groups: int = 1
    ) -> None:
        super().__init__()
        conv = grouped(conv_layer(spatial_dims, inside, outside, kernel_size, stride, bias=False), groups)
        conv.padding = (0,) * spatial_dims  # type: ignore[assignment]  # pad_same does it
        self.conv = conv
        self.kernel = per_axis("kernel_size", kernel_size, spatial_dims)
        self.stride = per_axis("stride", stride, spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(pad_same(x, self.kernel, self.stride))
        return out


class InvertedResidual(nn.Module):
    """Widen, filter each channel on its own, gate, narrow; added to the input where shapes allow."""

    def __init__(
        self,
        spatial_dims: int,
        inside: int,
        outside: int,
        *,
        kernel_size: int,
        stride: int,
        expansion: int,
        drop: float,
    ) -> None:
        super().__init__()
        wide = inside * expansion
        normed = partial(norm_layer, ("batch", {"momentum": 0.01, "eps": 1e-3}), spatial_dims)
        self.expand: nn.Module = nn.Identity()
        if expansion != 1:
            self.expand = nn.Sequential(
                conv_layer(spatial_dims, inside, wide, 1, bias=False), normed(wide), nn.SiLU(inplace=True)
            )
        self.conv_dw = SameConv(spatial_dims, wide, wide, kernel_size=kernel_size, stride=stride, groups=wide)
        self.bn_dw = normed(wide)
        self.act = nn.SiLU(inplace=True)
        self.se = SqueezeGate(spatial_dims, wide, max(1, inside // 4))
        self.conv_pw = conv_layer(spatial_dims, wide, outside, 1, bias=False)
        self.bn_pw = normed(outside)
        self.adds = stride == 1 and inside == outside
        self.drop = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.se(self.act(self.bn_dw(self.conv_dw(self.expand(x)))))
        out = self.bn_pw(self.conv_pw(out))
        return self.drop(out) + x if self.adds else out


class EfficientNet(nn.Module):
    """EfficientNet B0 to B8: (B, in_channels, *spatial) of any size becomes (B, out_channels) logits.

    Strided convolutions are padded by TensorFlow's rule (`pooling.pad_same`), as the first published weights need.

    M. Tan, Q. V. Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019,
    arXiv:1905.11946; B8 from C. Xie et al., "Adversarial examples improve image recognition", CVPR 2020,
    doi:10.1109/CVPR42600.2020.00090.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        scale: "b0" to "b8".
        drop_path: the chance that the last block is skipped for a sample in training; earlier blocks less, linearly.

    Raises:
        BadArgument: an unknown scale, or an input of another rank or number of channels.

    Example:
        >>> import torch
        >>> EfficientNet(2, 1, 3, scale="b0")(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        scale: str = "b0",
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels)
        if scale not in SCALES:
            raise BadArgument("EfficientNet has no such scale", found=scale, due=", ".join(SCALES))
        width, depth, _size, dropout = SCALES[scale]
        self.in_channels = in_channels
        self.multiple = (1,) * spatial_dims
        """What the input's size must be divisible by, for each axis: any size will do."""
        normed = partial(norm_layer, ("batch", {"momentum": 0.01, "eps": 1e-3}), spatial_dims)
        channels = round_channels(32, width)
        self.conv_stem = SameConv(spatial_dims, in_channels, channels, kernel_size=3, stride=2)
        self.bn1 = normed(channels)
        self.act = nn.SiLU(inplace=True)
        counts = [math.ceil(depth * n) for n, *_ in _STAGES]
        done = 0
        self.blocks = nn.ModuleList()
        self.channels: tuple[int, ...] = ()
        """Channels of the answers of `encode`."""
        self._finest: list[int] = []  # stages after which the next one strides
        for i, (n, (_, kernel, stride, expansion, base)) in enumerate(zip(counts, _STAGES, strict=True)):
            outside = round_channels(base, width)
            stage = nn.Sequential()
            for k in range(n):
                block = InvertedResidual(
                    spatial_dims,
                    channels,
                    outside,
                    kernel_size=kernel,
                    stride=1 if k else stride,
                    expansion=expansion,
                    drop=drop_path * done / sum(counts),
                )
                stage.append(block)
                channels, done = outside, done + 1
            self.blocks.append(stage)
            if i + 1 == len(_STAGES) or _STAGES[i + 1][2] == 2:
                self._finest.append(i)
                self.channels += (outside,)
        head = round_channels(1280, width)
        self.conv_head = conv_layer(spatial_dims, channels, head, 1, bias=False)
        self.bn2 = normed(head)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(head, out_channels)
        he_init(self)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Features at a half, a quarter, ... of the input's size, finest first; the head is not among them."""
        check_input(x, self.in_channels, self.multiple, "EfficientNet")
        x = self.act(self.bn1(self.conv_stem(x)))
        answers = []
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if i in self._finest:
                answers.append(x)
        return answers

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn2(self.conv_head(self.encode(x)[-1])))
        logits: Tensor = self.classifier(self.dropout(global_mean(x)))
        return logits
