"""Distance maps of masks for the losses that price voxels by their distance from a border."""

from __future__ import annotations

import torch
from torch import Tensor

from medframe.kernels import distance_transform


def signed_distances(mask: Tensor) -> Tensor:
    """Distances in voxels to the border: positive outside, from 1 on; zero or negative inside, from 0 on.

    Args:
        mask: (B, C, *spatial) bool.

    Returns:
        (B, C, *spatial) float32; 0 everywhere in a channel without a border, one that is empty or full.
    """
    inside, outside = _both(mask)
    return torch.where(inside > 0, 1 - inside, outside).reshape(mask.shape)


def border_distances(mask: Tensor) -> Tensor:
    """Distances in voxels to the nearest voxel of the other side, (B, C, *spatial); 0 in channels without a border."""
    inside, outside = _both(mask)
    return (inside + outside).reshape(mask.shape)


def _both(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of voxels inside to the nearest outside, and the other way; 0 on the other side or without one."""
    flat = mask.detach().flatten(0, 1) != 0
    inside, outside = (distance_transform(goal) for goal in (~flat, flat))
    return inside.nan_to_num(posinf=0.0), outside.nan_to_num(posinf=0.0)
