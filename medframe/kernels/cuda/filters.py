"""Filters on the GPU.

Equal to the reference within rounding; computed in single precision. Besides the output, one float32 volume is
allocated for a filter along two axes, and two along three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medframe.kernels.cuda import launch
from medframe.kernels.cuda.chains import MOST
from medframe.kernels.cuda.sources import CXX, Kernel, kernel


def declines_gaussian(volume: Tensor, sigma: Sequence[float], truncate: float) -> str | None:
    """Why this back end cannot serve a Gaussian, or None."""
    reason = launch.declines(volume)
    if reason is None and volume.dtype not in CXX:
        return f"voxels of type {volume.dtype}"
    if reason is None and (volume.numel() == 0 or max(volume.shape) >= MOST):
        return "no voxel, or 2^30 along an axis"
    return reason


def gaussian(volume: Tensor, sigma: Sequence[float], truncate: float) -> Tensor:
    """Serve a Gaussian; see `reference.gaussian` for its meaning."""
    taps = []
    for axis, (n, s) in enumerate(zip(volume.shape[1:], sigma, strict=True), start=1):
        radius = math.ceil(truncate * s)
        if radius == 0 or n == 1:
            continue
        weights = np.array([math.exp(-0.5 * (k / s) ** 2) for k in range(radius + 1)])
        taps.append((axis, radius, (weights / (weights[0] + 2 * weights[1:].sum())).astype(np.float32)))
    if not taps:
        return volume.clone()
    staged = launch.stage(np.concatenate([weights for _, _, weights in taps]), volume.device)
    source, start = volume.detach().contiguous(), 0
    for step, (axis, radius, weights) in enumerate(taps):
        dtype = volume.dtype if step == len(taps) - 1 else torch.float32
        out = torch.empty(volume.shape, dtype=dtype, device=volume.device)
        outer, inner = math.prod(volume.shape[:axis]), math.prod(volume.shape[axis + 1 :])
        n = volume.shape[axis]
        launch.launch(
            kernel("gaussian.cu", "filter_axis", source.dtype, dtype),
            (-(-n * inner // launch.THREADS), outer, 1),
            (launch.THREADS, 1, 1),
            source,
            out,
            staged[4 * start :],
            np.int32(radius),
            np.int64(outer),
            np.int32(n),
            np.int64(inner),
        )
        source, start = out, start + weights.size
    return source


def kernels() -> list[Kernel]:
    """Every kernel this module may ask for."""
    pairs = [(t, t) for t in CXX] + [(t, torch.float32) for t in CXX if t != torch.float32]
    pairs += [(torch.float32, t) for t in CXX if t != torch.float32]
    return [kernel("gaussian.cu", "filter_axis", given, taken) for given, taken in pairs]
