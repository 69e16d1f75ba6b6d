"""The blocks of diffusion U-Nets."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from medframe.networks.blocks.latent_residual import Normed
from medframe.networks.blocks.spatial_attention import SpatialAttention, SpatialTransformer, group_norm, zeroed
from medframe.networks.layers import conv_layer
from medframe.networks.pooling import mean_pool_layer


class TimedResidual(nn.Module):
    """Normalisation, SiLU and convolution twice, with the time added between; added to the input.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the input.
        out_channels: of the output.
        embedding: channels of the time's embedding.
        num_groups: of the normalisations.
        eps: of the normalisations.
        resize: "up" or "down" changes the size by two on the way; None keeps it.
        norm: makes the normalisations of so many channels instead; they may take a label map as a second input.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        embedding: int,
        *,
        num_groups: int = 32,
        eps: float = 1e-6,
        resize: str | None = None,
        norm: Normed | None = None,
    ) -> None:
        super().__init__()
        make: Normed = norm or (lambda channels: group_norm(channels, num_groups, eps))
        self.norm1 = make(in_channels)
        self.conv1 = conv_layer(spatial_dims, in_channels, out_channels, 3)
        self.time = nn.Linear(embedding, out_channels)
        self.norm2 = make(out_channels)
        self.conv2 = zeroed(conv_layer(spatial_dims, out_channels, out_channels, 3))
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = conv_layer(spatial_dims, in_channels, out_channels, 1)
        self.resize: nn.Module = nn.Identity()
        if resize == "down":
            self.resize = mean_pool_layer(spatial_dims)
        elif resize == "up":
            self.resize = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor, time: Tensor, *labels: Tensor) -> Tensor:
        out = F.silu(self.norm1(x, *labels))
        x, out = self.resize(x), self.conv1(self.resize(out))
        shift = self.time(F.silu(time))
        out = out + shift.reshape(*shift.shape, *(1,) * (x.dim() - 2))
        out = self.conv2(F.silu(self.norm2(out, *labels)))
        answer: Tensor = self.shortcut(x) + out
        return answer


class DiffusionLevel(nn.Module):
    """Residual blocks, each followed by attention where the level attends, then the change of size.

    Args:
        residuals: the blocks.
        attentions: one for each block, or none.
        resize: what comes last.
    """

    def __init__(
        self, residuals: Sequence[nn.Module], attentions: Sequence[nn.Module], resize: nn.Module | None
    ) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(attentions)
        self.residuals = nn.ModuleList(residuals)
        self.resize = resize

    def block(self, k: int, x: Tensor, time: Tensor, context: Tensor | None, labels: Sequence[Tensor]) -> Tensor:
        """The k-th block and its attention."""
        x = self.residuals[k](x, time, *labels)
        return attend(self.attentions[k], x, context) if len(self.attentions) else x

    def resized(self, x: Tensor, time: Tensor, labels: Sequence[Tensor]) -> Tensor:
        """Behind the change of size."""
        if isinstance(self.resize, TimedResidual):
            out: Tensor = self.resize(x, time, *labels)
            return out
        return x if self.resize is None else self.resize(x)


def attend(attention: nn.Module, x: Tensor, context: Tensor | None) -> Tensor:
    """Attention towards the context where it can."""
    out: Tensor = attention(x, context) if isinstance(attention, SpatialTransformer) else attention(x)
    return out


class Attend:
    """Makes a level's attentions.

    Args:
        spatial_dims: 1, 2 or 3.
        with_context: attend towards a context, too.
        num_groups: of the normalisations.
        eps: of the normalisations.
        num_layers: of each transformer.
        context_dim: of the context's tokens.
        dropout: within transformers.
    """

    def __init__(
        self,
        spatial_dims: int,
        *,
        with_context: bool,
        num_groups: int,
        eps: float,
        num_layers: int,
        context_dim: int | None,
        dropout: float,
    ) -> None:
        self.spatial_dims = spatial_dims
        self.with_context = with_context
        self.num_groups = num_groups
        self.eps = eps
        self.num_layers = num_layers
        self.context_dim = context_dim
        self.dropout = dropout

    def __call__(self, channels: int, num_head_channels: int) -> nn.Module:
        if not self.with_context:
            return SpatialAttention(channels, num_head_channels, self.num_groups, self.eps)
        return SpatialTransformer(
            self.spatial_dims,
            channels,
            num_head_channels,
            num_layers=self.num_layers,
            num_groups=self.num_groups,
            eps=self.eps,
            context_dim=self.context_dim,
            dropout=self.dropout,
        )
