"""Separable filters and medians in C++; see `reference.filters` for their meaning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medframe.kernels.native import memory
from medframe.kernels.native.regions import declines, serve
from medframe.kernels.reference.filters import gaussian_weights

_FILTERED = (
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.uint16,
    torch.int32,
)


def declines_filter_axes(volume: Tensor, weights: Sequence[Sequence[float]]) -> str | None:
    """Why this back end cannot serve a separable filter, or None."""
    if volume.requires_grad and torch.is_grad_enabled():
        return "a gradient is wanted"
    return declines(volume, _FILTERED, "voxels")


def filter_axes(volume: Tensor, weights: Sequence[Sequence[float]]) -> Tensor:
    """Serve a separable filter; a sum is taken tap by tap in single precision, whatever the number of threads.

    The first axis reads the volume's type and the last one writes it; floats lie between them.
    """
    native, source, result, out, stands = serve(volume, volume.dtype)
    axes = [(a, taps) for a, taps in sorted(zip(stands, weights, strict=True)) if len(taps) != 1 or taps[0] != 1]
    if not axes:
        return out.copy_(volume.detach())
    # two take turns before the last pass; the result is one of them where it holds floats
    spare = [
        result if n == 1 and volume.dtype == torch.float32 else memory.empty(result.shape).numpy()
        for n in range(min(len(axes) - 1, 2))
    ]
    for left, (axis, taps) in zip(range(len(axes) - 1, -1, -1), axes, strict=True):
        target = result if left == 0 else spare[left - 1]
        native.filter_axis(source, target, axis, [float(t) for t in taps], torch.get_num_threads())
        source = target
    return out


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
    native, taken, result, out, _ = serve(volume, volume.dtype)
    native.median(taken, result, width, torch.get_num_threads())
    return out
