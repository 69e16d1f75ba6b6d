"""The vision transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medframe.networks.blocks.patch_embedding import (
    check_image,
    count,
    learned_positions,
    patch_conv,
    patch_grid,
    sine_positions,
    tokens_of,
)
from medframe.networks.blocks.transformer import TransformerBlock
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims


class ViT(nn.Module):
    """Vision transformer: (B, in_channels, *img_size) becomes (B, out_channels) logits.

    Each patch is a token; blocks let all tokens look at each other; a class token is read by a linear layer.

    A. Dosovitskiy et al., "An image is worth 16x16 words: transformers for image recognition at scale", ICLR 2021,
    arXiv:2010.11929.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        img_size: of the image, for all axes or for each.
        patch_size: of a token, dividing `img_size`.
        hidden_size: channels of a token.
        mlp_dim: of the layer within each block's small network.
        num_layers: how many blocks.
        num_heads: of the attention; divides `hidden_size`.
        qkv_bias: whether queries, keys and values have a bias.
        positions: "learned", or "sine" for fixed ones.
        class_token: read the logits from a token of their own, not from the mean of all.
        dropout: within the blocks and after the positions.
        drop_path: the chance that the last block is skipped for a sample in training; earlier blocks less, linearly.
        checkpointing: compute blocks again in the backward pass rather than keep what they held: less memory.

    Raises:
        BadArgument: patches that do not tile the image, heads that do not divide the size, another rank or number of
            channels.
        BadGeometry: an image of another size.

    Example:
        >>> import torch
        >>> network = ViT(2, 1, 3, img_size=32, patch_size=8, hidden_size=24, num_heads=2, num_layers=2)
        >>> network(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        img_size: PerAxis,
        patch_size: PerAxis = 16,
        hidden_size: int = 768,
        mlp_dim: int = 3072,
        num_layers: int = 12,
        num_heads: int = 12,
        qkv_bias: bool = False,
        positions: str = "learned",
        class_token: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, hidden_size=hidden_size, mlp_dim=mlp_dim)
        check_channels(num_layers=num_layers)
        patch, self.grid = patch_grid(img_size, patch_size, spatial_dims)
        self.img_size = tuple(p * n for p, n in zip(patch, self.grid, strict=True))
        self.in_channels = in_channels
        self.multiple = patch
        """What `img_size` must be divisible by, for each axis."""
        self.cls_token = nn.Parameter(torch.zeros(1, 1, hidden_size)) if class_token else None
        if positions == "sine":
            self.register_buffer("position_embedding", sine_positions(self.grid, hidden_size), persistent=False)
        else:
            self.position_embedding = learned_positions(count(self.grid), hidden_size)
        self.patch_embedding = patch_conv(spatial_dims, in_channels, hidden_size, patch)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                hidden_size,
                mlp_dim,
                num_heads,
                qkv_bias=qkv_bias,
                dropout=dropout,
                drop_path=drop_path * i / max(num_layers - 1, 1),
                checkpointing=checkpointing,
            )
            for i in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.head = nn.Linear(hidden_size, out_channels)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Each block's tokens (B, N, hidden_size); the last are normalised. A class token stands first."""
        check_input(x, self.in_channels, (1,) * (x.dim() - 2 if x.dim() > 2 else len(self.grid)), "ViT")
        check_image(x, self.img_size, "ViT")
        x = tokens_of(self.patch_embedding(x)) + self.position_embedding
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)
        x = self.dropout(x)
        answers = []
        for block in self.blocks:
            x = block(x)
            answers.append(x)
        return [*answers[:-1], self.norm(answers[-1])]

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.encode(x)[-1]
        logits: Tensor = self.head(tokens[:, 0] if self.cls_token is not None else tokens.mean(1))
        return logits
