"""Transformer blocks: attention between all tokens, and a small network for each."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from medframe.base.errors import BadArgument
from medframe.networks.blocks.drop_path import DropPath


class SelfAttention(nn.Module):
    """Multi-head attention between all tokens: (B, N, hidden) to (B, N, hidden).

    A. Vaswani et al., "Attention is all you need", NeurIPS 2017, arXiv:1706.03762; computed by torch's fused kernel,
    which never holds the (N, N) weights.

    Args:
        hidden_size: of a token.
        num_heads: divides `hidden_size`.
        qkv_bias: whether queries, keys and values have a bias.
        dropout: of attention weights, and of the answer.

    Raises:
        BadArgument: heads that do not divide the size.
    """

    def __init__(self, hidden_size: int, num_heads: int, *, qkv_bias: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        check_heads(hidden_size, num_heads)
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=qkv_bias)
        self.proj = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, hidden = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        chance = self.dropout.p if self.training else 0.0
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=chance)
        out: Tensor = self.dropout(self.proj(x.transpose(1, 2).reshape(batch, tokens, hidden)))
        return out


class MLP(nn.Module):
    """Two linear layers with a GELU between, for each token on its own."""

    def __init__(self, hidden_size: int, mlp_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, mlp_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(mlp_dim, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.fc2(self.dropout(self.act(self.fc1(x)))))
        return out


class TransformerBlock(nn.Module):
    """Attention and a small network, each behind a layer normalisation and added to its input.

    Args:
        hidden_size: of a token.
        mlp_dim: of the layer between.
        num_heads: divides `hidden_size`.
        qkv_bias: whether queries, keys and values have a bias.
        dropout: see `SelfAttention`.
        drop_path: the chance that a sample skips a branch in training.
        checkpointing: compute the block again in the backward pass rather than keep what it held.

    Raises:
        BadArgument: heads that do not divide the size.
    """

    def __init__(
        self,
        hidden_size: int,
        mlp_dim: int,
        num_heads: int,
        *,
        qkv_bias: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden_size)
        self.attn = SelfAttention(hidden_size, num_heads, qkv_bias=qkv_bias, dropout=dropout)
        self.norm2 = nn.LayerNorm(hidden_size)
        self.mlp = MLP(hidden_size, mlp_dim, dropout)
        self.drop_path = DropPath(drop_path)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor) -> Tensor:
        if self.checkpointing and self.training:
            kept: Tensor = checkpoint(self._compute, x, use_reentrant=False)
            return kept
        return self._compute(x)

    def _compute(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


def check_heads(hidden_size: int, num_heads: int) -> None:
    """Raise BadArgument unless the heads divide the size."""
    if num_heads < 1 or hidden_size % num_heads:
        raise BadArgument(
            "attention heads cannot share the channels evenly",
            found=f"{hidden_size} channels, {num_heads} heads",
            due="a number of heads that divides the number of channels",
        )
