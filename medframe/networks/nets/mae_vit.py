"""A vision transformer that learns by filling in hidden patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.patch_embedding import check_image, patch_conv, patch_grid, sine_positions, tokens_of
from medframe.networks.blocks.transformer import TransformerBlock
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims


class MAEViT(nn.Module):
    """Masked autoencoder: (B, in_channels, *img_size) becomes every patch's voxels (B, N, voxels) and what was hidden.

    In each call a random share of the patches is left out; the encoder sees the rest, and a light decoder with a mask
    token at the empty places gives the voxels of all patches. The loss is taken at hidden patches:
    `((answer - network.patches(x)) ** 2).mean(-1)[hidden].mean()`. Afterwards the encoder's weights begin a `ViT`,
    whose modules have the same names. Chance is torch's own; call `torch.manual_seed` before.

    K. He et al., "Masked autoencoders are scalable vision learners", CVPR 2022, doi:10.1109/CVPR52688.2022.01553.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image.
        img_size: of the image, for all axes or for each.
        patch_size: of a token, dividing `img_size`.
        hidden_size: channels of a token.
        mlp_dim: of the layer within each block's small network.
        num_layers: the encoder's blocks.
        num_heads: of the encoder's attention.
        masking_ratio: the share of patches that is hidden.
        decoder_hidden_size: channels of a token in the decoder.
        decoder_mlp_dim: as `mlp_dim`.
        decoder_num_layers: the decoder's blocks.
        decoder_num_heads: of the decoder's attention.
        qkv_bias: whether queries, keys and values have a bias.
        dropout: within the blocks.
        checkpointing: compute blocks again in the backward pass rather than keep what they held: less memory.

    Raises:
        BadArgument: patches that do not tile the image, a share that hides nothing or all.
        BadGeometry: an image of another size.

    Example:
        >>> import torch
        >>> network = MAEViT(2, 1, img_size=32, patch_size=8, hidden_size=24, num_heads=2, num_layers=1,
        ...                  decoder_hidden_size=12, decoder_num_heads=2, decoder_num_layers=1)
        >>> x = torch.rand(2, 1, 32, 32)
        >>> answer, hidden = network(x)
        >>> answer.shape, int(hidden.sum())
        (torch.Size([2, 16, 64]), 24)
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        *,
        img_size: PerAxis,
        patch_size: PerAxis = 16,
        hidden_size: int = 768,
        mlp_dim: int = 512,
        num_layers: int = 12,
        num_heads: int = 12,
        masking_ratio: float = 0.75,
        decoder_hidden_size: int = 384,
        decoder_mlp_dim: int = 512,
        decoder_num_layers: int = 4,
        decoder_num_heads: int = 12,
        qkv_bias: bool = False,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, num_layers=num_layers, decoder_num_layers=decoder_num_layers)
        patch, self.grid = patch_grid(img_size, patch_size, spatial_dims)
        self.patch = patch
        self.img_size = tuple(p * n for p, n in zip(patch, self.grid, strict=True))
        tokens = int(torch.tensor(self.grid).prod())
        self.seen = int(tokens * (1 - masking_ratio))
        if not 0 < self.seen < tokens:
            raise BadArgument(
                "masking leaves nothing to see or nothing to guess",
                found=f"masking_ratio={masking_ratio} of {tokens} patches",
                due="a share between 0 and 1 that hides at least one patch and shows one",
            )
        self.position_embedding: Tensor
        self.decoder_positions: Tensor
        self.in_channels = in_channels
        self.multiple = patch
        """What `img_size` must be divisible by, for each axis."""
        self.cls_token = nn.Parameter(nn.init.normal_(torch.zeros(1, 1, hidden_size), std=0.02))
        self.mask_token = nn.Parameter(nn.init.normal_(torch.zeros(1, 1, decoder_hidden_size), std=0.02))
        self.register_buffer("position_embedding", sine_positions(self.grid, hidden_size), persistent=False)
        decoder_positions = sine_positions(self.grid, decoder_hidden_size)
        first = torch.zeros(1, 1, decoder_hidden_size)  # the class token has no place
        self.register_buffer("decoder_positions", torch.cat([first, decoder_positions], 1), persistent=False)
        self.patch_embedding = patch_conv(spatial_dims, in_channels, hidden_size, patch)

        def stack(n: int, size: int, mlp: int, heads: int) -> nn.ModuleList:
            options = {"qkv_bias": qkv_bias, "dropout": dropout, "checkpointing": checkpointing}
            return nn.ModuleList(TransformerBlock(size, mlp, heads, **options) for _ in range(n))  # type: ignore[arg-type]

        self.blocks = stack(num_layers, hidden_size, mlp_dim, num_heads)
        self.norm = nn.LayerNorm(hidden_size)
        self.decoder_embed = nn.Linear(hidden_size, decoder_hidden_size)
        self.decoder_blocks = stack(decoder_num_layers, decoder_hidden_size, decoder_mlp_dim, decoder_num_heads)
        self.decoder_norm = nn.LayerNorm(decoder_hidden_size)
        voxels = int(torch.tensor(patch).prod()) * in_channels
        self.decoder_pred = nn.Linear(decoder_hidden_size, voxels)

    def patches(self, x: Tensor) -> Tensor:
        """The image as the answer has it: (B, N, voxels of a patch), a patch's voxels in C order, channels last."""
        axes = len(self.grid)
        split = [n for pair in zip(self.grid, self.patch, strict=True) for n in pair]
        x = x.reshape(x.shape[0], x.shape[1], *split)
        grid, inside = range(2, 2 + 2 * axes, 2), range(3, 3 + 2 * axes, 2)
        return x.permute(0, *grid, *inside, 1).flatten(1, axes).flatten(2)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`hidden` (B, N) bool says which patches to hide; the same number for each image. None draws them."""
        check_input(x, self.in_channels, (1,) * len(self.grid), "MAEViT")
        check_image(x, self.img_size, "MAEViT")
        tokens = tokens_of(self.patch_embedding(x)) + self.position_embedding
        batch, n, size = tokens.shape
        seen = self.seen
        if hidden is None:
            rank = torch.rand(batch, n, device=x.device).argsort(1).argsort(1)
            hidden = rank >= seen
        elif batch:
            seen = n - int(hidden[0].sum())
        order = hidden.to(torch.uint8).argsort(dim=1, stable=True)  # those to be seen first, in their order
        kept = order[:, :seen, None]
        tokens = tokens.gather(1, kept.expand(-1, -1, size))
        tokens = torch.cat([self.cls_token.expand(batch, -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.decoder_embed(self.norm(tokens))
        filled = self.mask_token.to(tokens.dtype).expand(batch, n, -1)
        filled = filled.scatter(1, kept.expand(-1, -1, tokens.shape[2]), tokens[:, 1:])
        tokens = torch.cat([tokens[:, :1], filled], 1) + self.decoder_positions
        for block in self.decoder_blocks:
            tokens = block(tokens)
        answer: Tensor = self.decoder_pred(self.decoder_norm(tokens))[:, 1:]
        return answer, hidden


def unpatch(answer: Tensor, grid: Sequence[int], patch: Sequence[int], channels: int) -> Tensor:
    """The inverse of `MAEViT.patches`: (B, N, voxels) to (B, channels, *img_size), to look at what was filled in."""
    axes = len(grid)
    x = answer.reshape(answer.shape[0], *grid, *patch, channels)
    mixed = [axis for k in range(axes) for axis in (1 + k, 1 + axes + k)]
    return x.permute(0, 1 + 2 * axes, *mixed).reshape(
        answer.shape[0], channels, *(g * p for g, p in zip(grid, patch, strict=True))
    )
