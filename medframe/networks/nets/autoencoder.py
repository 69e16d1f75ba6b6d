"""Autoencoders of strided convolutions, plain and variational."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument, BadGeometry
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.blocks.residual_unit import ResidualUnit
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims, per_axis, total_stride


def check_stages(name: str, channels: Sequence[int], strides: Sequence[PerAxis]) -> None:
    """Raise BadArgument unless each stage has its channels and its stride."""
    if len(channels) != len(strides) or not channels:
        raise BadArgument(
            f"{name}'s channels and strides do not describe the same stages",
            found=f"{len(channels)} channels, {len(strides)} strides",
            due="one of each for every stage",
        )


class AutoEncoder(nn.Module):
    """Strided convolutions down and transposed ones up, nothing joined: (B, in_channels, *spatial) to out_channels.

    G. E. Hinton, R. R. Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313, 2006,
    doi:10.1126/science.1127647.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the answer.
        channels: of each encoder stage, finest first.
        strides: of each stage; each a number or one for each axis.
        kernel_size: of convolutions; odd.
        up_kernel_size: of transposed convolutions.
        num_res_units: convolutions in each encoder stage's residual unit; 0 for plain single convolutions.
        act: the activation.
        norm: the normalisation; None for none.
        dropout: after each normalisation.
        bias: whether convolutions have one.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`.

    Example:
        >>> import torch
        >>> AutoEncoder(2, 1, 1, channels=(4, 8), strides=(2, 2))(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        strides: Sequence[PerAxis],
        *,
        kernel_size: PerAxis = 3,
        up_kernel_size: PerAxis = 3,
        num_res_units: int = 0,
        act: Spec = "prelu",
        norm: Spec | None = "instance",
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, channels=channels)
        check_stages(type(self).__name__, channels, strides)
        steps = [per_axis(f"strides[{i}]", s, spatial_dims) for i, s in enumerate(strides)]
        self.in_channels = in_channels
        self.multiple = total_stride(steps)
        """What the input's size must be divisible by, for each axis."""
        conv = partial(Convolution, spatial_dims, dropout=dropout, bias=bias)
        residual = partial(ResidualUnit, spatial_dims, norm=norm, act=act, dropout=dropout, bias=bias)
        self.encoder, self.decoder = nn.Sequential(), nn.Sequential()
        for (inside, outside), step in zip(pairwise([in_channels, *channels]), steps, strict=True):
            if num_res_units:
                self.encoder.append(residual(inside, outside, kernel_size, step, subunits=num_res_units))
            else:
                self.encoder.append(conv(inside, outside, kernel_size, step, norm=norm, act=act))
        wide = [*reversed(channels), out_channels]
        for i, ((inside, outside), step) in enumerate(zip(pairwise(wide), reversed(steps), strict=True)):
            last = i + 1 == len(steps)
            bare = last and not num_res_units
            up = conv(
                inside,
                outside,
                up_kernel_size,
                step,
                transposed=True,
                norm=None if bare else norm,
                act=None if bare else act,
                dropout=0.0 if bare else dropout,
            )
            stage = nn.Sequential(up)
            if num_res_units:
                stage.append(residual(outside, outside, kernel_size, 1, subunits=1, last_conv_only=last))
            self.decoder.append(stage)
        he_init(self, negative_slope(act_layer(act)))

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, type(self).__name__)
        out: Tensor = self.decoder(self.encoder(x))
        return out


class VarAutoEncoder(nn.Module):
    """Variational autoencoder with one latent vector an image: (B, *in_shape) to image, mean, log-variance and draw.

    D. P. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv:1312.6114.

    Args:
        spatial_dims: 1, 2 or 3.
        in_shape: (channels, *spatial) of the image.
        out_channels: of the answer.
        latent_size: of the vector.
        channels: see `AutoEncoder`, as for all that follow.
        strides: see there.
        use_sigmoid: the answer in (0, 1).
        num_res_units: see there.
        act: see there.
        norm: see there.
        dropout: see there.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: sizes that the strides do not divide, or an input of another size.

    Example:
        >>> import torch
        >>> network = VarAutoEncoder(2, (1, 16, 16), 1, 6, channels=(4, 8), strides=(2, 2))
        >>> [tuple(a.shape) for a in network(torch.zeros(2, 1, 16, 16))]
        [(2, 1, 16, 16), (2, 6), (2, 6), (2, 6)]
    """

    def __init__(
        self,
        spatial_dims: int,
        in_shape: Sequence[int],
        out_channels: int,
        latent_size: int,
        *,
        channels: Sequence[int],
        strides: Sequence[PerAxis],
        use_sigmoid: bool = True,
        num_res_units: int = 0,
        act: Spec = "prelu",
        norm: Spec | None = "instance",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_channels(latent_size=latent_size, in_shape=in_shape)
        if len(in_shape) != spatial_dims + 1:
            raise BadArgument(
                "in_shape is (channels, *spatial)", found=tuple(in_shape), due=f"{spatial_dims + 1} sizes"
            )
        plain = AutoEncoder(
            spatial_dims,
            in_shape[0],
            out_channels,
            channels,
            strides,
            num_res_units=num_res_units,
            act=act,
            norm=norm,
            dropout=dropout,
        )
        self.in_shape = tuple(in_shape)
        self.multiple = plain.multiple
        """What the sizes of `in_shape` must be divisible by, for each axis."""
        for axis, (size, unit) in enumerate(zip(in_shape[1:], plain.multiple, strict=True)):
            if size % unit:
                raise BadGeometry(
                    f"in_shape[{axis + 1}] is not divisible by the strides", found=size, due=f"n * {unit}"
                )
        self.use_sigmoid = use_sigmoid
        self.encoder, self.decoder = plain.encoder, plain.decoder
        self.coarse = (channels[-1], *(s // m for s, m in zip(in_shape[1:], plain.multiple, strict=True)))
        flat = math.prod(self.coarse)
        self.mu = nn.Linear(flat, latent_size)
        self.logvar = nn.Linear(flat, latent_size)
        self.widen = nn.Linear(latent_size, flat)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The latent distribution's mean and log-variance, (B, latent_size)."""
        check_input(x, self.in_shape[0], (1,) * (len(self.in_shape) - 1), "VarAutoEncoder")
        if tuple(x.shape[1:]) != self.in_shape:
            raise BadGeometry("the image has another size", found=tuple(x.shape[1:]), due=self.in_shape)
        h = self.encoder(x).flatten(1)
        return self.mu(h), self.logvar(h)

    def decode(self, z: Tensor) -> Tensor:
        """An image from a latent vector."""
        out: Tensor = self.decoder(self.widen(z).relu().reshape(-1, *self.coarse))
        return out.sigmoid() if self.use_sigmoid else out

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x)
        z = mean
        if self.training:
            z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.decode(z), mean, log_variance, z
