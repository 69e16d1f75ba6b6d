"""V-Net."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.checkpointing import run_block
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims

_DROPOUTS: dict[int, type[nn.Module]] = {1: nn.Dropout1d, 2: nn.Dropout2d, 3: nn.Dropout3d}
_STRIDED: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_DOWN = (1, 2, 3, 2)  # convolutions of the encoder's stages after the first
_UP = (1, 1, 2, 2)  # of the decoder's from fine to coarse


class _Residual(nn.Module):
    """act(x + convolutions(dropout(x)))."""

    def __init__(
        self, spatial_dims: int, channels: int, count: int, *, act: Spec, bias: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout: nn.Module = _DROPOUTS[spatial_dims](dropout) if dropout else nn.Identity()
        self.convs = nn.Sequential(
            *(Convolution(spatial_dims, channels, channels, 5, norm="batch", act=act, bias=bias) for _ in range(count))
        )
        self.act = act_layer(act)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.convs(self.dropout(x)) + x)
        return out


class VNet(nn.Module):
    """V-Net with five stages: (B, in_channels, *spatial) becomes (B, out_channels, *spatial) logits.

    A stage adds what one to three convolutions of kernel 5 made of its input to that input. Between stages sizes are
    halved and channels doubled by convolutions of kernel and stride 2, and back by transposed ones of the same kernel;
    a decoder stage concatenates the skip connection. The first stage adds the image itself, repeated to its number of
    channels. Weights: `he_init`.

    F. Milletari, N. Navab, S.-A. Ahmadi, "V-Net: fully convolutional neural networks for volumetric medical image
    segmentation", 3DV 2016, doi:10.1109/3DV.2016.79.

    Example:
        >>> net = VNet(2, in_channels=1, out_channels=3)
        >>> net(torch.zeros(2, 1, 32, 64)).shape
        torch.Size([2, 3, 32, 64])

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image; a divisor of `init_filters`.
        out_channels: of the logits, one for each class.
        act: the activation.
        dropout_prob_down: the chance that a channel is set to zero in the two coarsest encoder stages; None for none.
        dropout_prob_up: the same for what comes from below in the two coarsest decoder stages, and for every skip
            connection.
        bias: whether convolutions have one. The decoder's never have and the upsampling ones and the last always do.
        init_filters: channels of the finest encoder stage, 16 in the paper.
        checkpointing: keep less for the way back and compute it again.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`, 16.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        act: Spec = "elu",
        dropout_prob_down: float | None = 0.5,
        dropout_prob_up: Sequence[float | None] = (0.5, 0.5),
        bias: bool = False,
        init_filters: int = 16,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, init_filters=init_filters)
        if init_filters % in_channels:
            raise BadArgument(
                "in_channels cannot be repeated to the first stage's channels",
                found=in_channels,
                due=f"a divisor of {init_filters}",
            )
        chances = [p or 0.0 for p in (dropout_prob_down, *dropout_prob_up)]
        if len(chances) != 3 or not all(0 <= p < 1 for p in chances):
            raise BadArgument(
                "dropout is not a chance below one",
                found=(dropout_prob_down, *dropout_prob_up),
                due="one for the way down, two for the way up",
            )
        self.in_channels = in_channels
        self.multiple = (16,) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        self.checkpointing = checkpointing
        widths = [init_filters * 2**i for i in range(5)]  # of the encoder
        wide = [*(2 * w for w in widths[:-1]), widths[-1]]  # of the decoder, the bottom last

        def halved(width: int) -> nn.Module:
            conv = _STRIDED[spatial_dims](width, 2 * width, 2, 2, bias=bias)
            return nn.Sequential(conv, norm_layer("batch", spatial_dims, 2 * width), act_layer(act))

        def doubled(inside: int, outside: int) -> nn.Module:
            return Convolution(spatial_dims, inside, outside, 2, 2, transposed=True, norm="batch", act=act)

        self.stem = Convolution(spatial_dims, in_channels, init_filters, 5, norm="batch", act=None, bias=bias)
        self.stem_act = act_layer(act)
        self.down = nn.ModuleList(halved(w) for w in widths[:-1])
        self.encoder = nn.ModuleList(
            _Residual(spatial_dims, w, count, act=act, bias=bias, dropout=chances[0] if i >= 2 else 0.0)
            for i, (w, count) in enumerate(zip(widths[1:], _DOWN, strict=True))
        )
        drop = _DROPOUTS[spatial_dims]
        self.below_dropout = nn.ModuleList(drop(chances[1]) if i >= 2 else nn.Identity() for i in range(4))
        self.skip_dropout = drop(chances[2])
        self.up = nn.ModuleList(doubled(wide[i + 1], widths[i]) for i in range(4))
        self.decoder = nn.ModuleList(
            _Residual(spatial_dims, wide[i], count, act=act, bias=False) for i, count in enumerate(_UP)
        )
        self.head = nn.Sequential(
            Convolution(spatial_dims, wide[0], out_channels, 5, norm="batch", act=act, bias=bias),
            conv_layer(spatial_dims, out_channels, out_channels, 1),
        )
        he_init(self, negative_slope(act_layer(act)))

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "VNet")
        h = self.stem(x)
        x = self.stem_act(h + x.repeat(1, h.shape[1] // x.shape[1], *[1] * (x.dim() - 2)))
        skips = [x]
        for down, stage in zip(self.down, self.encoder, strict=True):
            x = run_block(stage, down(x), checkpointing=self.checkpointing)
            skips.append(x)
        skips.pop()
        decoder = list(zip(self.below_dropout, self.up, self.decoder, skips, strict=True))
        for dropout, up, stage, skip in reversed(decoder):
            joined = torch.cat([up(dropout(x)), self.skip_dropout(skip)], 1)
            x = run_block(stage, joined, checkpointing=self.checkpointing)
        logits: Tensor = self.head(x)
        return logits
