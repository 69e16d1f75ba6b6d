"""Distances, connected components and joint histograms on the GPU.

Besides the output, `distance` allocates stacks of 12 bytes an entry for at most 65536 lines at a time, and
`components` two volumes of int32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medframe.kernels.cuda import launch
from medframe.kernels.cuda.chains import MOST, as_3d
from medframe.kernels.cuda.sources import CXX, Kernel, kernel

_LINES = 1 << 16
_WHOLE = (torch.uint8, torch.int16, torch.int32)
_COUNTED = {**{t: CXX[t] for t in _WHOLE}, torch.int64: "long long"}


def declines_distance(target: Tensor, spacing: Sequence[float], dtype: torch.dtype = torch.float32) -> str | None:
    """Why this back end cannot serve a distance transform, or None."""
    reason = launch.declines(target)
    if reason is None and target.dtype not in (torch.bool, torch.uint8):
        return f"a mask of type {target.dtype}"
    if reason is None and dtype != torch.float32:
        return f"distances of type {dtype}"
    if reason is None and max(target.shape) >= MOST:
        return "2^30 voxels along an axis"
    return reason


def distance(target: Tensor, spacing: Sequence[float], dtype: torch.dtype = torch.float32) -> Tensor:
    """The exact Euclidean distance of every voxel to the nearest voxel of `target` that is not 0.

    Computed in single precision: relative errors are below 1e-6.

    Args:
        target: (C, *spatial) bool or uint8; channels are independent.
        spacing: how far voxels are apart along each axis.
        dtype: float32, the one there is.

    Returns:
        (C, *spatial) float32; infinite throughout a channel without target.
    """
    out = torch.empty(target.shape, dtype=torch.float32, device=target.device)
    if out.numel() == 0:
        return out
    plain = target.detach().contiguous().view(torch.uint8)
    block = (launch.THREADS, 1, 1)
    seed = kernel("distance.cu", "distance_seed")
    launch.launch(seed, launch.line(out.numel()), block, plain, out, np.int64(out.numel()))
    axes = list(range(target.ndim - 1, 0, -1))
    lines = max(out.numel() // n for n in target.shape[1:])
    threads = min(-(-lines // launch.THREADS) * launch.THREADS, _LINES)
    entries = threads * max(target.shape[1:])
    at = torch.empty(entries, dtype=torch.int32, device=out.device)
    height, start = torch.empty_like(at, dtype=torch.float32), torch.empty_like(at, dtype=torch.float32)
    for axis in axes:
        n = target.shape[axis]
        launch.launch(
            kernel("distance.cu", "distance_axis"),
            (threads // launch.THREADS, 1, 1),
            block,
            out,
            at,
            height,
            start,
            np.int64(math.prod(target.shape[:axis])),
            np.int32(n),
            np.int64(math.prod(target.shape[axis + 1 :])),
            np.float32(spacing[axis - 1]),
            np.int32(axis == axes[-1]),
        )
    return out


def declines_components(labels: Tensor, steps: int) -> str | None:
    """Why this back end cannot serve connected components, or None."""
    reason = launch.declines(labels)
    if reason is None and labels.dtype not in (*_WHOLE, torch.bool):
        return f"labels of type {labels.dtype}"
    if reason is None and labels.numel() >= 1 << 31:
        return "2^31 voxels"
    return reason


def components(labels: Tensor, steps: int) -> Tensor:
    """Number the connected components of equal value; 0 is background.

    Args:
        labels: (C, *spatial) integers or bool, one to three spatial axes; channels are independent.
        steps: neighbours differ by 1 along at most this many axes: in three dimensions 1 means 6 neighbours, 2 means
            18, 3 means 26.

    Returns:
        (C, *spatial) int32: in each channel 1, 2, ... in the order of the components' first voxels, 0 for background.
    """
    source = labels.detach().contiguous()
    source = source.view(torch.uint8) if source.dtype == torch.bool else source
    out = torch.empty(labels.shape, dtype=torch.int32, device=labels.device)
    if out.numel() == 0:
        return out
    first = torch.empty_like(out)
    word, block, total = CXX[source.dtype], (launch.THREADS, 1, 1), np.int64(out.numel())
    over = launch.line(out.numel())
    launch.launch(kernel("components.cu", "components_start", word), over, block, source, out, total)
    channels = labels.shape[0]
    _, (n0, n1, n2) = as_3d(labels.shape[1:])
    tile = (32, 8, 1) if n1 > 1 else block
    grid = (-(-n2 // tile[0]), -(-n1 // tile[1]), channels * n0)
    sizes = (np.int64(channels), np.int32(n0), np.int32(n1), np.int32(n2), np.int32(steps))
    launch.launch(kernel("components.cu", "components_join", word), grid, tile, source, out, *sizes)
    launch.launch(kernel("components.cu", "components_flatten"), over, block, out, first, total)
    number = first.view(-1).cumsum(0, dtype=torch.int32)
    each = np.int64(out.numel() // channels)
    launch.launch(kernel("components.cu", "components_number"), over, block, out, number, np.int64(channels), each)
    return out


def declines_joint_counts(a: Tensor, b: Tensor, rows: int, columns: int) -> str | None:
    """Why this back end cannot serve a joint histogram, or None."""
    reason = launch.declines(a, b)
    if reason is None and (a.dtype not in _COUNTED or b.dtype != a.dtype):
        return f"label maps of type {a.dtype} and {b.dtype}"
    return reason


def joint_counts(a: Tensor, b: Tensor, rows: int, columns: int) -> Tensor:
    """How often class r of `a` meets class c of `b` at the same voxel.

    Args:
        a: integers; values outside [0, rows) are not counted.
        b: integers of the same shape and dtype; values outside [0, columns) are not counted.
        rows: classes of `a`.
        columns: classes of `b`.

    Returns:
        (rows, columns) int64.
    """
    counts = torch.zeros((rows, columns), dtype=torch.int64, device=a.device)
    if a.numel():
        which = kernel("counts.cu", "joint_counts", _COUNTED[a.dtype])
        grid = (max(min(-(-a.numel() // (16 * launch.THREADS)), 2048), -(-a.numel() >> 31)), 1, 1)
        given = (a.detach().contiguous(), b.detach().contiguous(), counts)
        sizes = (np.int64(a.numel()), np.int32(rows), np.int32(columns))
        launch.launch(which, grid, (launch.THREADS, 1, 1), *given, *sizes)
    return counts


def kernels() -> list[Kernel]:
    """Every kernel this module may ask for."""
    out = [kernel("distance.cu", "distance_seed"), kernel("distance.cu", "distance_axis")]
    out += [kernel("components.cu", "components_flatten"), kernel("components.cu", "components_number")]
    for t in _WHOLE:
        out += [kernel("components.cu", "components_start", t), kernel("components.cu", "components_join", t)]
    return out + [kernel("counts.cu", "joint_counts", word) for word in _COUNTED.values()]
