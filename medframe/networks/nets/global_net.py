"""Affine registration of images of one size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument, BadGeometry
from medframe.networks.blocks.registration import RegistrationEncoder
from medframe.networks.sizes import check_input, per_axis


class GlobalNet(nn.Module):
    """GlobalNet: a stacked pair (B, in_channels, *image_size) becomes displacements (B, d, *image_size) of one matrix.

    The encoder of `RegUNet`, and one linear layer for the matrix, which begins at the identity; it is worked out in
    float32. `affine` gives the matrix itself, as `medframe.kernels.sample` takes it.

    Y. Hu et al., "Label-driven weakly-supervised learning for multimodal deformable image registration", ISBI 2018,
    doi:10.1109/ISBI.2018.8363756.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the moving and the fixed image together.
        image_size: for all axes or for each; multiples of 2^depth.
        num_channel_initial: of the finest level; they double from level to level.
        depth: how often sizes are halved.
        pooling: halve sizes by maximum pooling; else by convolutions.
        encode_kernel_sizes: of each of the depth + 1 levels, or one for all; odd.

    Raises:
        BadArgument: sizes that cannot be halved so often, or an input of another rank or number of channels.
        BadGeometry: an input of another size.

    Example:
        >>> network = GlobalNet(2, 2, (16, 32), 4, 2)
        >>> bool(network(torch.rand(1, 2, 16, 32)).any())
        False
        >>> network.affine(torch.rand(1, 2, 16, 32)).shape
        torch.Size([1, 3, 3])
    """

    identity: Tensor
    grid: Tensor

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        image_size: int | Sequence[int],
        num_channel_initial: int,
        depth: int,
        *,
        pooling: bool = True,
        encode_kernel_sizes: int | Sequence[int] = 3,
    ) -> None:
        super().__init__()
        self.encoder = RegistrationEncoder(
            spatial_dims, in_channels, num_channel_initial, depth, kernel_sizes=encode_kernel_sizes, pooling=pooling
        )
        self.in_channels = in_channels
        self.image_size = per_axis("image_size", image_size, spatial_dims)
        self.multiple = (2**depth,) * spatial_dims
        """What `image_size` must be divisible by, for each axis."""
        if any(n % m for n, m in zip(self.image_size, self.multiple, strict=True)):
            raise BadArgument(
                "image_size cannot be halved so often",
                where="image_size",
                found=f"{self.image_size}, depth {depth}",
                due=f"multiples of {2**depth}",
            )
        coarse = [n // m for n, m in zip(self.image_size, self.multiple, strict=True)]
        self.fc = nn.Linear(self.encoder.channels[-1] * math.prod(coarse), spatial_dims * (spatial_dims + 1))
        nn.init.zeros_(self.fc.weight)
        with torch.no_grad():
            self.fc.bias.copy_(torch.eye(spatial_dims, spatial_dims + 1).flatten())
        places = torch.meshgrid(*(torch.arange(float(n)) for n in self.image_size), indexing="ij")
        self.register_buffer("grid", torch.stack(places).flatten(1), persistent=False)  # d, voxels
        self.register_buffer("identity", torch.eye(spatial_dims, spatial_dims + 1), persistent=False)

    def affine(self, x: Tensor) -> Tensor:
        """(B, d + 1, d + 1), from an index of the fixed lattice to the index at which the moving image is read."""
        top = self._top(x)
        last = torch.zeros_like(top[:, :1])
        last[..., -1] = 1
        return torch.cat([top, last], 1)

    def _top(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, (1,) * len(self.image_size), "GlobalNet")
        if tuple(x.shape[2:]) != self.image_size:
            raise BadGeometry("the images have another size", found=tuple(x.shape[2:]), due=self.image_size)
        features = self.encoder(x)[-1]
        with torch.autocast(x.device.type, enabled=False):  # a matrix of three digits would miss by voxels
            rows: Tensor = self.fc(features.flatten(1).to(self.fc.weight.dtype))
        return rows.reshape(-1, *self.identity.shape)

    def forward(self, x: Tensor) -> Tensor:
        away = self._top(x) - self.identity
        with torch.autocast(x.device.type, enabled=False):
            field = away[..., :-1] @ self.grid.to(away.dtype) + away[..., -1:]
        return field.reshape(field.shape[0], -1, *self.image_size)
