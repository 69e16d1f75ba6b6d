"""Distances, connected components, morphology and joint histograms on the GPU.

Besides the output, `distance` allocates stacks of 12 bytes an entry for at most 65536 lines at a time, `components`
two volumes of int32, and `fill_holes` those and one volume of bytes.
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
    out, first = _roots(labels, steps)
    if out.numel() == 0:
        return out
    block, over = (launch.THREADS, 1, 1), launch.line(out.numel())
    number = first.view(-1).cumsum(0, dtype=torch.int32)
    channels = labels.shape[0]
    counts = (np.int64(channels), np.int64(out.numel() // channels))
    launch.launch(kernel("components.cu", "components_number"), over, block, out, number, *counts)
    return out


def _roots(labels: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Of every voxel the flat index of its component's first, or -1; and where a component begins, 1."""
    source = labels.detach().contiguous()
    source = source.view(torch.uint8) if source.dtype == torch.bool else source
    out = torch.empty(labels.shape, dtype=torch.int32, device=labels.device)
    first = torch.empty_like(out)
    if out.numel() == 0:
        return out, first
    word, block, total = CXX[source.dtype], (launch.THREADS, 1, 1), np.int64(out.numel())
    over = launch.line(out.numel())
    launch.launch(kernel("components.cu", "components_start", word), over, block, source, out, total)
    grid, tile, sizes = _lattice(labels)
    join = kernel("components.cu", "components_join", word)
    launch.launch(join, grid, tile, source, out, *sizes, np.int32(steps))
    launch.launch(kernel("components.cu", "components_flatten"), over, block, out, first, total)
    return out, first


def _lattice(volumes: Tensor) -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[np.generic, ...]]:
    """Blocks, threads of a block, and the numbers of volumes and voxels, of kernels with a thread a voxel."""
    _, (n0, n1, n2) = as_3d(volumes.shape[1:])
    tile = (32, 8, 1) if n1 > 1 else (launch.THREADS, 1, 1)
    grid = (-(-n2 // tile[0]), -(-n1 // tile[1]), volumes.shape[0] * n0)
    return grid, tile, (np.int64(volumes.shape[0]), np.int32(n0), np.int32(n1), np.int32(n2))


def declines_grow(mask: Tensor, steps: int, *, erode: bool) -> str | None:
    """Why this back end cannot serve a step of dilation or erosion, or None."""
    reason = launch.declines(mask)
    if reason is None and mask.dtype != torch.bool:
        return f"a mask of type {mask.dtype}"
    if reason is None and max(mask.shape) >= MOST:
        return "2^30 voxels along an axis"
    return reason


def grow(mask: Tensor, steps: int, *, erode: bool) -> Tensor:
    """Serve a step of dilation or erosion; see `reference.grow` for its meaning."""
    source = mask.detach().contiguous()
    out = torch.empty_like(source)
    if out.numel():
        grid, tile, sizes = _lattice(mask)
        given = (source.view(torch.uint8), out.view(torch.uint8))
        how = (np.int32(steps), np.int32(erode))
        launch.launch(kernel("morphology.cu", "grow"), grid, tile, *given, *sizes, *how)
    return out


def declines_fill_holes(mask: Tensor, steps: int) -> str | None:
    """Why this back end cannot serve the filling of holes, or None."""
    return declines_components(mask, steps)


def fill_holes(mask: Tensor, steps: int) -> Tensor:
    """Add what a mask encloses: components of the rest that do not reach the edge.

    Args:
        mask: (C, *spatial) bool.
        steps: along how many axes neighbours outside the mask may differ.

    Returns:
        (C, *spatial) bool.
    """
    source = mask.detach().contiguous()
    if mask.numel() == 0 or min(mask.shape[1:]) == 1:  # every voxel lies at an edge
        return source.clone()
    roots, open_ = _roots(~source, steps)
    grid, tile, sizes = _lattice(mask)
    launch.launch(kernel("morphology.cu", "holes_open"), grid, tile, roots, open_, *sizes)
    out = torch.empty_like(source)
    fill, over, total = kernel("morphology.cu", "holes_fill"), launch.line(out.numel()), np.int64(out.numel())
    launch.launch(fill, over, (launch.THREADS, 1, 1), roots, open_, out.view(torch.uint8), total)
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
    out += [kernel("morphology.cu", name) for name in ("grow", "holes_open", "holes_fill")]
    out += [kernel("components.cu", "components_flatten"), kernel("components.cu", "components_number")]
    for t in _WHOLE:
        out += [kernel("components.cu", "components_start", t), kernel("components.cu", "components_join", t)]
    return out + [kernel("counts.cu", "joint_counts", word) for word in _COUNTED.values()]
