"""SegResNet with the autoencoder that regularises its encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadArgument, BadGeometry
from medframe.networks.blocks.upsampling import UpMode, Upsampling
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.nets.segresnet import SegResNet, final_convolution
from medframe.networks.sizes import check_input, per_axis

_CODE_CHANNELS = 16


class SegResNetVAE(SegResNet):
    """SegResNet that, while training, also rebuilds its input from a random code drawn from its coarsest features.

    In evaluation mode (B, in_channels, *spatial) becomes (B, out_channels, *spatial) logits. While training the answer
    is a pair: the logits, and the autoencoder's loss, a scalar to add to the segmentation's loss with a small weight
    (0.1 in the paper): the mean squared difference between input and rebuilt input, plus the divergence of the code
    from a standard normal one. The code is drawn from torch's generator. The decoder's upsampling and blocks serve
    both tasks; no skip connection leads into the rebuilding.

    A. Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", BrainLes 2018,
    doi:10.1007/978-3-030-11726-9_28.

    Example:
        >>> net = SegResNetVAE((32, 64), spatial_dims=2, in_channels=4, out_channels=3)
        >>> logits, loss = net(torch.zeros(1, 4, 32, 64))
        >>> logits.shape, loss.shape
        (torch.Size([1, 3, 32, 64]), torch.Size([]))

    Args:
        input_image_size: spatial sizes of the input while training.
        vae_estimate_std: estimate the code's standard deviations, too.
        vae_default_std: the standard deviation where it is not estimated.
        vae_nz: length of the code.
        spatial_dims: 1, 2 or 3.
        init_filters: channels of the finest stage.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        dropout_prob: the chance that a channel is set to zero after the first convolution; None for none.
        act: the activation.
        norm: the normalisation; it must take 16 channels, too.
        use_conv_final: as in `SegResNet`.
        blocks_down: blocks of each encoder stage.
        blocks_up: blocks of each decoder stage from coarse to fine, so one fewer.
        upsample_mode: "nontrainable", "deconv" or "pixelshuffle", see `Upsampling`.
        checkpointing: keep less for the way back and compute it again.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`, or while training others than
            `input_image_size`.
    """

    def __init__(
        self,
        input_image_size: Sequence[int],
        *,
        vae_estimate_std: bool = False,
        vae_default_std: float = 0.3,
        vae_nz: int = 256,
        spatial_dims: int = 3,
        init_filters: int = 8,
        in_channels: int = 1,
        out_channels: int = 2,
        dropout_prob: float | None = None,
        act: Spec = "relu",
        norm: Spec = ("group", {"num_groups": 8}),
        use_conv_final: bool = True,
        blocks_down: Sequence[int] = (1, 2, 2, 4),
        blocks_up: Sequence[int] = (1, 1, 1),
        upsample_mode: UpMode = "nontrainable",
        checkpointing: bool = False,
    ) -> None:
        super().__init__(
            spatial_dims,
            init_filters,
            in_channels,
            out_channels,
            dropout_prob=dropout_prob,
            act=act,
            norm=norm,
            use_conv_final=use_conv_final,
            blocks_down=blocks_down,
            blocks_up=blocks_up,
            upsample_mode=upsample_mode,
            checkpointing=checkpointing,
        )
        sizes = per_axis("input_image_size", input_image_size, spatial_dims)
        halved = 2 ** len(blocks_down)  # the code's own convolution strides once more
        if any(n % halved for n in sizes) or vae_nz < 1 or vae_default_std <= 0:
            raise BadArgument(
                "the autoencoder cannot be built",
                found=f"input_image_size={sizes}, vae_nz={vae_nz}, vae_default_std={vae_default_std}",
                due=f"sizes that {halved} divides, and positive numbers",
            )
        self.input_image_size = sizes
        self.estimate_std = vae_estimate_std
        self.default_std = vae_default_std
        self.code_shape = (_CODE_CHANNELS, *(n // halved for n in sizes))
        coarse = init_filters * 2 ** (len(blocks_down) - 1)
        flat = math.prod(self.code_shape)
        self.vae_down = nn.Sequential(
            norm_layer(norm, spatial_dims, coarse),
            act_layer(act),
            conv_layer(spatial_dims, coarse, _CODE_CHANNELS, stride=2),
            norm_layer(norm, spatial_dims, _CODE_CHANNELS),
            act_layer(act),
        )
        self.vae_mean = nn.Linear(flat, vae_nz)
        self.vae_std = nn.Linear(flat, vae_nz) if vae_estimate_std else None
        self.vae_rise = nn.Linear(vae_nz, flat)
        self.vae_act = act_layer(act)
        self.vae_up = nn.Sequential(
            conv_layer(spatial_dims, _CODE_CHANNELS, coarse, 1, bias=False),
            Upsampling(spatial_dims, coarse, coarse, mode=upsample_mode),
            norm_layer(norm, spatial_dims, coarse),
            act_layer(act),
        )
        self.vae_head = final_convolution(spatial_dims, init_filters, in_channels, norm=norm, act=act)
        for part in (self.vae_down, self.vae_up, self.vae_head):
            he_init(part, negative_slope(act_layer(act)))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:  # type: ignore[override]
        check_input(x, self.in_channels, self.multiple, type(self).__name__)
        features = self.encode(x)
        logits = self.decode(features)
        return (logits, self.autoencoder_loss(x, features[-1])) if self.training else logits

    def autoencoder_loss(self, x: Tensor, coarsest: Tensor) -> Tensor:
        """How badly `x` is rebuilt from the coarsest features, plus the code's divergence, as a scalar."""
        if tuple(x.shape[2:]) != self.input_image_size:
            raise BadGeometry(
                "the autoencoder is for inputs of one size",
                found=f"size {tuple(x.shape[2:])}",
                due=f"input_image_size {self.input_image_size}",
                mend="Train on patches of that size; in evaluation mode other sizes do.",
            )
        h = self.vae_down(coarsest).flatten(1)
        mean: Tensor = self.vae_mean(h)
        noise = torch.randn_like(mean)
        if self.vae_std is None:
            code = mean + self.default_std * noise
            divergence = mean.square().mean()
        else:
            std = F.softplus(self.vae_std(h))
            code = mean + std * noise
            divergence = 0.5 * (mean.square() + std.square() - (1e-8 + std.square()).log() - 1).mean()
        h = self.vae_act(self.vae_rise(code)).reshape(-1, *self.code_shape)
        h = self.vae_up(h)
        for up, stage in zip(self.up, self.decoder, strict=True):
            h = stage(up(h))
        return divergence + F.mse_loss(self.vae_head(h), x)
