"""The residual encoder-decoder of pre-activation blocks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.pre_activation_block import PreActivationBlock
from medframe.networks.blocks.upsampling import UpMode, Upsampling
from medframe.networks.checkpointing import run_block
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims

_DROPOUTS: dict[int, type[nn.Module]] = {1: nn.Dropout1d, 2: nn.Dropout2d, 3: nn.Dropout3d}


class SegResNet(nn.Module):
    """Asymmetric residual network: (B, in_channels, *spatial) becomes (B, out_channels, *spatial) logits.

    Encoder stage i halves sizes and doubles channels by a strided convolution (the first does not) and holds
    `blocks_down[i]` pre-activation blocks. A decoder stage halves the channels by a convolution of kernel 1, upsamples,
    adds the skip connection and holds `blocks_up[i]` blocks, counted from the coarsest. Weights: `he_init`.

    A. Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", BrainLes 2018,
    doi:10.1007/978-3-030-11726-9_28. This is the network without its autoencoder; `SegResNetVAE` has it.

    Example:
        >>> import torch
        >>> net = SegResNet(2, init_filters=8, in_channels=4, out_channels=3)
        >>> net(torch.zeros(1, 4, 32, 64)).shape
        torch.Size([1, 3, 32, 64])

    Args:
        spatial_dims: 1, 2 or 3.
        init_filters: channels of the finest stage.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        dropout_prob: the chance that a channel is set to zero after the first convolution; None for none.
        act: the activation.
        norm: the normalisation.
        use_conv_final: end in normalisation, activation and the convolution that makes logits; without, the answer is
            the `init_filters` features of the finest stage.
        blocks_down: blocks of each encoder stage.
        blocks_up: blocks of each decoder stage from coarse to fine, so one fewer.
        upsample_mode: "nontrainable", "deconv" or "pixelshuffle", see `Upsampling`.
        checkpointing: keep less for the way back and compute it again.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`, 2 ** (len(blocks_down) - 1).
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        init_filters: int = 8,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        dropout_prob: float | None = None,
        act: Spec = "relu",
        norm: Spec = ("group", {"num_groups": 8}),
        use_conv_final: bool = True,
        blocks_down: Sequence[int] = (1, 2, 2, 4),
        blocks_up: Sequence[int] = (1, 1, 1),
        upsample_mode: UpMode = "nontrainable",
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(init_filters=init_filters, in_channels=in_channels, out_channels=out_channels)
        if not blocks_down or len(blocks_up) != len(blocks_down) - 1 or min(*blocks_down, *blocks_up, 1) < 0:
            raise BadArgument(
                "blocks_down and blocks_up do not describe the same stages",
                found=f"{tuple(blocks_down)} and {tuple(blocks_up)}",
                due="numbers of blocks, for one stage fewer on the way up",
            )
        if dropout_prob is not None and not 0 <= dropout_prob < 1:
            raise BadArgument("dropout_prob is not a chance below one", found=dropout_prob, due="0 <= dropout_prob < 1")
        self.in_channels = in_channels
        self.multiple = (2 ** (len(blocks_down) - 1),) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        self.checkpointing = checkpointing
        channels = [init_filters * 2**i for i in range(len(blocks_down))]

        def blocks(count: int, width: int) -> list[nn.Module]:
            return [PreActivationBlock(spatial_dims, width, norm=norm, act=act) for _ in range(count)]

        self.stem = conv_layer(spatial_dims, in_channels, init_filters, bias=False)
        self.dropout: nn.Module = _DROPOUTS[spatial_dims](dropout_prob) if dropout_prob else nn.Identity()
        self.encoder = nn.ModuleList(
            nn.Sequential(
                conv_layer(spatial_dims, width // 2, width, stride=2, bias=False) if i else nn.Identity(),
                *blocks(count, width),
            )
            for i, (count, width) in enumerate(zip(blocks_down, channels, strict=True))
        )
        finer = channels[-2::-1]  # of the decoder's stages, coarse to fine
        self.up = nn.ModuleList(
            nn.Sequential(
                conv_layer(spatial_dims, 2 * width, width, 1, bias=False),
                Upsampling(spatial_dims, width, width, mode=upsample_mode),
            )
            for width in finer
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(*blocks(count, width)) for count, width in zip(blocks_up, finer, strict=True)
        )
        self.head = nn.Sequential()
        if use_conv_final:
            self.head = final_convolution(spatial_dims, init_filters, out_channels, norm=norm, act=act)
        he_init(self, negative_slope(act_layer(act)))

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, type(self).__name__)
        return self.decode(self.encode(x))

    def encode(self, x: Tensor) -> list[Tensor]:
        """The encoder stages' features from fine to coarse."""
        x = self.dropout(self.stem(x))
        features: list[Tensor] = []
        for stage in self.encoder:
            x = run_block(stage, x, checkpointing=self.checkpointing)
            features.append(x)
        return features

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Logits from the encoder stages' features."""
        x = features[-1]
        for up, stage, skip in zip(self.up, self.decoder, reversed(features[:-1]), strict=True):
            x = run_block(stage, up(x) + skip, checkpointing=self.checkpointing)
        logits: Tensor = self.head(x)
        return logits


def final_convolution(spatial_dims: int, channels: int, out_channels: int, *, norm: Spec, act: Spec) -> nn.Sequential:
    """Normalisation, activation and a convolution of kernel 1."""
    return nn.Sequential(
        norm_layer(norm, spatial_dims, channels), act_layer(act), conv_layer(spatial_dims, channels, out_channels, 1)
    )
