"""An autoencoder whose latent space is a normal distribution for each image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medframe.base.errors import BadArgument
from medframe.networks.blocks.latent_residual import DoubleSize, HalfSize, LatentResidual, Normed
from medframe.networks.blocks.spatial_attention import SpatialAttention, group_norm
from medframe.networks.layers import conv_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims


def check_levels(name: str, channels: Sequence[int], *others: Sequence[object]) -> None:
    """Raise BadArgument unless every list has one entry for each level."""
    if any(len(other) != len(channels) for other in others) or not channels:
        raise BadArgument(
            f"{name}'s lists do not describe the same levels",
            found=f"{len(channels)} channels, {', '.join(str(len(o)) for o in others)} entries",
            due="one of each for every level",
        )


def per_level(value: int | Sequence[int], levels: int) -> tuple[int, ...]:
    """One number for each level."""
    return (value,) * levels if isinstance(value, int) else tuple(value)


class LatentEncoder(nn.Sequential):
    """From an image to the features that the latent distribution is read from."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        latent_channels: int,
        *,
        channels: Sequence[int],
        num_res_blocks: Sequence[int],
        attention_levels: Sequence[bool],
        num_groups: int,
        eps: float,
        nonlocal_attention: bool,
    ) -> None:
        residual = partial(LatentResidual, spatial_dims, num_groups=num_groups, eps=eps)
        attention = partial(SpatialAttention, num_groups=num_groups, eps=eps)
        blocks = [conv_layer(spatial_dims, in_channels, channels[0], 3)]
        for i, (inside, outside) in enumerate(pairwise([channels[0], *channels])):
            for k in range(num_res_blocks[i]):
                blocks.append(residual(outside if k else inside, outside))
                if attention_levels[i]:
                    blocks.append(attention(outside))
            if i + 1 < len(channels):
                blocks.append(HalfSize(spatial_dims, outside))
        deepest = channels[-1]
        if nonlocal_attention:
            blocks += [residual(deepest, deepest), attention(deepest), residual(deepest, deepest)]
        blocks += [group_norm(deepest, num_groups, eps), conv_layer(spatial_dims, deepest, latent_channels, 3)]
        super().__init__(*blocks)


class LatentDecoder(nn.Module):
    """From a latent image to an image; with `norm` that takes labels, under their guidance."""

    def __init__(
        self,
        spatial_dims: int,
        latent_channels: int,
        out_channels: int,
        *,
        channels: Sequence[int],
        num_res_blocks: Sequence[int],
        attention_levels: Sequence[bool],
        num_groups: int,
        eps: float,
        nonlocal_attention: bool,
        norm: Normed | None = None,
    ) -> None:
        super().__init__()
        residual = partial(LatentResidual, spatial_dims, num_groups=num_groups, eps=eps, norm=norm)
        attention = partial(SpatialAttention, num_groups=num_groups, eps=eps)
        wide = [*reversed(channels)]
        blocks: list[nn.Module] = [conv_layer(spatial_dims, latent_channels, wide[0], 3)]
        if nonlocal_attention:
            blocks += [residual(wide[0], wide[0]), attention(wide[0]), residual(wide[0], wide[0])]
        for i, (inside, outside) in enumerate(pairwise([wide[0], *wide])):
            level = len(wide) - 1 - i
            for k in range(num_res_blocks[level]):
                blocks.append(residual(outside if k else inside, outside))
                if attention_levels[level]:
                    blocks.append(attention(outside))
            if level:
                blocks.append(DoubleSize(spatial_dims, outside))
        blocks += [group_norm(wide[-1], num_groups, eps), conv_layer(spatial_dims, wide[-1], out_channels, 3)]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, z: Tensor, *labels: Tensor) -> Tensor:
        for block in self.blocks:
            z = block(z, *labels) if isinstance(block, LatentResidual) else block(z)
        return z


class AutoencoderKL(nn.Module):
    """Variational autoencoder for latent diffusion: an image to its reconstruction, latent mean and latent deviation.

    (B, in_channels, *spatial) gives (B, out_channels, *spatial) and twice (B, latent_channels, *coarse). Each level but
    the last halves the size. In training the latent image is drawn from the distribution, by torch's own chance; in
    evaluation it is the mean. Train it with a reconstruction loss plus a little of `kl_loss`, and a perceptual and an
    adversarial loss for sharp images.

    R. Rombach et al., "High-resolution image synthesis with latent diffusion models", CVPR 2022,
    doi:10.1109/CVPR52688.2022.01042; D. P. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014,
    arXiv:1312.6114.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the reconstruction.
        num_res_blocks: residual blocks of each level.
        channels: of each level, finest first.
        attention_levels: which levels attend between all voxels.
        latent_channels: of the latent image.
        norm_num_groups: of the group normalisations; divides all of `channels`.
        norm_eps: of the normalisations.
        with_encoder_nonlocal_attn: attend at the encoder's coarsest level.
        with_decoder_nonlocal_attn: attend at the decoder's coarsest level.
        checkpointing: compute encoder and decoder again in the backward pass rather than keep what they held.

    Raises:
        BadArgument: lists of different lengths, groups that do not divide the channels, another rank or number of
            channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`.

    Example:
        >>> import torch
        >>> network = AutoencoderKL(2, 1, 1, channels=(8, 16), attention_levels=(False, True), num_res_blocks=1,
        ...                         norm_num_groups=4)
        >>> image, mean, deviation = network(torch.zeros(2, 1, 16, 16))
        >>> image.shape, mean.shape
        (torch.Size([2, 1, 16, 16]), torch.Size([2, 3, 8, 8]))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        num_res_blocks: int | Sequence[int] = 2,
        channels: Sequence[int] = (32, 64, 64, 64),
        attention_levels: Sequence[bool] = (False, False, True, True),
        latent_channels: int = 3,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-6,
        with_encoder_nonlocal_attn: bool = True,
        with_decoder_nonlocal_attn: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, channels=channels)
        blocks = per_level(num_res_blocks, len(channels))
        check_levels("AutoencoderKL", channels, attention_levels, blocks)
        self.in_channels = in_channels
        self.multiple = (2 ** (len(channels) - 1),) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        self.latent_channels = latent_channels
        self.checkpointing = checkpointing
        self.encoder = LatentEncoder(
            spatial_dims,
            in_channels,
            latent_channels,
            channels=channels,
            num_res_blocks=blocks,
            attention_levels=attention_levels,
            num_groups=norm_num_groups,
            eps=norm_eps,
            nonlocal_attention=with_encoder_nonlocal_attn,
        )
        self.decoder = self._make_decoder(
            spatial_dims,
            latent_channels,
            out_channels,
            channels=channels,
            num_res_blocks=blocks,
            attention_levels=attention_levels,
            num_groups=norm_num_groups,
            eps=norm_eps,
            nonlocal_attention=with_decoder_nonlocal_attn,
        )
        self.quant_conv_mu = conv_layer(spatial_dims, latent_channels, latent_channels, 1)
        self.quant_conv_log_sigma = conv_layer(spatial_dims, latent_channels, latent_channels, 1)
        self.post_quant_conv = conv_layer(spatial_dims, latent_channels, latent_channels, 1)

    def _make_decoder(self, *args: Any, **options: Any) -> LatentDecoder:
        return LatentDecoder(*args, **options)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The latent distribution's mean and standard deviation, (B, latent_channels, *coarse)."""
        check_input(x, self.in_channels, self.multiple, type(self).__name__)
        h = (
            checkpoint(self.encoder, x, use_reentrant=False)
            if self.checkpointing and self.training
            else self.encoder(x)
        )
        mean: Tensor = self.quant_conv_mu(h)
        return mean, (self.quant_conv_log_sigma(h).clamp(-30.0, 20.0) / 2).exp()

    def sampling(self, mean: Tensor, deviation: Tensor) -> Tensor:
        """A draw from the distribution."""
        return mean + torch.randn_like(deviation) * deviation

    def decode(self, z: Tensor) -> Tensor:
        """An image from a latent image."""
        z = self.post_quant_conv(z)
        if self.checkpointing and self.training:
            again: Tensor = checkpoint(self.decoder, z, use_reentrant=False)
            return again
        image: Tensor = self.decoder(z)
        return image

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, deviation = self.encode(x)
        return self.decode(self.sampling(mean, deviation) if self.training else mean), mean, deviation


def kl_loss(mean: Tensor, deviation: Tensor) -> Tensor:
    """Divergence of the latent distribution from the standard normal one: summed over voxels, averaged over cases.

    Of `mean` and `deviation`, both (B, C, *spatial), as `AutoencoderKL` gives them. D. P. Kingma, M. Welling,
    "Auto-encoding variational Bayes", ICLR 2014, arXiv:1312.6114, appendix B.

    Example:
        >>> import torch
        >>> kl_loss(torch.ones(2, 1, 4, 4), torch.ones(2, 1, 4, 4)).item()
        8.0
    """
    variance = deviation.float() ** 2
    inside = mean.float() ** 2 + variance - variance.clamp(min=1e-30).log() - 1
    return 0.5 * inside.flatten(1).sum(1).mean()
