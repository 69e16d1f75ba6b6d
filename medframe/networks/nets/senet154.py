"""The largest published network with squeeze and excitation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.blocks.residual_block import grouped
from medframe.networks.blocks.squeeze_excitation import SqueezeExcitation
from medframe.networks.initialisation import he_init
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.pooling import global_mean, max_pool_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims


class WideBottleneck(nn.Module):
    """Convolutions of kernels 1, 3 in groups and 1, of twice, four and four times `width`; weighted channels; sum.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the input.
        width: a quarter of the output's channels.
        stride: of the middle convolution.
        groups: of the middle convolution.
        reduction: how much narrower the squeeze is.
        project: kernel of the convolution that carries the input across a change of size or channels.
        norm: the normalisation.
        act: the activation.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        width: int,
        stride: int,
        *,
        groups: int,
        reduction: int,
        project: int,
        norm: Spec,
        act: Spec,
    ) -> None:
        super().__init__()
        outside = 4 * width
        conv = partial(Convolution, spatial_dims, norm=norm, bias=False)
        self.conv1 = conv(in_channels, 2 * width, 1, act=act)
        middle = grouped(conv_layer(spatial_dims, 2 * width, outside, 3, stride, bias=False), groups)
        self.conv2 = nn.Sequential(
            OrderedDict(conv=middle, norm=norm_layer(norm, spatial_dims, outside), act=act_layer(act))
        )
        self.conv3 = conv(outside, outside, 1, act=None)
        self.se_module = SqueezeExcitation(outside, reduction)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != outside:
            self.downsample = conv(in_channels, outside, project, stride, act=None)
        self.act = act_layer(act)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.se_module(self.conv3(self.conv2(self.conv1(x)))) + self.downsample(x))
        return out


class SENet154(nn.Module):
    """SENet-154: (B, in_channels, *spatial) becomes (B, out_channels) logits.

    A stem of three convolutions, and bottlenecks whose middle convolution has 64 groups, whose first is half as wide
    as usual, and whose short cuts stride by kernels of 3. The smaller ones of the family are `SEResNet`.

    J. Hu, L. Shen, G. Sun, "Squeeze-and-excitation networks", CVPR 2018, doi:10.1109/CVPR.2018.00745.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        layers: blocks of each of the four stages.
        groups: of the middle convolutions.
        reduction: how much narrower the squeezes are.
        features: of the stem's first convolutions, and a quarter of the first stage's channels.
        dropout: before the last layer.
        norm: the normalisation.
        act: the activation.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.

    Example:
        >>> import torch
        >>> network = SENet154(2, 1, 3, layers=(1, 1, 1, 1), groups=4, features=8, reduction=4)
        >>> network(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        layers: Sequence[int] = (3, 8, 36, 3),
        groups: int = 64,
        reduction: int = 16,
        features: int = 64,
        dropout: float = 0.2,
        norm: Spec = "batch",
        act: Spec = "relu",
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, features=features, groups=groups)
        check_channels(layers=layers)
        if len(layers) != 4:
            raise BadArgument("layers do not describe four stages", found=tuple(layers), due="four numbers")
        if not 0 <= dropout < 1:
            raise BadArgument("dropout is not a chance below one", found=dropout, due="0 <= dropout < 1")
        self.in_channels = in_channels
        self.multiple = (1,) * spatial_dims
        """What the input's size must be divisible by, for each axis: any size will do."""
        conv = partial(Convolution, spatial_dims, norm=norm, act=act, bias=False)
        self.layer0 = nn.Sequential(
            conv(in_channels, features, 3, 2),
            conv(features, features, 3),
            conv(features, 2 * features, 3),
            max_pool_layer(spatial_dims, 3, 2),
        )
        widths = [features * 2**i for i in range(4)]
        block = partial(WideBottleneck, spatial_dims, groups=groups, reduction=reduction, norm=norm, act=act)
        stages: list[nn.Module] = []
        for i, (inside, outside) in enumerate(pairwise([2 * features, *(4 * w for w in widths)])):
            stage = nn.Sequential()
            for k in range(layers[i]):
                stride = 2 if i and not k else 1
                stage.append(block(outside if k else inside, widths[i], stride, project=3 if i else 1))
            stages.append(stage)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(4 * widths[-1], out_channels)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "SENet154")
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.layer0(x)))))
        logits: Tensor = self.last_linear(self.dropout(global_mean(x)))
        return logits
