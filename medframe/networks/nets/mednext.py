"""MedNeXt: a U-Net of ConvNeXt blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.networks.checkpointing import run_block
from medframe.networks.initialisation import he_init
from medframe.networks.layers import conv_layer, norm_layer, transposed_conv_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims, per_axis

NormType: TypeAlias = Literal["group", "layer"]

_TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_UPS = (4, 4, 3, 2)
PRESETS: dict[str, dict[str, Any]] = {
    "S": {},
    "B": {"encoder_expansion_ratio": (2, 3, 4, 4), "decoder_expansion_ratio": _UPS, "bottleneck_expansion_ratio": 4},
    "M": {
        "encoder_expansion_ratio": (2, 3, 4, 4),
        "decoder_expansion_ratio": _UPS,
        "bottleneck_expansion_ratio": 4,
        "blocks_down": (3, 4, 4, 4),
        "blocks_bottleneck": 4,
        "blocks_up": (4, 4, 4, 3),
    },
    "L": {
        "encoder_expansion_ratio": (3, 4, 8, 8),
        "decoder_expansion_ratio": (8, 8, 4, 3),
        "bottleneck_expansion_ratio": 8,
        "blocks_down": (3, 4, 8, 8),
        "blocks_bottleneck": 8,
        "blocks_up": (8, 8, 4, 3),
    },
}
"""What the paper's table of sizes says of each, as arguments of `MedNeXt`."""


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each voxel: (B, C, *n) stays (B, C, *n)."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        last = F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, self.eps)
        return last.movedim(-1, 1)


class ResponseNorm(nn.Module):
    """Global response normalisation: channels compete by the norm of their features over all voxels.

    S. Woo et al., "ConvNeXt V2: co-designing and scaling ConvNets with masked autoencoders", CVPR 2023,
    arXiv:2301.00808.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        shape = (1, channels, *[1] * spatial_dims)
        self.beta = nn.Parameter(torch.zeros(shape))
        self.gamma = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        strength = torch.linalg.vector_norm(x, dim=tuple(range(2, x.dim())), keepdim=True)
        share = strength / (strength.mean(1, keepdim=True) + 1e-6)
        out: Tensor = self.gamma * (x * share) + self.beta + x
        return out


class MedNeXtBlock(nn.Module):
    """A depthwise convolution, normalisation, and a widening and a narrowing convolution of kernel 1 with GELU between.

    (B, in_channels, *n) becomes (B, out_channels, *m) where m is n, or n / 2 with `scale` "down", or 2 * n with "up".

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the input.
        out_channels: of the output.
        expansion: how many times as wide as the input it is between the last two convolutions.
        kernel_size: of the depthwise convolution; odd.
        residual: add the input, brought to shape by a convolution of kernel 1 where the block scales.
        norm_type: "group" for one group a channel, or "layer" over channels.
        response_norm: global response normalisation where it is widest.
        scale: "same", "down" or "up".
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        expansion: int = 4,
        kernel_size: int = 7,
        *,
        residual: bool = True,
        norm_type: NormType = "group",
        response_norm: bool = False,
        scale: Literal["same", "down", "up"] = "same",
    ) -> None:
        super().__init__()
        if norm_type not in ("group", "layer"):
            raise BadArgument("norm_type is not known", found=repr(norm_type), due="group, layer")
        if expansion < 1:
            raise BadArgument("an expansion ratio is below one", found=expansion, due="at least 1")
        kernel = per_axis("kernel_size", kernel_size, spatial_dims, odd=True)
        self.residual = residual
        self.up = scale == "up"
        stride = 1 if scale == "same" else 2
        if self.up:  # as long as 2 n - 1; a voxel is put before the first
            padding = tuple(k // 2 for k in kernel)
            self.depthwise: nn.Module = _TRANSPOSED[spatial_dims](
                in_channels, in_channels, kernel, 2, padding, groups=in_channels
            )
        else:
            self.depthwise = conv_layer(spatial_dims, in_channels, in_channels, kernel, stride, groups=in_channels)
        if norm_type == "group":
            self.norm = norm_layer(("group", {"num_groups": in_channels}), spatial_dims, in_channels)
        else:
            self.norm = ChannelNorm(in_channels)
        wide = expansion * in_channels
        self.widen = conv_layer(spatial_dims, in_channels, wide, 1)
        self.act = nn.GELU()
        self.response: nn.Module = ResponseNorm(spatial_dims, wide) if response_norm else nn.Identity()
        self.narrow = conv_layer(spatial_dims, wide, out_channels, 1)
        self.shortcut: nn.Module = nn.Identity()
        if residual and self.up:
            self.shortcut = _TRANSPOSED[spatial_dims](in_channels, out_channels, 1, 2)
        elif residual and scale == "down":
            self.shortcut = conv_layer(spatial_dims, in_channels, out_channels, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.depthwise(x))
        h = self.narrow(self.response(self.act(self.widen(h))))
        if self.residual:
            h = h + self.shortcut(x)
        return F.pad(h, [1, 0] * (h.dim() - 2)) if self.up else h


class MedNeXt(nn.Module):
    """U-Net of ConvNeXt blocks: (B, in_channels, *spatial) becomes (B, out_channels, *spatial) logits.

    A convolution of kernel 1, stages of `MedNeXtBlock` with halving blocks after them, a bottleneck, and stages with
    doubling blocks before them, whose output is added to the skip connection. With `deep_supervision`, while training,
    the answer is a list of logits at every stage, the finest first, the bottleneck's last; `DeepSupervisionLoss` takes
    it as it is. Weights: `he_init`. `MedNeXt.preset` builds the paper's S, B, M and L.

    S. Roy et al., "MedNeXt: transformer-driven scaling of ConvNets for medical image segmentation", MICCAI 2023,
    doi:10.1007/978-3-031-43901-8_39.

    Example:
        >>> net = MedNeXt.preset("S", 2, in_channels=1, out_channels=3, kernel_size=3, deep_supervision=True)
        >>> [tuple(logits.shape) for logits in net(torch.zeros(1, 1, 64, 32))]
        [(1, 3, 64, 32), (1, 3, 32, 16), (1, 3, 16, 8), (1, 3, 8, 4), (1, 3, 4, 2)]

    Args:
        spatial_dims: 1, 2 or 3.
        init_filters: channels of the finest stage, doubled from stage to stage.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        encoder_expansion_ratio: of the encoder's stages, one for all or one for each, and of the blocks after them.
        decoder_expansion_ratio: of the decoder's stages from coarse to fine, and of the blocks before them.
        bottleneck_expansion_ratio: of the bottleneck.
        kernel_size: of depthwise convolutions; odd.
        deep_supervision: give logits at every stage while training.
        use_residual_connection: add each block's input to its output; the paper always does.
        blocks_down: blocks of each encoder stage.
        blocks_bottleneck: blocks of the bottleneck.
        blocks_up: blocks of each decoder stage from coarse to fine.
        norm_type: "group" for one group a channel, or "layer" over channels.
        global_resp_norm: global response normalisation in every block that does not halve.
        checkpointing: keep less for the way back and compute it again.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`, 2 ** len(blocks_down).
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        init_filters: int = 32,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        encoder_expansion_ratio: Sequence[int] | int = 2,
        decoder_expansion_ratio: Sequence[int] | int = 2,
        bottleneck_expansion_ratio: int = 2,
        kernel_size: int = 7,
        deep_supervision: bool = False,
        use_residual_connection: bool = False,
        blocks_down: Sequence[int] = (2, 2, 2, 2),
        blocks_bottleneck: int = 2,
        blocks_up: Sequence[int] = (2, 2, 2, 2),
        norm_type: NormType = "group",
        global_resp_norm: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(init_filters=init_filters, in_channels=in_channels, out_channels=out_channels)
        n = len(blocks_down)
        if n < 1 or len(blocks_up) != n or min(*blocks_down, *blocks_up, blocks_bottleneck) < 0:
            raise BadArgument(
                "blocks_down and blocks_up do not describe the same stages",
                found=f"{tuple(blocks_down)} and {tuple(blocks_up)}",
                due="as many numbers of blocks on the way up as on the way down",
            )
        ratios = [
            [r] * n if isinstance(r, int) else list(r) for r in (encoder_expansion_ratio, decoder_expansion_ratio)
        ]
        if any(len(r) != n for r in ratios):
            raise BadArgument(
                "expansion ratios and stages differ in number",
                found=f"{encoder_expansion_ratio} and {decoder_expansion_ratio}",
                due=f"one number, or {n} of them",
            )
        self.in_channels = in_channels
        self.multiple = (2**n,) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        self.deep_supervision = deep_supervision
        self.checkpointing = checkpointing
        widths = [init_filters * 2**i for i in range(n + 1)]

        def block(inside: int, outside: int, ratio: int, scale: Literal["same", "down", "up"] = "same") -> nn.Module:
            return MedNeXtBlock(
                spatial_dims,
                inside,
                outside,
                ratio,
                kernel_size,
                residual=use_residual_connection,
                norm_type=norm_type,
                response_norm=global_resp_norm and scale != "down",
                scale=scale,
            )

        def stage(width: int, ratio: int, count: int) -> nn.Module:
            return nn.Sequential(*(block(width, width, ratio) for _ in range(count)))

        finer = widths[-2::-1]
        self.stem = conv_layer(spatial_dims, in_channels, init_filters, 1)
        self.encoder = nn.ModuleList(map(stage, widths[:-1], ratios[0], blocks_down))
        self.down = nn.ModuleList(block(w, 2 * w, r, "down") for w, r in zip(widths[:-1], ratios[0], strict=True))
        self.bottleneck = stage(widths[-1], bottleneck_expansion_ratio, blocks_bottleneck)
        self.up = nn.ModuleList(block(2 * w, w, r, "up") for w, r in zip(finer, ratios[1], strict=True))
        self.decoder = nn.ModuleList(map(stage, finer, ratios[1], blocks_up))
        self.heads = nn.ModuleList(
            transposed_conv_layer(spatial_dims, w, out_channels, 1, 1)
            for w in (widths if deep_supervision else widths[:1])
        )
        he_init(self)

    @classmethod
    def preset(
        cls, size: str, spatial_dims: int, in_channels: int, out_channels: int, *, kernel_size: int = 3, **more: Any
    ) -> MedNeXt:
        """The paper's network of a size: "S", "B", "M" or "L", with residual connections.

        Raises:
            BadArgument: an unknown size.
        """
        if size not in PRESETS:
            raise BadArgument("the size is not known", found=repr(size), due=", ".join(PRESETS))
        settings = {"use_residual_connection": True, **PRESETS[size], **more}
        return cls(
            spatial_dims, in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size, **settings
        )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        check_input(x, self.in_channels, self.multiple, "MedNeXt")
        x = self.stem(x)
        skips: list[Tensor] = []
        for stage, down in zip(self.encoder, self.down, strict=True):
            x = run_block(stage, x, checkpointing=self.checkpointing)
            skips.append(x)
            x = run_block(down, x, checkpointing=self.checkpointing)
        x = run_block(self.bottleneck, x, checkpointing=self.checkpointing)
        features = [x]
        for up, stage, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = skip + run_block(up, x, checkpointing=self.checkpointing)
            x = run_block(stage, x, checkpointing=self.checkpointing)
            features.append(x)
        if self.training and self.deep_supervision:
            return [head(f) for head, f in zip(self.heads, reversed(features), strict=True)]
        logits: Tensor = self.heads[0](x)
        return logits
