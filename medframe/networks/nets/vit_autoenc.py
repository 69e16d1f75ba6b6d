"""A vision transformer that gives its image back."""

from __future__ import annotations

import math

from torch import Tensor, nn

from medframe.networks.blocks.patch_embedding import (
    check_image,
    count,
    image_of,
    learned_positions,
    patch_conv,
    patch_grid,
    tokens_of,
)
from medframe.networks.blocks.transformer import TransformerBlock
from medframe.networks.layers import transposed_conv_layer
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims


class ViTAutoEnc(nn.Module):
    """Vision transformer and two transposed convolutions: (B, in_channels, *img_size) to (B, out_channels, *img_size).

    For pretraining without labels: the loss compares what it makes of a spoilt image (parts blanked, shuffled or with
    noise) with the image itself. Afterwards the encoder's weights begin a `ViT`, whose modules have the same names.

    Y. Tang et al., "Self-supervised pre-training of Swin transformers for 3D medical image analysis", CVPR 2022,
    doi:10.1109/CVPR52688.2022.02007 (the task); A. Dosovitskiy et al., "An image is worth 16x16 words: transformers
    for image recognition at scale", ICLR 2021, arXiv:2010.11929 (the encoder).

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the answer.
        img_size: of the image, for all axes or for each.
        patch_size: of a token, dividing `img_size`; it is made good in two steps as equal as may be.
        deconv_channels: between the two transposed convolutions.
        hidden_size: channels of a token.
        mlp_dim: of the layer within each block's small network.
        num_layers: how many blocks.
        num_heads: of the attention; divides `hidden_size`.
        qkv_bias: whether queries, keys and values have a bias.
        dropout: within the blocks and after the positions.
        checkpointing: compute blocks again in the backward pass rather than keep what they held: less memory.

    Raises:
        BadArgument: patches that do not tile the image, heads that do not divide the size, another rank or number of
            channels.
        BadGeometry: an image of another size.

    Example:
        >>> import torch
        >>> network = ViTAutoEnc(2, 1, 1, img_size=32, patch_size=8, hidden_size=24, num_heads=2, num_layers=1)
        >>> network(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int = 1,
        *,
        img_size: PerAxis,
        patch_size: PerAxis = 16,
        deconv_channels: int = 16,
        hidden_size: int = 768,
        mlp_dim: int = 3072,
        num_layers: int = 12,
        num_heads: int = 12,
        qkv_bias: bool = False,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, hidden_size=hidden_size, mlp_dim=mlp_dim)
        check_channels(num_layers=num_layers, deconv_channels=deconv_channels)
        patch, self.grid = patch_grid(img_size, patch_size, spatial_dims)
        self.img_size = tuple(p * n for p, n in zip(patch, self.grid, strict=True))
        self.in_channels = in_channels
        self.multiple = patch
        """What `img_size` must be divisible by, for each axis."""
        self.position_embedding = learned_positions(count(self.grid), hidden_size)
        self.patch_embedding = patch_conv(spatial_dims, in_channels, hidden_size, patch)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                hidden_size, mlp_dim, num_heads, qkv_bias=qkv_bias, dropout=dropout, checkpointing=checkpointing
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size)
        first = tuple(_near_root(p) for p in patch)
        second = tuple(p // f for p, f in zip(patch, first, strict=True))
        self.up1 = transposed_conv_layer(spatial_dims, hidden_size, deconv_channels, first, first)
        self.up2 = transposed_conv_layer(spatial_dims, deconv_channels, out_channels, second, second)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Each block's tokens (B, N, hidden_size); the last are normalised."""
        check_input(x, self.in_channels, (1,) * len(self.grid), "ViTAutoEnc")
        check_image(x, self.img_size, "ViTAutoEnc")
        x = self.dropout(tokens_of(self.patch_embedding(x)) + self.position_embedding)
        answers = []
        for block in self.blocks:
            x = block(x)
            answers.append(x)
        return [*answers[:-1], self.norm(answers[-1])]

    def forward(self, x: Tensor) -> Tensor:
        image: Tensor = self.up2(self.up1(image_of(self.encode(x)[-1], self.grid)))
        return image


def _near_root(n: int) -> int:
    """The largest divisor that is not above the square root."""
    return next(d for d in range(math.isqrt(n), 0, -1) if n % d == 0)
