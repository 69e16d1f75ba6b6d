"""A U-Net around a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.blocks.residual_block import Shortcut
from medframe.networks.layers import Spec, conv_layer
from medframe.networks.nets.efficientnet import SCALES, EfficientNet
from medframe.networks.nets.resnet import DEPTHS, ResNet
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims

BACKBONES = (*(f"efficientnet_{s}" for s in SCALES), *(f"resnet{d}" for d in DEPTHS))


class FlexibleUNet(nn.Module):
    """U-Net whose encoder is a classifier that may be pretrained: (B, in_channels, *spatial) to (B, out_channels, ...).

    The encoder halves the size five times. Each decoder stage halves the channels, doubles the size by repeating
    voxels, joins what the encoder had at that size, and convolves twice; the last has nothing to join. Load
    pretrained weights into `network.encoder` with `load_weights`.

    O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI 2015,
    doi:10.1007/978-3-319-24574-4_28; encoders: see `EfficientNet` and `ResNet`.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        backbone: "efficientnet_b0" to "efficientnet_b8", or "resnet10" to "resnet200".
        decoder_channels: of the five decoder stages, coarsest first.
        norm: the decoder's normalisation.
        act: the decoder's activation.
        dropout: after each of the decoder's normalisations.
        decoder_bias: whether the decoder's convolutions have one.
        shortcut: of a residual encoder, see `ResNet`.

    Raises:
        BadArgument: an unknown backbone, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of 32.

    Example:
        >>> import torch
        >>> FlexibleUNet(2, 1, 4, backbone="resnet18")(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 4, 64, 64])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        backbone: str = "efficientnet_b0",
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        norm: Spec = ("batch", {"eps": 1e-3, "momentum": 0.1}),
        act: Spec = "relu",
        dropout: float = 0.0,
        decoder_bias: bool = False,
        shortcut: Shortcut = "projection",
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, decoder_channels=decoder_channels)
        if backbone not in BACKBONES:
            raise BadArgument("this backbone is not known", found=backbone, due=", ".join(BACKBONES))
        if len(decoder_channels) != 5:
            raise BadArgument(
                "the decoder has one stage for each halving", found=f"{len(decoder_channels)} channels", due="5"
            )
        self.in_channels = in_channels
        self.multiple = (32,) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        if backbone.startswith("resnet"):
            depth = int(backbone.removeprefix("resnet"))
            self.encoder: ResNet | EfficientNet = ResNet(spatial_dims, in_channels, 1, depth=depth, shortcut=shortcut)
            del self.encoder.fc  # the classifier's head has no part in it
        else:
            self.encoder = EfficientNet(spatial_dims, in_channels, 1, scale=backbone.removeprefix("efficientnet_"))
            del self.encoder.conv_head, self.encoder.bn2, self.encoder.dropout, self.encoder.classifier
        conv = partial(Convolution, spatial_dims, norm=norm, act=act, dropout=dropout, bias=decoder_bias)
        deepest, *skips = reversed(self.encoder.channels)
        self.squeeze, self.decoder = nn.ModuleList(), nn.ModuleList()
        for (below, outside), skip in zip(pairwise([deepest, *decoder_channels]), [*skips, 0], strict=True):
            self.squeeze.append(conv_layer(spatial_dims, below, below // 2, 1) if skip else nn.Identity())
            inside = below // 2 + skip if skip else below
            self.decoder.append(nn.Sequential(conv(inside, outside), conv(outside, outside)))
        self.head = conv_layer(spatial_dims, decoder_channels[-1], out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "FlexibleUNet")
        *skips, x = self.encoder.encode(x)
        for squeeze, stage in zip(self.squeeze, self.decoder, strict=True):
            x = F.interpolate(squeeze(x), scale_factor=2, mode="nearest")
            if skips:
                x = torch.cat([skips.pop(), x], 1)
            x = stage(x)
        logits: Tensor = self.head(x)
        return logits
