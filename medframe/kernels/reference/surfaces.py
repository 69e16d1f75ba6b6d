"""The meaning of distances at some voxels and of boxes of labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medframe.kernels.reference.regions import distance_transform


def distances_at(mask: Tensor, at: Tensor, spacing: Sequence[float]) -> Tensor:
    """The distance transform of (*spatial) where `at` is set: (n,) float64."""
    return distance_transform(mask[None], spacing, torch.float64)[0][at]


def label_boxes(labels: Tensor, count: int) -> Tensor:
    """The least index and the greatest plus one of each label from 1 to `count`: (count, 2, d), 0 for absent ones."""
    out = torch.zeros(count, 2, labels.ndim, dtype=torch.int64)
    for label in range(1, count + 1):
        places = (labels == label).nonzero()
        if len(places):
            out[label - 1, 0], out[label - 1, 1] = places.amin(dim=0), places.amax(dim=0) + 1
    return out
