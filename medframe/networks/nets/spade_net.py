"""Images made from label maps, in the manner of one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument, BadGeometry
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.blocks.spade import SPADE
from medframe.networks.initialisation import he_init
from medframe.networks.layers import Spec, act_layer, conv_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims, per_axis

_LEAKY = ("leaky_relu", {"negative_slope": 0.2})


class SPADEResidual(nn.Module):
    """Two convolutions behind guided normalisations, added to the input: `block(x, labels)`.

    Where channels change, the short cut is a guided normalisation and a convolution of kernel 1.
    """

    def __init__(self, spatial_dims: int, inside: int, outside: int, guided: partial[SPADE], act: Spec) -> None:
        super().__init__()
        middle = min(inside, outside)
        self.conv_0 = conv_layer(spatial_dims, inside, middle, 3)
        self.conv_1 = conv_layer(spatial_dims, middle, outside, 3)
        self.norm_0 = guided(channels=inside)
        self.norm_1 = guided(channels=middle)
        self.conv_s: nn.Module | None = None
        if inside != outside:
            self.conv_s = conv_layer(spatial_dims, inside, outside, 1)
            self.norm_s = guided(channels=inside)
        self.act = act_layer(act)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        h = self.conv_0(self.act(self.norm_0(x, labels)))
        h = self.conv_1(self.act(self.norm_1(h, labels)))
        out: Tensor = h + (x if self.conv_s is None else self.conv_s(self.norm_s(x, labels)))
        return out


class SPADENet(nn.Module):
    """Image synthesis from one-hot labels: `network(x, labels)` gives an image, and a latent mean and log-variance.

    Shapes: `x` (B, in_channels, *input_shape) and labels (B, label_nc, *input_shape) give an image
    (B, out_channels, *input_shape) and two vectors (B, z_dim).

    An encoder reads the manner of `x` into a vector; a decoder makes an image that shows the labels in that manner.
    While training the vector is drawn, in evaluation it is the mean; `decode(labels, z)` takes any, such as one drawn
    from the standard normal distribution. The loss has a Kullback-Leibler term beside it,
    `-0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)`.

    T. Park, M. Liu, T. Wang, J. Zhu, "Semantic image synthesis with spatially-adaptive normalization", CVPR 2019,
    doi:10.1109/CVPR.2019.00244.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the image that is made.
        label_nc: channels of the label map.
        input_shape: spatial sizes of the images, multiples of 2^len(channels).
        channels: of each encoder stage, finest first; the decoder's are these from last to first.
        z_dim: of the vector.
        spade_intermediate_channels: of the layers between labels and scales.
        norm: of encoder and decoder.
        act: the activation.
        last_act: of the image; "tanh" as in the paper suits intensities from -1 to 1; None for none.
        normalised_scales: see `SPADE`.

    Raises:
        BadArgument: arguments that contradict each other, another rank or number of channels, or labels that do not
            fit.
        BadGeometry: an image of another size.

    Example:
        >>> network = SPADENet(2, 1, 1, 3, input_shape=16, channels=(4, 8), z_dim=6, spade_intermediate_channels=4)
        >>> labels = torch.zeros(2, 3, 16, 16)
        >>> image, mean, log_variance = network(torch.zeros(2, 1, 16, 16), labels)
        >>> image.shape, mean.shape, network.decode(labels, torch.zeros(2, 6)).shape
        (torch.Size([2, 1, 16, 16]), torch.Size([2, 6]), torch.Size([2, 1, 16, 16]))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        label_nc: int,
        *,
        input_shape: int | Sequence[int],
        channels: Sequence[int],
        z_dim: int,
        spade_intermediate_channels: int = 128,
        norm: Spec = ("instance", {"affine": False}),
        act: Spec = _LEAKY,
        last_act: Spec | None = None,
        normalised_scales: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, label_nc=label_nc, channels=channels)
        check_channels(z_dim=z_dim, spade_intermediate_channels=spade_intermediate_channels)
        size = per_axis("input_shape", input_shape, spatial_dims)
        self.multiple = (2 ** len(channels),) * spatial_dims
        """What `input_shape` must be divisible by, for each axis."""
        if not channels or any(n % m for n, m in zip(size, self.multiple, strict=True)):
            raise BadArgument(
                "the stages do not divide input_shape",
                found=f"{size}, {len(channels)} stages",
                due=f"one stage or more, and multiples of {2 ** len(channels)}",
            )
        self.in_channels, self.label_nc, self.z_dim = in_channels, label_nc, z_dim
        self.input_shape = size
        self.coarse = (channels[-1], *(n // m for n, m in zip(size, self.multiple, strict=True)))
        self.encoder = nn.Sequential(
            *(Convolution(spatial_dims, a, b, 3, 2, norm=norm, act=act) for a, b in pairwise([in_channels, *channels]))
        )
        flat = math.prod(self.coarse)
        self.fc_mu = nn.Linear(flat, z_dim)
        self.fc_var = nn.Linear(flat, z_dim)
        self.fc = nn.Linear(z_dim, flat)
        guided = partial(
            SPADE,
            spatial_dims,
            label_nc,
            hidden_channels=spade_intermediate_channels,
            norm=norm,
            normalised_scales=normalised_scales,
        )
        self.decoder = nn.ModuleList(
            SPADEResidual(spatial_dims, a, b, guided, act) for a, b in pairwise([*reversed(channels), out_channels])
        )
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.last_conv = Convolution(spatial_dims, out_channels, out_channels, 3, norm=None, act=last_act)
        he_init(self, 0.2)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The latent distribution's mean and log-variance, (B, z_dim)."""
        check_input(x, self.in_channels, (1,) * len(self.input_shape), "SPADENet")
        if tuple(x.shape[2:]) != self.input_shape:
            raise BadGeometry("the image has another size", found=tuple(x.shape[2:]), due=self.input_shape)
        h = self.encoder(x).flatten(1)
        return self.fc_mu(h), self.fc_var(h)

    def decode(self, labels: Tensor, z: Tensor) -> Tensor:
        """An image that shows labels (B, label_nc, *input_shape), in the manner of z (B, z_dim)."""
        if tuple(labels.shape[1:]) != (self.label_nc, *self.input_shape):
            raise BadArgument(
                "the label map that guides does not fit",
                found=f"shape {tuple(labels.shape)}",
                due=f"(batch, {self.label_nc}, {', '.join(map(str, self.input_shape))})",
                mend="Make it one-hot first: one channel for each label.",
            )
        if tuple(z.shape) != (labels.shape[0], self.z_dim):
            raise BadArgument(
                "the vector does not fit", found=f"shape {tuple(z.shape)}", due=f"({labels.shape[0]}, {self.z_dim})"
            )
        x = self.fc(z).reshape(-1, *self.coarse)
        for block in self.decoder:
            x = self.up(block(x, labels))
        image: Tensor = self.last_conv(x)
        return image

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x)
        z = mean
        if self.training:
            z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.decode(labels, z), mean, log_variance
