"""The U-Net of diffusion models, and the network that steers it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.networks.blocks.diffusion import Attend, DiffusionLevel, TimedResidual, attend
from medframe.networks.blocks.latent_residual import DoubleSize
from medframe.networks.blocks.spatial_attention import group_norm, zeroed
from medframe.networks.blocks.time_embedding import TimeEmbedding, sine_embedding
from medframe.networks.layers import conv_layer
from medframe.networks.nets.autoencoder_kl import check_levels, per_level
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims


class DiffusionEncoder(nn.Module):
    """What `DiffusionModelUNet` and `ControlNet` share: from the noisy image to the middle, keeping every answer."""

    in_channels: int
    multiple: tuple[int, ...]

    def _build(
        self,
        spatial_dims: int,
        in_channels: int,
        *,
        num_res_blocks: int | Sequence[int],
        channels: Sequence[int],
        attention_levels: Sequence[bool],
        norm_num_groups: int,
        norm_eps: float,
        resblock_updown: bool,
        num_head_channels: int | Sequence[int],
        with_conditioning: bool,
        transformer_num_layers: int,
        cross_attention_dim: int | None,
        num_class_embeds: int | None,
        dropout_cattn: float,
    ) -> tuple[partial[TimedResidual], Attend, tuple[int, ...], tuple[int, ...]]:
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, channels=channels)
        blocks, heads = per_level(num_res_blocks, len(channels)), per_level(num_head_channels, len(channels))
        check_levels(type(self).__name__, channels, attention_levels, blocks, heads)
        if with_conditioning != (cross_attention_dim is not None):
            raise BadArgument(
                "conditioning and the size of its tokens belong together",
                found=f"with_conditioning={with_conditioning}, cross_attention_dim={cross_attention_dim}",
                due="both or neither",
            )
        self.in_channels = in_channels
        self.multiple = (2 ** (len(channels) - 1),) * spatial_dims
        self.channels = tuple(channels)
        embedding = 4 * channels[0]
        timed = partial(TimedResidual, spatial_dims, embedding=embedding, num_groups=norm_num_groups, eps=norm_eps)
        attention = Attend(
            spatial_dims,
            with_context=with_conditioning,
            num_groups=norm_num_groups,
            eps=norm_eps,
            num_layers=transformer_num_layers,
            context_dim=cross_attention_dim,
            dropout=dropout_cattn,
        )
        self.conv_in = conv_layer(spatial_dims, in_channels, channels[0], 3)
        self.time_embed = TimeEmbedding(channels[0], embedding)
        self.class_embedding = None if num_class_embeds is None else nn.Embedding(num_class_embeds, embedding)
        self.down_blocks = nn.ModuleList()
        before = channels[0]
        for i, width in enumerate(channels):
            residuals = [timed(width if k else before, width) for k in range(blocks[i])]
            attentions = [attention(width, heads[i]) for _ in residuals if attention_levels[i]]
            resize: nn.Module | None = None
            if i + 1 < len(channels):
                shrink = partial(timed, resize="down") if resblock_updown else partial(_strided, spatial_dims)
                resize = shrink(width, width)
            self.down_blocks.append(DiffusionLevel(residuals, attentions, resize))
            before = width
        self.middle = nn.ModuleList([timed(before, before), attention(before, heads[-1]), timed(before, before)])
        return timed, attention, blocks, heads

    def _time(self, x: Tensor, timesteps: Tensor, class_labels: Tensor | None) -> Tensor:
        time: Tensor = self.time_embed(sine_embedding(timesteps, self.channels[0]).to(x.dtype))
        if (class_labels is None) != (self.class_embedding is None):
            raise BadArgument(
                "class labels and num_class_embeds belong together",
                found=f"class_labels {'missing' if class_labels is None else 'given'}",
                due="both or neither",
            )
        if self.class_embedding is not None:
            time = time + self.class_embedding(class_labels).to(x.dtype)
        return time

    def _descend(self, x: Tensor, time: Tensor, context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        skips = [x]
        for level in self.down_blocks:
            assert isinstance(level, DiffusionLevel)
            for k in range(len(level.residuals)):
                x = level.block(k, x, time, context, ())
                skips.append(x)
            if level.resize is not None:
                x = level.resized(x, time, ())
                skips.append(x)
        first, attention, second = self.middle
        x = second(attend(attention, first(x, time), context), time)
        return x, skips


class DiffusionModelUNet(DiffusionEncoder):
    """U-Net that estimates what a diffusion model needs, from a noisy image and its time.

    (B, in_channels, *spatial) and (B,) give (B, out_channels, *spatial). Call it as
    `network(x, timesteps, context, class_labels)`. Levels of residual blocks, each told the time, halve the size;
    `attention_levels` attend between all voxels and, with conditioning, towards the context (B, M,
    cross_attention_dim). The last layer begins at zero.

    J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020, arXiv:2006.11239; with context
    R. Rombach et al., "High-resolution image synthesis with latent diffusion models", CVPR 2022,
    doi:10.1109/CVPR52688.2022.01042.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the noisy image (and what may be concatenated to it).
        out_channels: of the answer.
        num_res_blocks: residual blocks of each level.
        channels: of each level, finest first.
        attention_levels: which levels attend.
        norm_num_groups: of the group normalisations; divides all of `channels`.
        norm_eps: of the normalisations.
        resblock_updown: change sizes by residual blocks instead of convolutions.
        num_head_channels: of each attention head, for all levels or for each.
        with_conditioning: attend towards a context.
        transformer_num_layers: blocks of each transformer, with conditioning.
        cross_attention_dim: of the context's tokens.
        num_class_embeds: how many classes an image may be said to have.
        dropout_cattn: within transformers.

    Raises:
        BadArgument: lists of different lengths, groups or heads that do not divide the channels, another rank or
            number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`.

    Example:
        >>> import torch
        >>> network = DiffusionModelUNet(2, 1, 1, channels=(8, 16), attention_levels=(False, True), num_res_blocks=1,
        ...                              norm_num_groups=4)
        >>> network(torch.zeros(2, 1, 16, 16), torch.tensor([3, 500])).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        num_res_blocks: int | Sequence[int] = 2,
        channels: Sequence[int] = (32, 64, 64, 64),
        attention_levels: Sequence[bool] = (False, False, True, True),
        norm_num_groups: int = 32,
        norm_eps: float = 1e-6,
        resblock_updown: bool = False,
        num_head_channels: int | Sequence[int] = 8,
        with_conditioning: bool = False,
        transformer_num_layers: int = 1,
        cross_attention_dim: int | None = None,
        num_class_embeds: int | None = None,
        dropout_cattn: float = 0.0,
    ) -> None:
        super().__init__()
        check_channels(out_channels=out_channels)
        timed, attention, blocks, heads = self._build(
            spatial_dims,
            in_channels,
            num_res_blocks=num_res_blocks,
            channels=channels,
            attention_levels=attention_levels,
            norm_num_groups=norm_num_groups,
            norm_eps=norm_eps,
            resblock_updown=resblock_updown,
            num_head_channels=num_head_channels,
            with_conditioning=with_conditioning,
            transformer_num_layers=transformer_num_layers,
            cross_attention_dim=cross_attention_dim,
            num_class_embeds=num_class_embeds,
            dropout_cattn=dropout_cattn,
        )
        timed = self._upward(timed)
        self.up_blocks = nn.ModuleList()
        below = channels[-1]
        for i in reversed(range(len(channels))):
            width = channels[i]
            finer = channels[max(i - 1, 0)]  # what the last block of the level joins
            joined = [width] * blocks[i] + [finer]
            residuals = [timed((width if k else below) + skip, width) for k, skip in enumerate(joined)]
            attentions = [attention(width, heads[i]) for _ in residuals if attention_levels[i]]
            resize: nn.Module | None = None
            if i:
                grow = partial(timed, resize="up") if resblock_updown else partial(_doubled, spatial_dims)
                resize = grow(width, width)
            self.up_blocks.append(DiffusionLevel(residuals, attentions, resize))
            below = width
        self.norm_out = group_norm(channels[0], norm_num_groups, norm_eps)
        self.conv_out = zeroed(conv_layer(spatial_dims, channels[0], out_channels, 3))

    def _upward(self, timed: partial[TimedResidual]) -> partial[TimedResidual]:
        return timed

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor | None = None,
        class_labels: Tensor | None = None,
        *,
        down_block_additional_residuals: Sequence[Tensor] | None = None,
        mid_block_additional_residual: Tensor | None = None,
    ) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "DiffusionModelUNet")
        residuals = (down_block_additional_residuals, mid_block_additional_residual)
        return self._answer(x, self._time(x, timesteps, class_labels), context, residuals=residuals)

    def _answer(
        self,
        x: Tensor,
        time: Tensor,
        context: Tensor | None,
        *,
        residuals: tuple[Sequence[Tensor] | None, Tensor | None] = (None, None),
        labels: Sequence[Tensor] = (),
    ) -> Tensor:
        x, skips = self._descend(self.conv_in(x), time, context)
        more, middle = residuals
        if more is not None:
            skips = [skip + extra for skip, extra in zip(skips, more, strict=True)]
        if middle is not None:
            x = x + middle
        for level in self.up_blocks:
            assert isinstance(level, DiffusionLevel)
            for k in range(len(level.residuals)):
                x = level.block(k, torch.cat([x, skips.pop()], 1), time, context, labels)
            x = level.resized(x, time, labels)
        answer: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return answer


class ControlNet(DiffusionEncoder):
    """Steers a frozen `DiffusionModelUNet` by an image: gives what is added to its skip connections and its middle.

    With x (B, in_channels, *spatial), timesteps (B,) and the steering image (B, channels, *finer), the answer of
    `network(x, timesteps, controlnet_cond, conditioning_scale)` is a list and a tensor for the U-Net's
    `down_block_additional_residuals` and `mid_block_additional_residual`. A new one begins as the U-Net's encoder
    (`load_weights(controlnet, unet.state_dict(), strict=False)`) and adds nothing at first.

    L. Zhang, A. Rao, M. Agrawala, "Adding conditional control to text-to-image diffusion models", ICCV 2023,
    doi:10.1109/ICCV51070.2023.00355.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the noisy image.
        conditioning_embedding_in_channels: of the steering image, which is as much larger than the noisy one as there
            are entries, less one, in `conditioning_embedding_num_channels`, in powers of two.
        conditioning_embedding_num_channels: of the convolutions that read it.
        num_res_blocks: see `DiffusionModelUNet`, as for all that follow.
        channels: see there.
        attention_levels: see there.
        norm_num_groups: see there.
        norm_eps: see there.
        resblock_updown: see there.
        num_head_channels: see there.
        with_conditioning: see there.
        transformer_num_layers: see there.
        cross_attention_dim: see there.
        num_class_embeds: see there.
        dropout_cattn: see there.

    Raises:
        BadArgument: see `DiffusionModelUNet`.
        BadGeometry: see there.

    Example:
        >>> import torch
        >>> network = ControlNet(2, 1, conditioning_embedding_num_channels=(4,), channels=(8, 16),
        ...                      attention_levels=(False, False), num_res_blocks=1, norm_num_groups=4)
        >>> more, middle = network(torch.zeros(1, 1, 16, 16), torch.tensor([3]), torch.zeros(1, 1, 16, 16))
        >>> len(more), middle.shape
        (4, torch.Size([1, 16, 8, 8]))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        *,
        conditioning_embedding_in_channels: int = 1,
        conditioning_embedding_num_channels: Sequence[int] = (16, 32, 96, 256),
        num_res_blocks: int | Sequence[int] = 2,
        channels: Sequence[int] = (32, 64, 64, 64),
        attention_levels: Sequence[bool] = (False, False, True, True),
        norm_num_groups: int = 32,
        norm_eps: float = 1e-6,
        resblock_updown: bool = False,
        num_head_channels: int | Sequence[int] = 8,
        with_conditioning: bool = False,
        transformer_num_layers: int = 1,
        cross_attention_dim: int | None = None,
        num_class_embeds: int | None = None,
        dropout_cattn: float = 0.0,
    ) -> None:
        super().__init__()
        self._build(
            spatial_dims,
            in_channels,
            num_res_blocks=num_res_blocks,
            channels=channels,
            attention_levels=attention_levels,
            norm_num_groups=norm_num_groups,
            norm_eps=norm_eps,
            resblock_updown=resblock_updown,
            num_head_channels=num_head_channels,
            with_conditioning=with_conditioning,
            transformer_num_layers=transformer_num_layers,
            cross_attention_dim=cross_attention_dim,
            num_class_embeds=num_class_embeds,
            dropout_cattn=dropout_cattn,
        )
        conv = partial(conv_layer, spatial_dims)
        widths = tuple(conditioning_embedding_num_channels)
        check_channels(conditioning_embedding_num_channels=widths)
        layers: list[nn.Module] = [conv(conditioning_embedding_in_channels, widths[0], 3), nn.SiLU()]
        for inside, outside in pairwise(widths):
            layers += [conv(inside, inside, 3), nn.SiLU(), conv(inside, outside, 3, 2), nn.SiLU()]
        self.condition = nn.Sequential(*layers, zeroed(conv(widths[-1], channels[0], 3)))
        blocks = per_level(num_res_blocks, len(channels))
        answers = [channels[0]]
        for i, width in enumerate(channels):
            answers += [width] * (blocks[i] + (i + 1 < len(channels)))
        self.zero_convs = nn.ModuleList(zeroed(conv(width, width, 1)) for width in answers)
        self.zero_middle = zeroed(conv(channels[-1], channels[-1], 1))

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        controlnet_cond: Tensor,
        conditioning_scale: float = 1.0,
        *,
        context: Tensor | None = None,
        class_labels: Tensor | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        check_input(x, self.in_channels, self.multiple, "ControlNet")
        time = self._time(x, timesteps, class_labels)
        x, skips = self._descend(self.conv_in(x) + self.condition(controlnet_cond), time, context)
        more = [conditioning_scale * conv(skip) for conv, skip in zip(self.zero_convs, skips, strict=True)]
        return more, conditioning_scale * self.zero_middle(x)


def _strided(spatial_dims: int, inside: int, outside: int) -> nn.Module:
    return conv_layer(spatial_dims, inside, outside, 3, 2)


def _doubled(spatial_dims: int, inside: int, outside: int) -> nn.Module:
    del outside  # the same
    return DoubleSize(spatial_dims, inside)
