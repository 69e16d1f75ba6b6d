"""From an image to a vector and from a vector to an image, by residual units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from medframe.base.errors import BadArgument, BadGeometry
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.blocks.residual_unit import ResidualUnit
from medframe.networks.layers import Spec, act_layer
from medframe.networks.nets.autoencoder import check_stages
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims, per_axis


class Regressor(nn.Module):
    """Strided residual units and one linear layer: (B, *in_shape) to (B, *out_shape).

    E. Kerfoot et al., "Automated CNN-based reconstruction of short-axis cardiac MR sequence from real-time image data",
    RAMBO 2018, doi:10.1007/978-3-030-00946-5_4.

    Args:
        spatial_dims: 1, 2 or 3.
        in_shape: (channels, *spatial) of the image.
        out_shape: of the answer.
        channels: of each stage.
        strides: of each stage.
        kernel_size: of convolutions; odd.
        num_res_units: convolutions in each unit.
        act: the activation.
        norm: the normalisation; None for none.
        dropout: after each normalisation.
        last_act: of the answer; None for none.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input of another size.

    Example:
        >>> import torch
        >>> Regressor(2, (1, 16, 16), (3,), channels=(4, 8), strides=(2, 2))(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        channels: Sequence[int],
        strides: Sequence[PerAxis],
        *,
        kernel_size: PerAxis = 3,
        num_res_units: int = 2,
        act: Spec = "prelu",
        norm: Spec | None = "instance",
        dropout: float = 0.0,
        last_act: Spec | None = None,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_shape=in_shape, out_shape=out_shape, channels=channels, num_res_units=num_res_units)
        check_stages(type(self).__name__, channels, strides)
        if len(in_shape) != spatial_dims + 1:
            raise BadArgument(
                "in_shape is (channels, *spatial)", found=tuple(in_shape), due=f"{spatial_dims + 1} sizes"
            )
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        self.multiple = (1,) * spatial_dims
        """What the sizes of `in_shape` must be divisible by, for each axis: any will do."""
        self.units = nn.Sequential()
        size = list(in_shape[1:])
        for i, (inside, outside) in enumerate(pairwise([in_shape[0], *channels])):
            step = per_axis(f"strides[{i}]", strides[i], spatial_dims)
            unit = ResidualUnit(
                spatial_dims,
                inside,
                outside,
                kernel_size,
                step,
                subunits=num_res_units,
                norm=norm,
                dropout=dropout,
                act=act,
                last_conv_only=i + 1 == len(channels),
            )
            self.units.append(unit)
            size = [-(-n // s) for n, s in zip(size, step, strict=True)]
        self.final = nn.Linear(channels[-1] * math.prod(size), math.prod(out_shape))
        self.last_act: nn.Module = nn.Identity() if last_act is None else act_layer(last_act)

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_shape[0], self.multiple, type(self).__name__)
        if tuple(x.shape[1:]) != self.in_shape:
            raise BadGeometry("the image has another size", found=tuple(x.shape[1:]), due=self.in_shape)
        out: Tensor = self.last_act(self.final(self.units(x).flatten(1)))
        return out.reshape(-1, *self.out_shape)


class Generator(nn.Module):
    """One linear layer and upsampling residual units: (B, *latent_shape) to an image.

    I. Goodfellow et al., "Generative adversarial nets", NeurIPS 2014, arXiv:1406.2661; with convolutions A. Radford, L.
    Metz, S. Chintala, "Unsupervised representation learning with deep convolutional generative adversarial networks",
    ICLR 2016, arXiv:1511.06434.

    Args:
        spatial_dims: 1, 2 or 3.
        latent_shape: of the vector.
        start_shape: (channels, *spatial) of the coarsest image.
        channels: of each stage's answer; the last are the image's.
        strides: by which each stage upsamples.
        kernel_size: of convolutions; odd.
        num_res_units: convolutions in each unit.
        act: the activation.
        norm: the normalisation; None for none.
        dropout: after each normalisation.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another shape.

    Example:
        >>> import torch
        >>> Generator(2, (6,), (8, 4, 4), channels=(4, 1), strides=(2, 2))(torch.zeros(2, 6)).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        spatial_dims: int,
        latent_shape: Sequence[int],
        start_shape: Sequence[int],
        channels: Sequence[int],
        strides: Sequence[PerAxis],
        *,
        kernel_size: PerAxis = 3,
        num_res_units: int = 2,
        act: Spec = "prelu",
        norm: Spec | None = "instance",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(latent_shape=latent_shape, start_shape=start_shape, channels=channels)
        check_stages("Generator", channels, strides)
        if len(start_shape) != spatial_dims + 1:
            raise BadArgument(
                "start_shape is (channels, *spatial)", found=tuple(start_shape), due=f"{spatial_dims + 1} sizes"
            )
        self.latent_shape, self.start_shape = tuple(latent_shape), tuple(start_shape)
        self.linear = nn.Linear(math.prod(latent_shape), math.prod(start_shape))
        self.stages = nn.Sequential()
        for i, (inside, outside) in enumerate(pairwise([start_shape[0], *channels])):
            last = i + 1 == len(channels)
            bare = last or num_res_units > 0
            stage = nn.Sequential(
                Convolution(
                    spatial_dims,
                    inside,
                    outside,
                    kernel_size,
                    strides[i],
                    transposed=True,
                    norm=None if bare else norm,
                    act=None if bare else act,
                    dropout=0.0 if bare else dropout,
                )
            )
            if num_res_units:
                unit = ResidualUnit(
                    spatial_dims,
                    outside,
                    outside,
                    kernel_size,
                    subunits=num_res_units,
                    norm=norm,
                    act=act,
                    dropout=dropout,
                    last_conv_only=last,
                )
                stage.append(unit)
            self.stages.append(stage)

    def forward(self, z: Tensor) -> Tensor:
        if tuple(z.shape[1:]) != self.latent_shape:
            raise BadArgument(
                "Generator cannot take an input of this shape",
                found=f"shape {tuple(z.shape)}",
                due=f"(batch, {', '.join(map(str, self.latent_shape))})",
            )
        out: Tensor = self.stages(self.linear(z.flatten(1)).reshape(-1, *self.start_shape))
        return out
