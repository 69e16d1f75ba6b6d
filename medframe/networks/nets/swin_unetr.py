"""A U-Net whose encoder is a transformer with shifted windows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.networks.blocks.patch_embedding import patch_conv
from medframe.networks.blocks.unetr import ResidualConv, UpJoin
from medframe.networks.blocks.window_attention import SwinBlock
from medframe.networks.layers import Spec, conv_layer
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims, per_axis

Merging: TypeAlias = Literal["merging", "mergingv2"]


class PatchMerging(nn.Module):
    """Neighbours of 2 voxels along each axis become one with twice the channels: (B, *spatial, C) halves its sizes.

    Args:
        spatial_dims: 2 or 3.
        channels: C.
        merging: the order in which neighbours stand in front of the linear layer, which weights depend on: first those
            that differ in one axis ("merging"), or as counted ("mergingv2"). In 2-D the two are the same.
    """

    def __init__(self, spatial_dims: int, channels: int, merging: Merging) -> None:
        super().__init__()
        # the last axis varies slowest, but for the second version in 3-D
        corners = [c[::-1] for c in product((0, 1), repeat=spatial_dims)]
        if spatial_dims == 3:
            corners = sorted(corners, key=sum) if merging == "merging" else [c[::-1] for c in corners]
        self.corners = tuple(corners)
        self.reduction = nn.Linear(2**spatial_dims * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(2**spatial_dims * channels)

    def forward(self, x: Tensor) -> Tensor:
        odd = [n % 2 for n in x.shape[1:-1]]
        if any(odd):
            x = F.pad(x, (0, 0, *(k for o in reversed(odd) for k in (0, o))))
        parts = [x[(slice(None), *(slice(k, None, 2) for k in corner))] for corner in self.corners]
        out: Tensor = self.reduction(self.norm(torch.cat(parts, -1)))
        return out


class SwinStage(nn.Module):
    """Blocks whose windows are shifted in turn, then a merging."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.downsample(x)
        return out


class SwinUNETR(nn.Module):
    """Swin transformer U-Net: (B, in_channels, *spatial) becomes (B, out_channels, *spatial) logits.

    Patches of two voxels pass four stages of windowed attention, each halving the size; a convolutional decoder joins
    what every stage gave. The defaults are those of the published weights, which load by `load_weights` with
    `feature_size=48`.

    A. Hatamizadeh et al., "Swin UNETR: Swin transformers for semantic segmentation of brain tumors in MRI images",
    BrainLes 2021, doi:10.1007/978-3-031-08999-2_22; version 2 Y. He et al., "SwinUNETR-V2: stronger Swin transformers
    with stagewise convolutions for 3D medical image segmentation", MICCAI 2023, doi:10.1007/978-3-031-43901-8_40.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        feature_size: channels of the finest stage; a multiple of 12 with the default heads.
        depths: blocks of each of the four stages.
        num_heads: of each stage's attention.
        window_size: of the attention, for all axes or for each.
        mlp_ratio: how much wider a block's small network is in its middle.
        qkv_bias: whether queries, keys and values have a bias.
        norm: of the convolutions.
        normalize: normalise each stage's answer over its channels before the decoder sees it.
        merging: how sizes are halved, see `PatchMerging`.
        use_v2: a residual convolution before each stage.
        dropout: within the blocks.
        drop_path: the chance that the last block is skipped for a sample in training; earlier blocks less, linearly.
        checkpointing: compute blocks again in the backward pass rather than keep what they held: less memory.

    Raises:
        BadArgument: heads that do not divide the channels, another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of 32.

    Example:
        >>> import torch
        >>> SwinUNETR(2, 1, 3, feature_size=12)(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        feature_size: int = 24,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: PerAxis = 7,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        norm: Spec = ("instance", {"affine": False}),
        normalize: bool = True,
        merging: Merging = "merging",
        use_v2: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, feature_size=feature_size, depths=depths)
        if spatial_dims == 1 or not len(depths) == len(num_heads) == 4:
            raise BadArgument(
                "SwinUNETR has four stages in two dimensions or three",
                found=f"spatial_dims={spatial_dims}, {len(depths)} depths, {len(num_heads)} num_heads",
                due="2 or 3; four each",
            )
        if merging not in ("merging", "mergingv2"):
            raise BadArgument("merging is not known", found=merging, due='"merging" or "mergingv2"')
        window = per_axis("window_size", window_size, spatial_dims)
        self.in_channels = in_channels
        self.multiple = (32,) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        self.normalize = normalize
        f = feature_size
        self.patch_embedding = patch_conv(spatial_dims, in_channels, f, (2,) * spatial_dims)
        self.dropout = nn.Dropout(dropout)
        self.stages, self.convs = nn.ModuleList(), nn.ModuleList()
        done, total = 0, max(sum(depths) - 1, 1)
        for i, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            channels = f * 2**i
            blocks = [
                SwinBlock(
                    channels,
                    heads,
                    window,
                    shifted=k % 2 == 1,
                    mlp_ratio=mlp_ratio,
                    qkv_bias=qkv_bias,
                    dropout=dropout,
                    drop_path=drop_path * (done + k) / total,
                    checkpointing=checkpointing,
                )
                for k in range(depth)
            ]
            done += depth
            self.stages.append(SwinStage(blocks, PatchMerging(spatial_dims, channels, merging)))
            self.convs.append(ResidualConv(spatial_dims, channels, channels, norm) if use_v2 else nn.Identity())
        self.encoder1 = ResidualConv(spatial_dims, in_channels, f, norm)
        self.encoder2 = ResidualConv(spatial_dims, f, f, norm)
        self.encoder3 = ResidualConv(spatial_dims, 2 * f, 2 * f, norm)
        self.encoder4 = ResidualConv(spatial_dims, 4 * f, 4 * f, norm)
        self.encoder10 = ResidualConv(spatial_dims, 16 * f, 16 * f, norm)
        self.decoder5 = UpJoin(spatial_dims, 16 * f, 8 * f, norm=norm)
        self.decoder4 = UpJoin(spatial_dims, 8 * f, 4 * f, norm=norm)
        self.decoder3 = UpJoin(spatial_dims, 4 * f, 2 * f, norm=norm)
        self.decoder2 = UpJoin(spatial_dims, 2 * f, f, norm=norm)
        self.decoder1 = UpJoin(spatial_dims, f, f, norm=norm)
        self.out = conv_layer(spatial_dims, f, out_channels, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """The patches' features and the four stages' answers, (B, channels, *spatial), finest first."""
        x = self.dropout(self.patch_embedding(x))
        answers = [self._normalised(x)]
        for conv, stage in zip(self.convs, self.stages, strict=True):
            x = conv(x)
            x = stage(x.movedim(1, -1)).movedim(-1, 1).contiguous()
            answers.append(self._normalised(x))
        return answers

    def _normalised(self, x: Tensor) -> Tensor:
        if not self.normalize:
            return x
        return F.layer_norm(x.movedim(1, -1), (x.shape[1],)).movedim(-1, 1)

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "SwinUNETR")
        x0, x1, x2, x3, x4 = self.encode(x)
        out = self.decoder5(self.encoder10(x4), x3)
        out = self.decoder4(out, self.encoder4(x2))
        out = self.decoder3(out, self.encoder3(x1))
        out = self.decoder2(out, self.encoder2(x0))
        logits: Tensor = self.out(self.decoder1(out, self.encoder1(x)))
        return logits
