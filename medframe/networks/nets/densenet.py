"""Densely connected networks for classification."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medframe.base.errors import BadArgument
from medframe.networks.blocks.residual_block import check_depths
from medframe.networks.initialisation import he_init
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.pooling import global_mean, max_pool_layer, mean_pool_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims

DEPTHS: dict[int, tuple[int, int, int, int]] = {
    121: (6, 12, 24, 16),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}


class DenseLayer(nn.Sequential):
    """Normalised, activated, squeezed by a 1-voxel convolution, then `growth_rate` new channels behind the old ones."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        *,
        growth_rate: int,
        bn_size: int,
        dropout: float,
        norm: Spec,
        act: Spec,
    ) -> None:
        super().__init__(
            OrderedDict(
                norm1=norm_layer(norm, spatial_dims, in_channels),
                relu1=act_layer(act),
                conv1=conv_layer(spatial_dims, in_channels, bn_size * growth_rate, 1, bias=False),
                norm2=norm_layer(norm, spatial_dims, bn_size * growth_rate),
                relu2=act_layer(act),
                conv2=conv_layer(spatial_dims, bn_size * growth_rate, growth_rate, 3, bias=False),
            )
        )
        if dropout > 0:
            self.add_module("dropout", nn.Dropout(dropout))


class DenseBlock(nn.ModuleDict):
    """Layers that each see the answers of all before them."""

    def __init__(self, layers: list[DenseLayer], checkpointing: bool) -> None:
        super().__init__({f"denselayer{i}": layer for i, layer in enumerate(layers, 1)})
        self.checkpointing = checkpointing

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.values():
            if self.checkpointing and self.training:
                new = checkpoint(layer, x, use_reentrant=False)
            else:
                new = layer(x)
            x = torch.cat([x, new], 1)
        return x


class DenseNet(nn.Module):
    """Densely connected network: (B, in_channels, *spatial) of any size becomes (B, out_channels) logits.

    Modules are named as in torchvision, so 2-D weights load by name. Weights: `he_init`.

    G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, "Densely connected convolutional networks", CVPR 2017,
    doi:10.1109/CVPR.2017.243.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        depth: 121, 169, 201 or 264 layers.
        init_features: channels of the first convolution.
        growth_rate: channels each layer adds.
        block_config: layers of each block, instead of those of `depth`.
        bn_size: how many times the growth rate the squeeze within a layer is wide.
        dropout: after each layer.
        norm: the normalisation.
        act: the activation.
        checkpointing: compute layers again in the backward pass rather than keep what they held: less memory.

    Raises:
        BadArgument: an unpublished depth, or an input of another rank or number of channels.

    Example:
        >>> import torch
        >>> DenseNet(2, 1, 2, depth=121)(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 2])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        depth: int = 121,
        init_features: int = 64,
        growth_rate: int = 32,
        block_config: tuple[int, ...] | None = None,
        bn_size: int = 4,
        dropout: float = 0.0,
        norm: Spec = "batch",
        act: Spec = "relu",
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_depths("a DenseNet", depth, list(DEPTHS))
        blocks = DEPTHS[depth] if block_config is None else block_config
        check_channels(in_channels=in_channels, out_channels=out_channels, growth_rate=growth_rate, block_config=blocks)
        if not 0 <= dropout < 1:
            raise BadArgument("dropout is not a chance below one", found=dropout, due="0 <= dropout < 1")
        self.in_channels = in_channels
        self.multiple = (1,) * spatial_dims
        """What the input's size must be divisible by, for each axis: any size will do."""
        normed = partial(norm_layer, norm, spatial_dims)
        self.features = nn.Sequential(
            OrderedDict(
                conv0=conv_layer(spatial_dims, in_channels, init_features, 7, 2, bias=False),
                norm0=normed(init_features),
                relu0=act_layer(act),
                pool0=max_pool_layer(spatial_dims, 3, 2, 1),
            )
        )
        layer = partial(DenseLayer, growth_rate=growth_rate, bn_size=bn_size, dropout=dropout, norm=norm, act=act)
        channels = init_features
        for i, layers in enumerate(blocks, 1):
            made = [layer(spatial_dims, channels + k * growth_rate) for k in range(layers)]
            self.features.add_module(f"denseblock{i}", DenseBlock(made, checkpointing))
            channels += layers * growth_rate
            if i < len(blocks):
                transition = OrderedDict(
                    norm=normed(channels),
                    relu=act_layer(act),
                    conv=conv_layer(spatial_dims, channels, channels // 2, 1, bias=False),
                    pool=mean_pool_layer(spatial_dims),
                )
                self.features.add_module(f"transition{i}", nn.Sequential(transition))
                channels //= 2
        self.features.add_module("norm5", normed(channels))
        self.act = act_layer(act)
        self.classifier = nn.Linear(channels, out_channels)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "DenseNet")
        logits: Tensor = self.classifier(global_mean(self.act(self.features(x))))
        return logits
