"""Residual networks with squeeze and excitation."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.residual_block import ResidualBlock, check_depths
from medframe.networks.initialisation import he_init
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.nets.resnet import DEPTHS
from medframe.networks.pooling import global_mean, max_pool_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims


class SEResNet(nn.Module):
    """Squeeze-and-excitation ResNet or, with groups, ResNeXt: (B, in_channels, *spatial) becomes (B, out_channels).

    All blocks are bottlenecks that weight their channels before the addition. `groups=1` is SE-ResNet (the first
    convolution of a block strides), `groups=32, base_width=4` SE-ResNeXt 32x4d (the middle one does).

    J. Hu, L. Shen, G. Sun, "Squeeze-and-excitation networks", CVPR 2018, doi:10.1109/CVPR.2018.00745; S. Xie et al.,
    "Aggregated residual transformations for deep neural networks", CVPR 2017, doi:10.1109/CVPR.2017.634.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        depth: 50, 101 or 152 layers.
        groups: of the middle convolutions.
        base_width: channels a group has at the first stage, when there are groups.
        reduction: how much narrower the squeeze is.
        features: channels of the first stage's middle convolution, before groups.
        dropout: before the last layer.
        norm: the normalisation.
        act: the activation.

    Raises:
        BadArgument: an unpublished depth, or an input of another rank or number of channels.

    Example:
        >>> import torch
        >>> SEResNet(2, 3, 10, groups=32)(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        depth: int = 50,
        groups: int = 1,
        base_width: int = 4,
        reduction: int = 16,
        features: int = 64,
        dropout: float = 0.0,
        norm: Spec = "batch",
        act: Spec = "relu",
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, features=features, groups=groups)
        check_depths("a network with squeeze and excitation", depth, [50, 101, 152])
        if not 0 <= dropout < 1:
            raise BadArgument("dropout is not a chance below one", found=dropout, due="0 <= dropout < 1")
        self.in_channels = in_channels
        self.multiple = (1,) * spatial_dims
        """What the input's size must be divisible by, for each axis: any size will do."""
        self.layer0 = nn.Sequential(
            OrderedDict(
                conv1=conv_layer(spatial_dims, in_channels, features, 7, 2, bias=False),
                bn1=norm_layer(norm, spatial_dims, features),
                relu1=act_layer(act),
                pool=max_pool_layer(spatial_dims, 3, 2),
            )
        )
        planes = [features * 2**i for i in range(4)]
        widths = planes if groups == 1 else [p * base_width // 64 * groups for p in planes]
        stages: list[nn.Module] = []
        for i, (inside, outside) in enumerate(pairwise([features, *(4 * p for p in planes)])):
            blocks = [
                ResidualBlock(
                    spatial_dims,
                    outside if k else inside,
                    widths[i],
                    outside,
                    2 if i and not k else 1,
                    kind="bottleneck",
                    groups=groups,
                    stride_first=groups == 1,
                    se_reduction=reduction,
                    norm=norm,
                    act=act,
                )
                for k in range(DEPTHS[depth][i])
            ]
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(4 * planes[-1], out_channels)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "SEResNet")
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.layer0(x)))))
        logits: Tensor = self.last_linear(self.dropout(global_mean(x)))
        return logits
