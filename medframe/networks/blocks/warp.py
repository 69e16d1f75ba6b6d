"""Images warped by dense displacements, and velocities integrated to displacements."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument, BadGeometry
from medframe.kernels import Border, spatial_transform
from medframe.kernels.stages import BORDERS, ORDERS


class Warp(nn.Module):
    """Reads an image (B, C, *spatial) at each voxel plus its displacement (B, d, *spatial): `warp(image, field)`.

    The displacement of voxel o is in voxels, one channel an axis in the tensor's own order, and says where o is read:
    at o + field(o). It can be trained through, with respect to the image and the field. The answer has the field's
    sizes and the image's dtype; places are worked out in float32 at least.

    M. Jaderberg, K. Simonyan, A. Zisserman, K. Kavukcuoglu, "Spatial transformer networks", NeurIPS 2015,
    arXiv:1506.02025.

    Args:
        order: 0 nearest (labels), 1 linear, 3 cubic B-spline.
        border: what lies beyond the edge: "zero" for `fill`, or "border", "reflect", "wrap".
        fill: the value outside for border "zero".

    Raises:
        BadArgument: an unknown order or border; or, when called, shapes that do not fit.
        BadGeometry: a displacement is not finite.

    Example:
        >>> import torch
        >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
        >>> one_voxel_on = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 4)
        >>> Warp()(image, one_voxel_on).tolist()
        [[[[1.0, 2.0, 3.0, 3.0]]]]
    """

    def __init__(self, order: int = 1, border: Border = "border", fill: float = 0.0) -> None:
        super().__init__()
        if order not in ORDERS or border not in BORDERS:
            raise BadArgument(
                "unknown order or border",
                found=f"order {order}, border {border!r}",
                due=f"order 0, 1 or 3; border {', '.join(BORDERS)}",
            )
        self.order = order
        self.border: Border = border
        self.fill = fill

    def forward(self, image: Tensor, field: Tensor) -> Tensor:
        check_field(field, image)
        return spatial_transform(
            image, field.to(_at_least_float(field)), order=self.order, border=self.border, fill=self.fill
        )

    def extra_repr(self) -> str:
        return f"order={self.order}, border={self.border!r}, fill={self.fill}"


class DVF2DDF(nn.Module):
    """A stationary velocity field (B, d, *spatial) to the displacement after one unit of time, by scaling and squaring.

    The field is divided by 2^num_steps, which is nearly a displacement, and that is composed with itself `num_steps`
    times. The result is a smooth map with a smooth inverse (that of the negative field) as long as velocities change
    slowly from voxel to voxel, and at the edge fade out or have border "border". Both fields are in voxels, one channel
    an axis in the tensor's own order.

    V. Arsigny, O. Commowick, X. Pennec, N. Ayache, "A log-Euclidean framework for statistics on diffeomorphisms",
    MICCAI 2006, doi:10.1007/11866565_113; in networks A. V. Dalca, G. Balakrishnan, J. Guttag, M. R. Sabuncu,
    "Unsupervised learning of probabilistic diffeomorphic registration for images and surfaces", Med. Image Anal. 57,
    2019, doi:10.1016/j.media.2019.07.006.

    Args:
        num_steps: how often the field is squared; 7 is usual.
        border: the displacement beyond the edge: "zero", or "border" for that of the edge.

    Raises:
        BadArgument: no step, or an unknown border.

    Example:
        >>> import torch
        >>> shift = torch.full((1, 2, 8, 8), 1.5)
        >>> bool((DVF2DDF(border="border")(shift) == 1.5).all())
        True
    """

    def __init__(self, num_steps: int = 7, border: Border = "zero") -> None:
        super().__init__()
        if num_steps < 1:
            raise BadArgument("nothing is integrated", where="num_steps", found=num_steps, due="at least 1")
        self.num_steps = num_steps
        self.warp = Warp(border=border)

    def forward(self, velocity: Tensor) -> Tensor:
        check_field(velocity)
        field: Tensor = velocity.to(_at_least_float(velocity)) / 2**self.num_steps
        for _ in range(self.num_steps):
            field = field + self.warp(field, field)
        return field


def check_field(field: Tensor, image: Tensor | None = None) -> None:
    """Raise unless a field has one channel for each spatial axis, and fits the image's batch and axes.

    Raises:
        BadArgument: it has another shape.
        BadGeometry: it has no voxel.
    """
    axes = field.dim() - 2
    fits = 1 <= axes <= 3 and field.shape[1] == axes
    if image is not None:
        fits = fits and image.dim() == field.dim() and image.shape[0] == field.shape[0]
    if not fits:
        beside = "" if image is None else f" for an image of shape {tuple(image.shape)}"
        raise BadArgument(
            "not a field of displacements",
            found=f"shape {tuple(field.shape)}{beside}",
            due="(B, d, *spatial), one channel for each of the d axes, in voxels",
        )
    if 0 in field.shape[2:]:
        raise BadGeometry("a field without voxels", found=f"shape {tuple(field.shape)}")


def _at_least_float(field: Tensor) -> torch.dtype:
    return torch.promote_types(field.dtype, torch.float32)
