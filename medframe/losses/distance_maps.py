"""Distance maps of masks for the losses that price voxels by their distance from a border."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.extras import need

Distances: TypeAlias = NDArray[Any]


def signed_distances(mask: Tensor) -> Tensor:
    """Distances in voxels to the border: positive outside, from 1 on; zero or negative inside, from 0 on.

    Args:
        mask: (B, C, *spatial) bool.

    Returns:
        (B, C, *spatial) float32; 0 everywhere in a channel without a border, one that is empty or full.
    """
    return _each(mask, lambda inside, outside: np.where(inside > 0, 1 - inside, outside))


def border_distances(mask: Tensor) -> Tensor:
    """Distances in voxels to the nearest voxel of the other side, (B, C, *spatial); 0 in channels without a border."""
    return _each(mask, lambda inside, outside: inside + outside)


def _each(mask: Tensor, join: Callable[[Distances, Distances], Distances]) -> Tensor:
    shape = mask.shape
    flat = mask.detach().flatten(0, 1).cpu().numpy()
    found = np.zeros(flat.shape, np.float32)
    for channel, out in zip(flat, found, strict=True):
        if channel.any() and not channel.all():
            out[...] = join(_distance(channel), _distance(~channel))
    return torch.from_numpy(found).reshape(shape).to(mask.device)


def _distance(mask: Distances) -> Distances:
    """The exact Euclidean distance of each voxel of a mask to the nearest voxel outside it."""
    return np.asarray(need("scipy.ndimage", "measure distances").distance_transform_edt(mask))
