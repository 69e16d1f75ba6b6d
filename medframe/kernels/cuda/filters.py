"""Filters on the GPU.

Equal to the reference within rounding; computed in single precision, medians exactly. Besides the output, one float32
volume is allocated for a filter along two axes, and two along three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.kernels.cuda import launch
from medframe.kernels.cuda.chains import MOST, as_3d
from medframe.kernels.cuda.sources import CXX, Kernel, kernel
from medframe.kernels.reference.filters import gaussian_weights

_TAPS = 512  # as in filters.cu
_DEEP = 4  # as in median.cu
WEIGHTS = np.dtype([("at", np.float32, _TAPS)])
Half = NDArray[np.float32]  # the weights of the tap in the middle and of those on one side


def declines_gaussian(volume: Tensor, sigma: Sequence[float], truncate: float) -> str | None:
    """Why this back end cannot serve a Gaussian, or None."""
    if any(math.ceil(truncate * s) >= _TAPS for s in sigma):
        return f"a filter that reaches {_TAPS} voxels"
    return _declines(volume)


def gaussian(volume: Tensor, sigma: Sequence[float], truncate: float) -> Tensor:
    """Serve a Gaussian; see `reference.gaussian` for its meaning."""
    passes = []
    for axis, (n, s) in enumerate(zip(volume.shape[1:], sigma, strict=True), start=1):
        taps = gaussian_weights(s, truncate)
        if len(taps) > 1 and n > 1:
            passes.append((axis, np.array(taps[len(taps) // 2 :], np.float32)))
    return _filtered(volume, passes)


def declines_filter_axes(volume: Tensor, weights: Sequence[Sequence[float]]) -> str | None:
    """Why this back end cannot serve a separable filter, or None."""
    for taps in weights:
        if len(taps) % 2 == 0 or list(taps) != list(reversed(taps)):
            return "weights that are not symmetric"
        if len(taps) // 2 >= _TAPS:
            return f"a filter that reaches {_TAPS} voxels"
    return _declines(volume)


def filter_axes(volume: Tensor, weights: Sequence[Sequence[float]]) -> Tensor:
    """Serve a separable filter; see `reference.filter_axes` for its meaning."""
    passes = []
    for axis, taps in enumerate(weights, start=1):
        if len(taps) > 1 or taps[0] != 1:
            passes.append((axis, np.array(taps[len(taps) // 2 :], np.float32)))
    return _filtered(volume, passes)


def _declines(volume: Tensor) -> str | None:
    reason = launch.declines(volume)
    if reason is None and volume.dtype not in CXX:
        return f"voxels of type {volume.dtype}"
    if reason is None and (volume.numel() == 0 or max(volume.shape) >= MOST):
        return "no voxel, or 2^30 along an axis"
    return reason


def _filtered(volume: Tensor, passes: Sequence[tuple[int, Half]]) -> Tensor:
    """One axis after the other, in float32 between them."""
    if not passes:
        return volume.detach().clone()
    source = volume.detach().contiguous()
    for step, (axis, half) in enumerate(passes):
        dtype = volume.dtype if step == len(passes) - 1 else torch.float32
        out = torch.empty(volume.shape, dtype=dtype, device=volume.device)
        outer, n, inner = math.prod(volume.shape[:axis]), volume.shape[axis], math.prod(volume.shape[axis + 1 :])
        which = kernel("filters.cu", "filter_axis", source.dtype, dtype)
        grid = (-(-n * inner // launch.THREADS), outer, 1)
        sizes = (np.int32(half.size - 1), np.int64(outer), np.int32(n), np.int64(inner))
        launch.launch(which, grid, (launch.THREADS, 1, 1), source, out, as_weights(half), *sizes)
        source = out
    return source


def as_weights(half: Half) -> np.generic:
    """The weights as the kernel takes them, by value."""
    record = np.zeros(1, WEIGHTS)
    record["at"][0, : half.size] = half
    value: np.generic = record[0]
    return value


def declines_median(volume: Tensor, width: int) -> str | None:
    """Why this back end cannot serve a median, or None."""
    return _declines(volume)


def median(volume: Tensor, width: int) -> Tensor:
    """Serve a median; see `reference.median` for its meaning."""
    source = volume.detach().contiguous()
    out = torch.empty_like(source)
    _, (n0, n1, n2) = as_3d(volume.shape[1:])
    block = (32, 8, 1) if n1 > 1 or width == 5 else (launch.THREADS, 1, 1)
    deep = n0 if width == 3 else -(-n0 // _DEEP)
    grid = (-(-n2 // block[0]), -(-n1 // block[1]), volume.shape[0] * deep)
    which = kernel("median.cu", f"median_of_{width**3}", volume.dtype)
    sizes = (np.int64(volume.shape[0]), np.int32(n0), np.int32(n1), np.int32(n2))
    launch.launch(which, grid, block, source, out, *sizes)
    return out


def kernels() -> list[Kernel]:
    """Every kernel this module may ask for."""
    pairs = [(t, t) for t in CXX] + [(t, torch.float32) for t in CXX if t != torch.float32]
    pairs += [(torch.float32, t) for t in CXX if t != torch.float32]
    out = [kernel("filters.cu", "filter_axis", given, taken) for given, taken in pairs]
    return out + [kernel("median.cu", f"median_of_{n}", t) for n in (27, 125) for t in CXX]
