"""Attention between the voxels of an image, and towards a context."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medframe.networks.blocks.transformer import check_heads
from medframe.networks.layers import conv_layer


def group_norm(channels: int, num_groups: int, eps: float) -> nn.GroupNorm:
    """Group normalisation as generative networks use it.

    Raises:
        BadArgument: groups that do not divide the channels.
    """
    check_heads(channels, num_groups)
    return nn.GroupNorm(num_groups, channels, eps)


class CrossAttention(nn.Module):
    """Multi-head attention of tokens (B, N, query_dim) towards a context (B, M, context_dim), or among themselves.

    A. Vaswani et al., "Attention is all you need", NeurIPS 2017, arXiv:1706.03762.

    Args:
        query_dim: of a token.
        num_heads: how many heads.
        head_dim: channels of each.
        context_dim: of the context's tokens; None for none.
        qkv_bias: whether queries, keys and values have a bias.
        dropout: of the answer.
    """

    def __init__(
        self,
        query_dim: int,
        num_heads: int,
        head_dim: int,
        *,
        context_dim: int | None = None,
        qkv_bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        inner = num_heads * head_dim
        source = query_dim if context_dim is None else context_dim
        self.out_proj = nn.Linear(inner, query_dim)
        self.to_q = nn.Linear(query_dim, inner, bias=qkv_bias)
        self.to_k = nn.Linear(source, inner, bias=qkv_bias)
        self.to_v = nn.Linear(source, inner, bias=qkv_bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = x if context is None else context

        def heads(t: Tensor) -> Tensor:
            return t.reshape(*t.shape[:2], self.num_heads, -1).transpose(1, 2)

        out = F.scaled_dot_product_attention(heads(self.to_q(x)), heads(self.to_k(context)), heads(self.to_v(context)))
        answer: Tensor = self.dropout(self.out_proj(out.transpose(1, 2).flatten(2)))
        return answer


class SpatialAttention(nn.Module):
    """Every voxel looks at every other, behind a group normalisation, added to the input.

    Memory grows linearly with the number of voxels, time with its square: for the coarse levels of a network.

    Args:
        channels: of the input (B, channels, *spatial) and the output.
        num_head_channels: of each head; None for one head.
        num_groups: of the normalisation.
        eps: of the normalisation.

    Raises:
        BadArgument: heads or groups that do not divide the channels.
    """

    def __init__(
        self, channels: int, num_head_channels: int | None = None, num_groups: int = 32, eps: float = 1e-6
    ) -> None:
        super().__init__()
        head = channels if num_head_channels is None else num_head_channels
        check_heads(channels, channels // head if head <= channels else 0)
        self.norm = group_norm(channels, num_groups, eps)
        self.attn = CrossAttention(channels, channels // head, head, qkv_bias=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        found: Tensor = self.attn(tokens)
        return x + found.transpose(1, 2).reshape(x.shape)


class GatedMLP(nn.Module):
    """Two linear layers whose middle is gated by a GELU of its other half.

    N. Shazeer, "GLU variants improve transformer", 2020, arXiv:2002.05202.
    """

    def __init__(self, hidden_size: int, mlp_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, 2 * mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.fc1(x).chunk(2, -1)
        out: Tensor = self.dropout(self.fc2(self.dropout(value * F.gelu(gate))))
        return out


class ContextBlock(nn.Module):
    """Attention among the tokens, then towards the context, then a small network, each behind a normalisation."""

    def __init__(
        self, channels: int, num_heads: int, head_dim: int, *, context_dim: int | None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.attn1 = CrossAttention(channels, num_heads, head_dim, dropout=dropout)
        self.ff = GatedMLP(channels, 4 * channels, dropout)
        self.attn2 = CrossAttention(channels, num_heads, head_dim, context_dim=context_dim, dropout=dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class SpatialTransformer(nn.Module):
    """Blocks of attention among voxels and towards a context, between two linear maps, added to the input.

    R. Rombach et al., "High-resolution image synthesis with latent diffusion models", CVPR 2022,
    doi:10.1109/CVPR52688.2022.01042.

    Args:
        spatial_dims: 1, 2 or 3.
        channels: of the input (B, channels, *spatial) and the output.
        num_head_channels: of each head.
        num_layers: how many blocks.
        num_groups: of the normalisation.
        eps: of the normalisation.
        context_dim: of the context's tokens (B, M, context_dim).
        dropout: within the blocks.

    Raises:
        BadArgument: heads or groups that do not divide the channels.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        num_head_channels: int,
        *,
        num_layers: int = 1,
        num_groups: int = 32,
        eps: float = 1e-6,
        context_dim: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_heads(channels, channels // num_head_channels if num_head_channels <= channels else 0)
        heads = channels // num_head_channels
        self.norm = group_norm(channels, num_groups, eps)
        self.proj_in = conv_layer(spatial_dims, channels, channels, 1)
        self.blocks = nn.ModuleList(
            ContextBlock(channels, heads, num_head_channels, context_dim=context_dim, dropout=dropout)
            for _ in range(num_layers)
        )
        self.proj_out = zeroed(conv_layer(spatial_dims, channels, channels, 1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        tokens = self.proj_in(self.norm(x))
        shape = tokens.shape
        tokens = tokens.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, context)
        out: Tensor = x + self.proj_out(tokens.transpose(1, 2).reshape(shape))
        return out


@torch.no_grad()
def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with all weights zero: what stands behind it begins as if it were not there."""
    for p in layer.parameters():
        p.zero_()
    return layer
