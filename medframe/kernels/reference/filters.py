"""The meaning of the filters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medframe.kernels.reference.sampling import to_dtype


def gaussian(volume: Tensor, sigma: Sequence[float], truncate: float) -> Tensor:
    """Blur (C, *spatial) by a sampled, normalised Gaussian of `sigma` voxels per axis, edges repeated.

    One scaled addition a tap: quicker than a convolution for few taps, and voxel by voxel, so that the number of
    threads cannot change a bit of the result.
    """
    work = volume if volume.dtype == torch.float64 else volume.to(torch.float32)
    for axis, (n, s) in enumerate(zip(volume.shape[1:], sigma, strict=True), start=1):
        radius = math.ceil(truncate * s)
        if radius == 0 or n == 1:
            continue
        weights = [math.exp(-0.5 * (k / s) ** 2) for k in range(radius + 1)]
        total = weights[0] + 2 * sum(weights[1:])
        framed = work.index_select(axis, torch.arange(-radius, n + radius, device=volume.device).clamp(0, n - 1))
        work = framed.narrow(axis, radius, n) * (weights[0] / total)
        for k, weight in enumerate(weights[1:], start=1):
            for start in (radius - k, radius + k):
                work.add_(framed.narrow(axis, start, n), alpha=weight / total)
    return to_dtype(work, volume.dtype)
