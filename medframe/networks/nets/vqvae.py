"""An autoencoder whose latent space is a table of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.layers import Spec, act_layer, conv_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims


class Codebook(nn.Module):
    """The nearest of `num_embeddings` vectors for every voxel; the vectors follow what is assigned to them.

    Vectors are running means of the inputs nearest to them, not parameters; over several processes they follow the
    inputs of all. Gradients pass through as if nothing had been replaced.

    A. van den Oord, O. Vinyals, K. Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017,
    arXiv:1711.00937, appendix A.1.

    Args:
        num_embeddings: how many vectors.
        embedding_dim: of each.
        commitment_cost: the weight of the loss that holds inputs near their vectors.
        decay: of the running means.
        epsilon: against division by nothing.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        commitment_cost: float = 0.25,
        decay: float = 0.99,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        self.commitment_cost = commitment_cost
        self.decay = decay
        self.epsilon = epsilon
        self.embedding: Tensor
        self.cluster_size: Tensor
        self.embedding_sum: Tensor
        self.register_buffer("embedding", torch.randn(num_embeddings, embedding_dim))
        self.register_buffer("cluster_size", torch.zeros(num_embeddings))
        self.register_buffer("embedding_sum", self.embedding.clone())

    def indices(self, z: Tensor) -> Tensor:
        """(B, embedding_dim, *spatial) to the numbers of the nearest vectors, (B, *spatial)."""
        flat = z.movedim(1, -1).float()
        apart = self.embedding.square().sum(1) - 2 * flat @ self.embedding.T  # but for what is the same for all
        return apart.argmin(-1)

    def vectors(self, indices: Tensor) -> Tensor:
        """The inverse: (B, *spatial) to (B, embedding_dim, *spatial)."""
        return F.embedding(indices, self.embedding).movedim(-1, 1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors, and the loss."""
        with torch.autocast(z.device.type, enabled=False):  # running means lose too much in half precision
            indices = self.indices(z)
            found = self.vectors(indices)
            if self.training:
                self._follow(z, indices)
        loss = self.commitment_cost * F.mse_loss(found.detach(), z.float())
        return z + (found - z).detach(), loss

    @torch.no_grad()
    def _follow(self, z: Tensor, indices: Tensor) -> None:
        flat = z.movedim(1, -1).flatten(0, -2).float()
        taken = F.one_hot(indices.flatten(), len(self.embedding)).to(flat.dtype)
        count, total = taken.sum(0), taken.T @ flat
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(count)
            dist.all_reduce(total)
        self.cluster_size.lerp_(count, 1 - self.decay)
        self.embedding_sum.lerp_(total, 1 - self.decay)
        n = self.cluster_size.sum()
        size = (self.cluster_size + self.epsilon) / (n + len(self.embedding) * self.epsilon) * n
        self.embedding.copy_(self.embedding_sum / size[:, None])


class CodeResidual(nn.Module):
    """Two convolutions added to the input, then ReLU."""

    def __init__(self, spatial_dims: int, channels: int, inner: int, act: Spec, dropout: float) -> None:
        super().__init__()
        self.conv1 = Convolution(spatial_dims, channels, inner, norm=None, act=act, dropout=dropout)
        self.conv2 = conv_layer(spatial_dims, inner, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv2(self.conv1(x)))


class VQVAE(nn.Module):
    """Vector-quantised autoencoder: (B, in_channels, *spatial) to its reconstruction and the quantisation loss.

    Each level halves the size by a strided convolution of kernel 4 followed by residual layers. `index_quantize` gives
    the image as numbers, for a sequence model; `decode_samples` goes back.

    A. van den Oord, O. Vinyals, K. Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017,
    arXiv:1711.00937.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image.
        out_channels: of the reconstruction.
        channels: of each level, finest first.
        num_res_layers: residual layers of each level.
        num_res_channels: within the residual layers of each level.
        num_embeddings: how many vectors the table has.
        embedding_dim: of each.
        commitment_cost: see `Codebook`.
        decay: see `Codebook`.
        act: the activation.
        dropout: after activations.

    Raises:
        BadArgument: lists of different lengths, or another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`.

    Example:
        >>> import torch
        >>> network = VQVAE(2, 1, 1, channels=(8, 16), num_res_channels=8, num_res_layers=1, embedding_dim=4)
        >>> image, loss = network(torch.rand(2, 1, 16, 16))
        >>> image.shape, network.index_quantize(torch.rand(2, 1, 16, 16)).shape
        (torch.Size([2, 1, 16, 16]), torch.Size([2, 4, 4]))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        channels: Sequence[int] = (96, 96, 192),
        num_res_layers: int = 3,
        num_res_channels: int | Sequence[int] = (96, 96, 192),
        num_embeddings: int = 32,
        embedding_dim: int = 64,
        commitment_cost: float = 0.25,
        decay: float = 0.99,
        act: Spec = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, channels=channels)
        inner = (num_res_channels,) * len(channels) if isinstance(num_res_channels, int) else tuple(num_res_channels)
        if len(inner) != len(channels) or not channels:
            raise BadArgument(
                "VQVAE's lists do not describe the same levels",
                found=f"{len(channels)} channels, {len(inner)} num_res_channels",
                due="one of each for every level",
            )
        self.in_channels = in_channels
        self.multiple = (2 ** len(channels),) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        down: list[nn.Module] = []
        for i, (inside, outside) in enumerate(pairwise([in_channels, *channels])):
            down.append(halving(spatial_dims, inside, outside))
            down.append(act_layer(act))
            if i and dropout:
                down.append(nn.Dropout(dropout))
            down += [CodeResidual(spatial_dims, outside, inner[i], act, dropout) for _ in range(num_res_layers)]
        down.append(conv_layer(spatial_dims, channels[-1], embedding_dim, 3))
        self.encoder = nn.Sequential(*down)
        up: list[nn.Module] = [conv_layer(spatial_dims, embedding_dim, channels[-1], 3)]
        for i in reversed(range(len(channels))):
            up += [CodeResidual(spatial_dims, channels[i], inner[i], act, dropout) for _ in range(num_res_layers)]
            up.append(doubling(spatial_dims, channels[i], channels[i - 1] if i else out_channels))
            if i:
                up.append(act_layer(act))
        self.decoder = nn.Sequential(*up)
        self.quantizer = Codebook(num_embeddings, embedding_dim, commitment_cost=commitment_cost, decay=decay)

    def encode(self, x: Tensor) -> Tensor:
        """(B, embedding_dim, *coarse), before the table."""
        check_input(x, self.in_channels, self.multiple, "VQVAE")
        z: Tensor = self.encoder(x)
        return z

    def index_quantize(self, x: Tensor) -> Tensor:
        """An image as numbers of vectors, (B, *coarse)."""
        return self.quantizer.indices(self.encode(x))

    def decode_samples(self, indices: Tensor) -> Tensor:
        """Numbers of vectors as an image."""
        image: Tensor = self.decoder(self.quantizer.vectors(indices))
        return image

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, loss = self.quantizer(self.encode(x))
        return self.decoder(z), loss


def halving(spatial_dims: int, inside: int, outside: int) -> nn.Module:
    """A convolution of kernel 4 and stride 2 that halves even sizes."""
    made: nn.Module = type(conv_layer(spatial_dims, 1, 1, 1))(inside, outside, 4, 2, 1)
    return made


def doubling(spatial_dims: int, inside: int, outside: int) -> nn.Module:
    """Its transpose."""
    transposed = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[spatial_dims]
    made: nn.Module = transposed(inside, outside, 4, 2, 1)
    return made
