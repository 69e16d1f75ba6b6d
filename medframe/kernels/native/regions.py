"""Distances, components, counts, neighbourhoods and noise in C++; see `reference.regions` for their meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.kernels.native import library, memory
from medframe.kernels.native.sampling import as_3d, as_numpy

_LABELS = (
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.uint32,
    torch.int64,
    torch.uint64,
)
_COUNTED = (torch.uint8, torch.int16, torch.int32, torch.int64)
_WORD = (1 << 64) - 1


def declines(given: Tensor, dtypes: Sequence[torch.dtype], what: str) -> str | None:
    """Why no function of this family can serve (C, *spatial), or None."""
    if library.core() is None:
        return library.MISSING
    if given.device.type != "cpu":
        return f"it works on the CPU, not on {given.device}"
    if given.dtype not in dtypes:
        return f"{what} of type {given.dtype}"
    if not 1 <= given.ndim - 1 <= 3:
        return f"{given.ndim - 1} spatial axes"
    if given.numel() == 0:
        return "there are no voxels"
    return "2^31 voxels along an axis" if max(given.shape[1:]) >= 2**31 - 8 else None


def serve(given: Tensor, dtype: torch.dtype) -> tuple[Any, NDArray[Any], NDArray[Any], Tensor, list[int]]:
    """The extension, input and output as (C, D, H, W), the output, and where each axis stands."""
    native = library.core()
    assert native is not None  # the `declines` was asked
    stands, sizes = as_3d(given.shape[1:])
    plain = given.detach().contiguous()
    plain = plain.view(torch.uint8) if plain.dtype == torch.bool else plain
    out = memory.empty(given.shape, dtype)
    taken = out.view(torch.uint8) if dtype == torch.bool else out
    shape = (given.shape[0], *sizes)
    return native, as_numpy(plain).reshape(shape), as_numpy(taken).reshape(shape), out, stands


def declines_distance(target: Tensor, spacing: Sequence[float], dtype: torch.dtype) -> str | None:
    """Why this back end cannot serve a distance transform, or None."""
    return declines(target, (torch.bool, torch.uint8), "a mask")


def distance_transform(target: Tensor, spacing: Sequence[float], dtype: torch.dtype) -> Tensor:
    """Serve a distance transform; relative errors are those of a few roundings."""
    native, taken, result, out, stands = serve(target, dtype)
    steps = [1.0, 1.0, 1.0]
    for axis, step in zip(stands, spacing, strict=True):
        steps[axis] = float(step)
    native.distance_transform(taken, result, steps, torch.get_num_threads())
    return out


def declines_components(labels: Tensor, steps: int) -> str | None:
    """Why this back end cannot serve connected components, or None."""
    return declines(labels, _LABELS, "labels")


def components(labels: Tensor, steps: int) -> Tensor:
    """Serve connected components."""
    native, taken, result, out, _ = serve(labels, torch.int32)
    native.components(taken, result, steps, torch.get_num_threads())
    return out


def declines_counts(a: Tensor, b: Tensor, rows: int, columns: int) -> str | None:
    """Why this back end cannot serve joint counts, or None."""
    if library.core() is None:
        return library.MISSING
    if a.device.type != "cpu" or b.device.type != "cpu":
        return "it works on the CPU"
    if a.dtype not in _COUNTED or b.dtype != a.dtype:
        return f"label maps of type {a.dtype} and {b.dtype}"
    return f"a table of {rows} x {columns}" if (rows + 1) * (columns + 1) > 1 << 20 else None


def joint_counts(a: Tensor, b: Tensor, rows: int, columns: int) -> Tensor:
    """Serve joint counts."""
    native = library.core()
    assert native is not None  # declines_counts was asked
    counts = torch.zeros(rows, columns, dtype=torch.int64)
    one, other = a.detach().contiguous().numpy(), b.detach().contiguous().numpy()
    native.joint_counts(one, other, counts.numpy(), torch.get_num_threads())
    return counts


def declines_grow(mask: Tensor, steps: int, *, erode: bool) -> str | None:
    """Why this back end cannot serve a step of dilation or erosion, or None."""
    return declines(mask, (torch.bool,), "a mask")


def grow(mask: Tensor, steps: int, *, erode: bool) -> Tensor:
    """Serve a step of dilation or erosion."""
    native, taken, result, out, _ = serve(mask, torch.bool)
    native.grow(taken, result, steps, erode, torch.get_num_threads())
    return out


def declines_noise(shape: Sequence[int], seed: int, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why this back end cannot serve noise, or None."""
    if library.core() is None:
        return library.MISSING
    return None if device.type == "cpu" else f"it works on the CPU, not on {device}"


def normal_noise(shape: Sequence[int], seed: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Serve noise."""
    native = library.core()
    assert native is not None  # declines_noise was asked
    out = memory.empty(shape)
    if out.numel():
        native.normal_noise(out.numpy(), seed & _WORD, seed >> 64 & _WORD, torch.get_num_threads())
    return out.to(dtype)
