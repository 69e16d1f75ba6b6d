"""The meaning of the filters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medframe.base.extras import need
from medframe.kernels.reference.sampling import to_dtype

LEAST = 1e-9  # of the middle tap: a lesser one counts nothing, and below 1e-38 it makes CPUs crawl


def gaussian_weights(sigma: float, truncate: float) -> list[float]:
    """A sampled Gaussian of sum 1, cut at `truncate` standard deviations: its taps, an odd number."""
    half = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(1, math.ceil(truncate * sigma) + 1)]
    half = [w for w in half if w >= LEAST]
    total = 1 + 2 * sum(half)
    return [w / total for w in (*reversed(half), 1.0, *half)]


def gaussian(volume: Tensor, sigma: Sequence[float], truncate: float) -> Tensor:
    """Blur (C, *spatial) by a sampled, normalised Gaussian of `sigma` voxels per axis, edges repeated.

    One scaled addition a tap: quicker than a convolution for few taps, and voxel by voxel, so that the number of
    threads cannot change a bit of the result.
    """
    work = volume if volume.dtype == torch.float64 else volume.to(torch.float32)
    for axis, (n, s) in enumerate(zip(volume.shape[1:], sigma, strict=True), start=1):
        weights = gaussian_weights(s, truncate)
        radius = len(weights) // 2
        if radius == 0 or n == 1:
            continue
        framed = work.index_select(axis, torch.arange(-radius, n + radius, device=volume.device).clamp(0, n - 1))
        work = framed.narrow(axis, radius, n) * weights[radius]
        for k in range(1, radius + 1):
            for start in (radius - k, radius + k):
                work.add_(framed.narrow(axis, start, n), alpha=weights[radius + k])
    return to_dtype(work, volume.dtype)


def median(volume: Tensor, width: int) -> Tensor:
    """The median of a cube of `width` voxels, edges repeated; axes of size 1 have no neighbours.

    NaN where the cube holds one: sorting by comparisons, SciPy returns any of the others.
    """
    work = volume if volume.dtype in (torch.float32, torch.float64) else volume.float()
    size = tuple(width if n > 1 else 1 for n in volume.shape[1:])
    ndimage = need("scipy.ndimage", "take medians")
    out = [ndimage.median_filter(channel, size, mode="nearest") for channel in work.cpu().numpy()]
    for channel, medians in zip(work.cpu().numpy(), out, strict=True):
        if np.isnan(channel).any():
            medians[ndimage.maximum_filter(np.isnan(channel), size, mode="nearest")] = np.nan
    return to_dtype(torch.from_numpy(np.stack(out) if out else work.cpu().numpy()).to(volume.device), volume.dtype)


def filter_axes(volume: Tensor, weights: Sequence[Sequence[float]]) -> Tensor:
    """Weights (2 r + 1) along each axis in turn, edges repeated; an axis of one weight is multiplied by it."""
    work = volume if volume.dtype == torch.float64 else volume.to(torch.float32)
    for axis, taps in enumerate(weights, start=1):
        n, radius = volume.shape[axis], len(taps) // 2
        if n == 0 or (len(taps) == 1 and taps[0] == 1):
            continue
        framed = work.index_select(axis, torch.arange(-radius, n + radius, device=volume.device).clamp(0, n - 1))
        work = sum((framed.narrow(axis, k, n) * tap for k, tap in enumerate(taps)), torch.zeros_like(work))
    return to_dtype(work, volume.dtype)
