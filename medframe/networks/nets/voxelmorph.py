"""Registration by a U-Net that answers with velocities or displacements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadArgument, BadGeometry
from medframe.kernels import Border
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.blocks.warp import DVF2DDF, Warp
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer, conv_layer
from medframe.networks.pooling import max_pool_layer
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims

_LEAKY = ("leaky_relu", {"negative_slope": 0.2})
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class VoxelMorphUNet(nn.Module):
    """The U-Net of VoxelMorph: a stacked pair (B, in_channels, *spatial) becomes a field (B, d, *spatial) in voxels.

    One convolution a stage, sizes halved before it on the way down and doubled by nearest neighbours on the way up.
    The last convolution begins near zero, so that registration begins at the identity; other weights: `he_init`.

    G. Balakrishnan, A. Zhao, M. R. Sabuncu, J. Guttag, A. V. Dalca, "VoxelMorph: a learning framework for deformable
    medical image registration", IEEE Trans. Med. Imaging 38, 2019, doi:10.1109/TMI.2019.2897538.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the moving and the fixed image together.
        channels: a pair for each level, finest first: channels on the way down, and those that come up from below. The
            second of the last pair are those of the coarsest stage. The default is the paper's, with sizes halved four
            times.
        unet_out_channels: of the finest stage on the way up.
        final_conv_channels: of further convolutions at full size before the last.
        kernel_size: of all convolutions; odd.
        act: the activation.
        norm: the normalisation; None for none, as in the paper.
        dropout: the chance that a voxel of a channel is set to zero.
        use_maxpool: halve sizes by maximum pooling; else the convolutions stride.

    Raises:
        BadArgument: channels that are no pairs, or an input of another rank or number of channels.
        BadGeometry: an input whose sizes are not multiples of `multiple`.

    Example:
        >>> network = VoxelMorphUNet(2, 2, channels=(4, 8, 8, 8), unet_out_channels=8, final_conv_channels=(4,))
        >>> network(torch.zeros(1, 2, 16, 32)).shape
        torch.Size([1, 2, 16, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int = 2,
        *,
        channels: Sequence[int] = (16, 32, 32, 32, 32, 32, 32, 32),
        unet_out_channels: int = 32,
        final_conv_channels: Sequence[int] = (16, 16),
        kernel_size: PerAxis = 3,
        act: Spec = _LEAKY,
        norm: Spec | None = None,
        dropout: float = 0.0,
        use_maxpool: bool = True,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, channels=channels, unet_out_channels=unet_out_channels)
        check_channels(final_conv_channels=final_conv_channels)
        if len(channels) < 2 or len(channels) % 2:
            raise BadArgument(
                "channels are no pairs of down and up",
                where="channels",
                found=tuple(channels),
                due="two numbers for each level, such as (16, 32, 32, 32)",
            )
        down, below = list(channels[::2]), list(channels[1::2])
        self.in_channels = in_channels
        self.multiple = (2 ** len(down),) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        conv = partial(Convolution, spatial_dims, kernel_size=kernel_size, norm=norm, dropout=dropout, act=act)
        self.pool: nn.Module = max_pool_layer(spatial_dims) if use_maxpool else nn.Identity()
        self.encoder = nn.ModuleList(
            conv(inside, outside, stride=1 if use_maxpool or not i else 2)
            for i, (inside, outside) in enumerate(pairwise([in_channels, *down, below[-1]]))
        )
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.decoder = nn.ModuleList(
            conv(skip + risen, end)
            for skip, risen, end in zip(down, below, [unet_out_channels, *below[:-1]], strict=True)
        )
        wide = [unet_out_channels, *final_conv_channels]
        self.final = nn.Sequential(*(conv(inside, outside) for inside, outside in pairwise(wide)))
        self.flow = conv_layer(spatial_dims, wide[-1], spatial_dims, kernel_size)
        he_init(self, negative_slope(act_layer(act)))
        nn.init.normal_(self.flow.weight, 0.0, 1e-5)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "VoxelMorphUNet")
        skips: list[Tensor] = []
        for i, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if i else x)
            skips.append(x)
        skips.pop()
        for stage, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            x = stage(torch.cat([skip, self.up(x)], 1))
        field: Tensor = self.flow(self.final(x))
        return field


class VoxelMorph(nn.Module):
    """Registers pairs: `network(moving, fixed)` gives the warped moving image and the displacements.

    Images are (B, in_channels, *spatial), the displacements (B, d, *spatial) in voxels: output voxel o of the fixed
    lattice is read in the moving image at o + displacement(o), as `Warp` does; `Warp(order=0)` takes labels along. With
    `integration_steps` the U-Net's answer is a velocity, integrated to a map that can be inverted; 0 takes it for the
    displacement itself. Fields are float32, under autocast too.

    G. Balakrishnan, A. Zhao, M. R. Sabuncu, J. Guttag, A. V. Dalca, "VoxelMorph: a learning framework for deformable
    medical image registration", IEEE Trans. Med. Imaging 38, 2019, doi:10.1109/TMI.2019.2897538; with velocities A. V.
    Dalca et al., "Unsupervised learning of probabilistic diffeomorphic registration for images and surfaces", Med.
    Image Anal. 57, 2019, doi:10.1016/j.media.2019.07.006.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of each of the two images.
        backbone: from the pair, stacked (B, 2 * in_channels, *spatial), moving first, to (B, d, *spatial) in voxels;
            None for `VoxelMorphUNet`.
        integration_steps: see `DVF2DDF`; 0 for none.
        half_res: integrate at half the size, at an eighth of the cost in 3-D.
        border: what lies beyond the moving image; see `Warp`.

    Raises:
        BadArgument: images of different shape, or another rank or number of channels, or a backbone whose answer is
            no field.
        BadGeometry: sizes that the backbone does not take.

    Example:
        >>> network = VoxelMorph(2)
        >>> warped, field = network(torch.rand(1, 1, 32, 48), torch.rand(1, 1, 32, 48))
        >>> warped.shape, field.shape
        (torch.Size([1, 1, 32, 48]), torch.Size([1, 2, 32, 48]))
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        *,
        backbone: nn.Module | None = None,
        integration_steps: int = 7,
        half_res: bool = False,
        border: Border = "zero",
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels)
        if integration_steps < 0:
            raise BadArgument("steps are counted", where="integration_steps", found=integration_steps, due="0 or more")
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        self.backbone = VoxelMorphUNet(spatial_dims, 2 * in_channels) if backbone is None else backbone
        known = getattr(self.backbone, "multiple", (1,) * spatial_dims)
        self.multiple = tuple(int(n) for n in known)
        """What the images' sizes must be divisible by, for each axis."""
        self.half_res = half_res
        self.integrate: nn.Module = DVF2DDF(integration_steps) if integration_steps else nn.Identity()
        self.warp = Warp(border=border)

    def velocity(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """What the backbone answers (B, d, *spatial): what a loss of smoothness is taken of in the second paper."""
        for image in (moving, fixed):
            check_input(image, self.in_channels, self.multiple, "VoxelMorph")
        if moving.shape != fixed.shape:
            raise BadArgument(
                "moving and fixed image differ in shape",
                found=f"{tuple(moving.shape)} and {tuple(fixed.shape)}",
                due="one shape (B, C, *spatial)",
            )
        field: Tensor = self.backbone(torch.cat([moving, fixed], 1)).float()
        if field.shape[1:] != (self.spatial_dims, *moving.shape[2:]):
            raise BadArgument(
                "the backbone's answer is no field over the images",
                found=f"shape {tuple(field.shape)}",
                due=f"{(moving.shape[0], self.spatial_dims, *moving.shape[2:])}",
            )
        return field

    def displacement(self, velocity: Tensor) -> Tensor:
        """The velocity integrated, at half the size where asked for."""
        if not self.half_res:
            field: Tensor = self.integrate(velocity)
            return field
        size = velocity.shape[2:]
        if min(size) < 4:
            raise BadGeometry("too few voxels to integrate at half the size", found=tuple(size), due="4 or more")
        half = [n // 2 for n in size]
        # first and last voxels stay where they are, so that a step on the half lattice is just short of two voxels
        per_voxel = velocity.new_tensor([(m - 1) / (n - 1) for m, n in zip(half, size, strict=True)])
        per_voxel = per_voxel.reshape(1, -1, *[1] * self.spatial_dims)
        coarse = _resized(velocity, half) * per_voxel
        return _resized(self.integrate(coarse) / per_voxel, size)

    def forward(self, moving: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
        field = self.displacement(self.velocity(moving, fixed))
        return self.warp(moving, field), field


def _resized(field: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(field, list(size), mode=_LINEAR[len(size)], align_corners=True)
