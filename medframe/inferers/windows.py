"""Where windows lie and how much each of their voxels counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Blend: TypeAlias = Literal["gaussian", "constant"]


def axis_starts(n: int, size: int, step: float) -> tuple[int, ...]:
    """Where windows begin along one axis: as few as `step` allows, the last at the edge, evenly spread in between.

    Args:
        n: voxels along the axis, at least `size`.
        size: of the window.
        step: the largest distance between neighbours, before rounding.
    """
    if n == size:
        return (0,)
    gaps = math.ceil((n - size) / step)
    return tuple(round(i * (n - size) / gaps) for i in range(gaps + 1))


def window_starts(
    shape: Sequence[int], size: Sequence[int], overlap: float = 0.5, margin: int = 0
) -> list[tuple[int, ...]]:
    """The first voxel of every window, last axis fastest.

    Args:
        shape: spatial sizes of the volume, each at least that of the window.
        size: of the window.
        overlap: the least share by which neighbours overlap.
        margin: voxels on each inner side of a window that are not used.
    """
    per_axis = []
    for n, s in zip(shape, size, strict=True):
        # a whole step keeps rounded starts within it, so that margins never open a gap
        step = max(1.0, min(s * (1 - overlap), float(s - 2 * margin)))
        per_axis.append(axis_starts(n, s, step))
    return list(product(*per_axis))


def used_part(start: Sequence[int], size: Sequence[int], shape: Sequence[int], margin: int) -> tuple[slice, ...]:
    """The part of a window that counts: all but the margins, which stay at the volume's own edges."""
    return tuple(
        slice(0 if at == 0 else margin, s if at + s == n else s - margin)
        for at, s, n in zip(start, size, shape, strict=True)
    )


def importance(size: Sequence[int], blend: Blend) -> Tensor:
    """How much each voxel of a window counts, float32, at most 1 and never 0.

    "gaussian" falls off from the centre with a standard deviation of an eighth of the window, since networks do worse
    where they see less context: F. Isensee et al., "nnU-Net: a self-configuring method for deep learning-based
    biomedical image segmentation", Nature Methods 18, 2021, doi:10.1038/s41592-020-01008-z.
    """
    weight = torch.ones(tuple(size), dtype=torch.float64)
    if blend == "gaussian":
        for axis, n in enumerate(size):
            x = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) / (n / 8)
            weight *= torch.exp(-x.square() / 2).reshape([-1 if a == axis else 1 for a in range(len(size))])
    return (weight / weight.max()).float()  # at least e^-24 in 3-D, far above the smallest float32
