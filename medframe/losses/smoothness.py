"""How rough a displacement field is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadGeometry
from medframe.losses.tensors import reduce, wide
from medframe.losses.weights import Reduction, check_reduction


@dataclass(frozen=True)
class BendingEnergyLoss:
    """The squared second derivatives of a displacement field, mixed ones twice; zero for every affine field.

    Called with a field (B, ndim, *spatial), 1-D to 3-D, of at least three voxels along each axis. Derivatives are
    central differences in voxels, inside the field only. Computed in float32 at least; safe under autocast.

    D. Rueckert et al., "Nonrigid registration using free-form deformations: application to breast MR images", IEEE
    Trans. Med. Imaging 18, 1999, doi:10.1109/42.796284.

    Args:
        normalize: measure places and displacements in units of the image's size along their axis, so that fields of
            different sampling compare.
        reduction: "mean" or "sum" over everything, or "none": (B, ndim, *inside).

    Raises:
        BadArgument: an unknown reduction.
        BadGeometry: the field's shape does not fit.

    Example:
        >>> field = torch.arange(5.0).expand(1, 2, 5, 5)
        >>> BendingEnergyLoss()(field).item(), BendingEnergyLoss()(field**2).item()
        (0.0, 4.0)
    """

    normalize: bool = False
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)

    def __call__(self, field: Tensor) -> Tensor:
        field = _checked(field)
        ndim = field.dim() - 2
        total = torch.zeros((), device=field.device, dtype=field.dtype)
        for a in range(ndim):
            for b in range(a, ndim):
                if a == b:
                    bent = _at(field, {a: 1}) - 2 * _at(field, {}) + _at(field, {a: -1})
                else:
                    corners = [(i, k) for i in (1, -1) for k in (1, -1)]
                    bent = torch.stack([i * k * _at(field, {a: i, b: k}) for i, k in corners]).sum(0) / 4
                if self.normalize:
                    bent = bent * (field.shape[2 + a] * field.shape[2 + b]) / _sizes(field)
                total = total + (1 if a == b else 2) * bent**2
        return reduce(total, self.reduction)


@dataclass(frozen=True)
class DiffusionLoss:
    """The squared first derivatives of a displacement field; zero for every translation.

    Called with what `BendingEnergyLoss` takes. G. Balakrishnan et al., "VoxelMorph: a learning framework for deformable
    medical image registration", IEEE Trans. Med. Imaging 38, 2019, doi:10.1109/TMI.2019.2897538; here with central
    differences.

    Args:
        normalize: see `BendingEnergyLoss`.
        reduction: "mean" or "sum" over everything, or "none": (B, ndim, *inside).

    Raises:
        BadArgument: an unknown reduction.
        BadGeometry: the field's shape does not fit.

    Example:
        >>> DiffusionLoss()(3 * torch.arange(5.0).expand(1, 2, 5, 5)).item()
        9.0
    """

    normalize: bool = False
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)

    def __call__(self, field: Tensor) -> Tensor:
        field = _checked(field)
        total = torch.zeros((), device=field.device, dtype=field.dtype)
        for axis in range(field.dim() - 2):
            slope = (_at(field, {axis: 1}) - _at(field, {axis: -1})) / 2
            if self.normalize:
                slope = slope * field.shape[2 + axis] / _sizes(field)
            total = total + slope**2
        return reduce(total, self.reduction)


def _checked(field: Tensor) -> Tensor:
    ndim = field.dim() - 2
    if not 1 <= ndim <= 3 or field.shape[1] != ndim or min(field.shape[2:]) < 3:
        raise BadGeometry(
            "not a displacement field",
            found=f"shape {tuple(field.shape)}",
            due="(B, ndim, *spatial), one channel for each of the 1 to 3 axes, at least 3 voxels along each",
        )
    return wide(field)


def _at(field: Tensor, moved: dict[int, int]) -> Tensor:
    """The inside of a field, moved by one voxel along some axes."""
    parts = [slice(None)] * 2
    for axis in range(field.dim() - 2):
        step = moved.get(axis, 0)
        parts.append(slice(1 + step, field.shape[2 + axis] - 1 + step))
    return field[tuple(parts)]


def _sizes(field: Tensor) -> Tensor:
    """The image's size along the axis that each channel moves along, (1, ndim, 1, ...)."""
    return field.new_tensor(field.shape[2:]).reshape(1, -1, *[1] * (field.dim() - 2))
