"""Separable filters and medians in C++; see `reference.filters` for their meaning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medframe.kernels.native import memory
from medframe.kernels.native.regions import declines, serve
from medframe.kernels.reference.filters import gaussian_weights
from medframe.kernels.reference.sampling import to_dtype

_FILTERED = (torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int16, torch.uint16)


def declines_filter_axes(volume: Tensor, weights: Sequence[Sequence[float]]) -> str | None:
    """Why this back end cannot serve a separable filter, or None."""
    if volume.requires_grad and torch.is_grad_enabled():
        return "a gradient is wanted"
    return declines(volume, _FILTERED, "voxels")


def filter_axes(volume: Tensor, weights: Sequence[Sequence[float]]) -> Tensor:
    """Serve a separable filter; a sum is taken tap by tap in single precision, whatever the number of threads."""
    native, taken, result, out, stands = serve(volume.float(), torch.float32)
    source, spare = taken, result
    for axis, taps in sorted(zip(stands, weights, strict=True)):
        if len(taps) == 1 and taps[0] == 1:
            continue
        native.filter_axis(source, spare, axis, [float(t) for t in taps], torch.get_num_threads())
        source, spare = spare, (memory.empty(result.shape).numpy() if source is taken else source)
    if source is not result:
        result[...] = source
    return to_dtype(out, volume.dtype)


def declines_gaussian(volume: Tensor, sigma: Sequence[float], truncate: float) -> str | None:
    """Why this back end cannot serve a Gaussian, or None."""
    return declines_filter_axes(volume, ())


def gaussian(volume: Tensor, sigma: Sequence[float], truncate: float) -> Tensor:
    """Serve a Gaussian."""
    one = [1.0]
    weights = [one if n == 1 else gaussian_weights(s, truncate) for n, s in zip(volume.shape[1:], sigma, strict=True)]
    return filter_axes(volume, weights)


def declines_median(volume: Tensor, width: int) -> str | None:
    """Why this back end cannot serve a median, or None."""
    return declines_filter_axes(volume, ())


def median(volume: Tensor, width: int) -> Tensor:
    """Serve a median."""
    native, taken, result, out, _ = serve(volume.float(), torch.float32)
    native.median(taken, result, width, torch.get_num_threads())
    return to_dtype(out, volume.dtype)
