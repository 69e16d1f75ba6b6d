"""Attention within windows of an image, and the windows' shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from medframe.networks.blocks.drop_path import DropPath
from medframe.networks.blocks.transformer import MLP, check_heads


def split_windows(x: Tensor, window: Sequence[int]) -> Tensor:
    """(B, *spatial, C), sizes divisible by the window, to (B * windows, voxels of a window, C)."""
    batch, *sizes, channels = x.shape
    axes = len(window)
    x = x.reshape(
        batch, *(n for pair in zip(sizes, window, strict=True) for n in (pair[0] // pair[1], pair[1])), channels
    )
    order = [0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1]
    return x.permute(order).reshape(-1, math.prod(window), channels)


def join_windows(x: Tensor, window: Sequence[int], batch: int, sizes: Sequence[int]) -> Tensor:
    """The inverse of `split_windows`."""
    axes = len(window)
    counts = [n // w for n, w in zip(sizes, window, strict=True)]
    x = x.reshape(batch, *counts, *window, x.shape[-1])
    order = [0, *(k for a in range(axes) for k in (1 + a, 1 + axes + a)), 2 * axes + 1]
    return x.permute(order).reshape(batch, *sizes, x.shape[-1])


def shift_mask(sizes: Sequence[int], window: Sequence[int], shift: Sequence[int], device: torch.device) -> Tensor:
    """(windows, N, N) numbers added to attention: -100 between voxels that only the shift brought together."""
    region = torch.zeros((1, *sizes, 1), device=device)
    slices = [
        (slice(0, -w), slice(-w, -s), slice(-s, None)) if s else (slice(None),)
        for w, s in zip(window, shift, strict=True)
    ]
    for number, part in enumerate(product(*slices)):
        region[(slice(None), *part)] = number
    owner = split_windows(region, window)[..., 0]
    return torch.where(owner[:, None, :] == owner[:, :, None], 0.0, -100.0)


class WindowAttention(nn.Module):
    """Multi-head attention within windows, with a learned bias for each relative place.

    A window smaller than the full one (where the image is) takes the first rows of the full window's biases, as the
    published weights were trained.

    Args:
        channels: of the input (windows, N, channels).
        num_heads: divides `channels`.
        window: the full window.
        qkv_bias: whether queries, keys and values have a bias.
        dropout: of attention weights, and of the answer.
    """

    def __init__(
        self, channels: int, num_heads: int, window: Sequence[int], *, qkv_bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads = num_heads
        self.dropout = nn.Dropout(dropout)
        table = torch.zeros(math.prod(2 * w - 1 for w in window), num_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        places = torch.stack(torch.meshgrid(*[torch.arange(w) for w in window], indexing="ij")).flatten(1)
        apart = places[:, :, None] - places[:, None, :]
        index = torch.zeros_like(apart[0])
        for axis, w in enumerate(window):
            index = index * (2 * w - 1) + apart[axis] + w - 1
        self.register_buffer("relative_position_index", index, persistent=False)
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        windows, n, channels = x.shape
        q, k, v = self.qkv(x).reshape(windows, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        index: Tensor = self.relative_position_index  # type: ignore[assignment]
        bias = self.relative_position_bias_table[index[:n, :n].reshape(-1)].reshape(n, n, -1).permute(2, 0, 1)
        bias = bias.to(q.dtype)[None]
        if mask is not None:
            bias = bias + mask.to(q.dtype)[:, None]
        chance = self.dropout.p if self.training else 0.0
        x = _attention(q, k, v, bias, chance)
        out: Tensor = self.dropout(self.proj(x.transpose(1, 2).reshape(windows, n, channels)))
        return out


def _attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, dropout: float) -> Tensor:
    """Attention of (windows, heads, n, c) with a bias (kinds, heads, n, n), window i being of kind i modulo kinds."""
    windows, heads, n, _ = q.shape
    kinds = bias.shape[0]
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias.repeat(windows // kinds, 1, 1, 1), dropout_p=dropout
        )
    # on the CPU torch's own takes several looks at the scores for rows that are masked altogether, which there are not
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    if kinds == 1:
        scores.add_(bias)
    else:  # not in place: the way back through a view would copy the scores
        scores = (scores.view(-1, kinds, heads, n, n) + bias).view(windows, heads, n, n)
    return F.dropout(scores.softmax(-1), dropout) @ v


class SwinBlock(nn.Module):
    """Attention within windows, shifted by half a window or not, and a small network, each added to its input.

    Z. Liu et al., "Swin transformer: hierarchical vision transformer using shifted windows", ICCV 2021,
    doi:10.1109/ICCV48922.2021.00986. Takes and gives (B, *spatial, channels); sizes that the window does not divide
    are padded with zeros for the attention.

    Args:
        channels: of the input and the output.
        num_heads: divides `channels`.
        window: sizes of a window.
        shifted: whether windows are shifted by half.
        mlp_ratio: how much wider the small network's middle is.
        qkv_bias: whether queries, keys and values have a bias.
        dropout: of attention weights and answers.
        drop_path: the chance that a sample skips a branch in training.
        checkpointing: compute the block again in the backward pass rather than keep what it held.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        window: Sequence[int],
        *,
        shifted: bool,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.window = tuple(window)
        self.shifted = shifted
        self.checkpointing = checkpointing
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, num_heads, window, qkv_bias=qkv_bias, dropout=dropout)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, int(channels * mlp_ratio), dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.checkpointing and self.training:
            x = x + self.drop_path(checkpoint(self._attend, x, use_reentrant=False))
            thought: Tensor = checkpoint(self._think, x, use_reentrant=False)
        else:
            x = x + self.drop_path(self._attend(x))
            thought = self._think(x)
        out: Tensor = x + self.drop_path(thought)
        return out

    def _think(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp(self.norm2(x))
        return out

    def _attend(self, x: Tensor) -> Tensor:
        x = self.norm1(x)
        batch, *sizes, _ = x.shape
        # an axis that one window covers is neither cut nor shifted
        window = [min(w, n) for w, n in zip(self.window, sizes, strict=True)]
        shift = [w // 2 if self.shifted and n > w else 0 for w, n in zip(self.window, sizes, strict=True)]
        extra = [-n % w for n, w in zip(sizes, window, strict=True)]
        if any(extra):
            x = F.pad(x, (0, 0, *(k for e in reversed(extra) for k in (0, e))))
        padded = list(x.shape[1:-1])
        mask = None
        axes = tuple(range(1, x.dim() - 1))
        if any(shift):
            x = torch.roll(x, [-s for s in shift], axes)
            mask = shift_mask(padded, window, shift, x.device)
        x = join_windows(self.attn(split_windows(x, window), mask), window, batch, padded)
        if any(shift):
            x = torch.roll(x, shift, axes)
        if any(extra):
            x = x[(slice(None), *(slice(n) for n in sizes))].contiguous()
        return x
