"""An image as tokens: one for each patch, with its place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument, BadGeometry
from medframe.networks.layers import conv_layer
from medframe.networks.sizes import PerAxis, per_axis


def patch_grid(img_size: PerAxis, patch_size: PerAxis, spatial_dims: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The patch size, and how many patches an image of `img_size` holds along each axis.

    Raises:
        BadArgument: the patches do not tile the image.
    """
    size = per_axis("img_size", img_size, spatial_dims)
    patch = per_axis("patch_size", patch_size, spatial_dims)
    if any(s % p for s, p in zip(size, patch, strict=True)):
        raise BadArgument(
            "patches do not tile the image", found=f"img_size {size}, patch_size {patch}", due="multiples"
        )
    return patch, tuple(s // p for s, p in zip(size, patch, strict=True))


def patch_conv(spatial_dims: int, in_channels: int, hidden_size: int, patch: Sequence[int]) -> nn.Module:
    """A linear map of each patch, as a convolution whose stride is its kernel."""
    made: nn.Module = type(conv_layer(spatial_dims, 1, 1, 1))(in_channels, hidden_size, tuple(patch), tuple(patch))
    return made


def tokens_of(x: Tensor) -> Tensor:
    """(B, C, *spatial) to (B, N, C)."""
    return x.flatten(2).transpose(1, 2)


def image_of(tokens: Tensor, grid: Sequence[int]) -> Tensor:
    """(B, N, C) to (B, C, *grid)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *grid)


def check_image(x: Tensor, size: Sequence[int], network: str) -> None:
    """Raise BadGeometry unless the image has the one size that the positions were made for."""
    if tuple(x.shape[2:]) != tuple(size):
        raise BadGeometry(
            f"{network} has learned positions for one image size",
            found=f"size {tuple(x.shape[2:])}",
            due=f"{tuple(size)}",
            mend="Give img_size the size of the patches you train on.",
        )


def sine_positions(grid: Sequence[int], hidden_size: int, temperature: float = 10000.0) -> Tensor:
    """Fixed positions (1, N, hidden_size): sines and cosines of each axis at falling frequencies.

    The channels are sines and cosines along the second axis, then along the first, then along the third: the order in
    which published weights were trained. X. Chen, S. Xie, K. He, "An empirical study of training self-supervised vision
    transformers", ICCV 2021, doi:10.1109/ICCV48922.2021.00950.

    Raises:
        BadArgument: a size that does not split into pairs for each axis, or one axis.
    """
    axes = len(grid)
    if axes not in (2, 3) or hidden_size % (2 * axes):
        raise BadArgument(
            "sine positions need as many sines and cosines along each axis",
            found=f"hidden_size {hidden_size} for {axes} axes",
            due="two axes or three, and a multiple of twice their number",
        )
    each = hidden_size // (2 * axes)
    omega = 1.0 / temperature ** (torch.arange(each, dtype=torch.float64) / each)
    places = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in grid], indexing="ij")
    parts = []
    for axis in (1, 0, 2)[:axes]:
        angle = places[axis].reshape(-1, 1) * omega
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, 1)[None].float()


def learned_positions(tokens: int, hidden_size: int) -> nn.Parameter:
    """Positions to be learned, drawn near zero."""
    return nn.Parameter(nn.init.trunc_normal_(torch.zeros(1, tokens, hidden_size), std=0.02))


def count(grid: Sequence[int]) -> int:
    """How many patches a grid has."""
    return math.prod(grid)
