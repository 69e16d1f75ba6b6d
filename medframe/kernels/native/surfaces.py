"""Distances at some voxels and boxes of labels in C++; see `reference.surfaces` for their meaning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medframe.kernels.native import library
from medframe.kernels.native.regions import declines, distance_transform
from medframe.kernels.native.sampling import as_3d

_PATIENCE = 12  # places looked at for each voxel before the whole transform is made, which costs about as much
_ROW = 65535


def declines_distances_at(mask: Tensor, at: Tensor, spacing: Sequence[float]) -> str | None:
    """Why this back end cannot serve distances at some voxels, or None."""
    return declines(mask[None], (torch.bool,), "a mask")


def distances_at(mask: Tensor, at: Tensor, spacing: Sequence[float]) -> Tensor:
    """Serve distances at some voxels: by looking around each, or by the transform where they lie too far."""
    native = library.core()
    assert native is not None  # declines_distances_at was asked
    stands, sizes = as_3d(mask.shape)
    if sizes[2] < _ROW:
        steps = [1.0, 1.0, 1.0]
        for axis, step in zip(stands, spacing, strict=True):
            steps[axis] = float(step)
        goal, start = (m.detach().contiguous().view(torch.uint8).numpy().reshape(1, *sizes) for m in (mask, at))
        out = torch.empty(int(start.sum()), dtype=torch.float64)
        if native.distances_at(goal, start, out.numpy(), steps, _PATIENCE * mask.numel(), torch.get_num_threads()):
            return out
    return distance_transform(mask[None], spacing, torch.float64)[0][at]


def declines_boxes(labels: Tensor, count: int) -> str | None:
    """Why this back end cannot serve boxes of labels, or None."""
    return declines(labels[None], (torch.uint8, torch.int16, torch.int32), "labels")


def label_boxes(labels: Tensor, count: int) -> Tensor:
    """Serve boxes of labels."""
    native = library.core()
    assert native is not None  # declines_boxes was asked
    stands, sizes = as_3d(labels.shape)
    lower, upper = torch.full((count, 3), max(sizes)), torch.zeros(count, 3, dtype=torch.int64)
    native.label_boxes(labels.detach().contiguous().numpy().reshape(1, *sizes), lower.numpy(), upper.numpy())
    lower[upper[:, 0] == 0] = 0
    return torch.stack([lower, upper], dim=1)[:, :, stands]
