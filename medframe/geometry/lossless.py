"""Warps that only move voxels: flips, permutations, crops and pads are copies, exact to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medframe.geometry.warp import Warp
from medframe.kernels.reference import fold, outside
from medframe.kernels.stages import Border

# torch flips no wide unsigned integers; their bytes move as well under another name
_CARRIER = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
_TOLERANCE = 1e-4  # voxels: a warp closer than this to whole indices everywhere is taken as a copy


@dataclass(frozen=True)
class Moves:
    """Output axis j reads input axis `axis[j]` at `start[j] + sign[j] * i`."""

    shape: tuple[int, ...]
    axis: tuple[int, ...]
    sign: tuple[int, ...]
    start: tuple[int, ...]


def moves_of(warp: Warp) -> Moves | None:
    """The warp as whole-voxel moves, or None if it needs interpolation."""
    if warp.displacements:
        return None
    linear, offset = warp.matrix[:-1, :-1], warp.matrix[:-1, -1]
    whole, start = np.rint(linear), np.rint(offset)
    off = np.abs(linear - whole) @ (np.array(warp.shape) - 1.0) + np.abs(offset - start)
    if off.max() > _TOLERANCE or not np.isin(whole, (-1, 0, 1)).all() or np.abs(offset).max() > 2**52:
        return None
    if not ((np.abs(whole).sum(0) == 1).all() and (np.abs(whole).sum(1) == 1).all()):
        return None
    axis = tuple(int(np.flatnonzero(whole[:, j])[0]) for j in range(len(warp.shape)))
    sign = tuple(int(whole[a, j]) for j, a in enumerate(axis))
    return Moves(warp.shape, axis, sign, tuple(int(start[a]) for a in axis))


def move(block: Tensor, moves: Moves, border: Border, fill: float) -> Tensor:
    """Carry out whole-voxel moves on (C, *spatial); a view where nothing lies outside."""
    out = block.permute(0, *(a + 1 for a in moves.axis))
    inside: list[slice] = []
    for j, (sign, start, size) in enumerate(zip(moves.sign, moves.start, moves.shape, strict=True)):
        n = out.shape[j + 1]
        if sign < 0:
            carrier = _CARRIER.get(out.dtype, out.dtype)
            out = out.view(carrier).flip(j + 1).view(out.dtype)
            start = n - 1 - start  # noqa: PLW2901  # counted in the mirrored axis from here on
        if border == "zero":
            lo, hi = max(0, -start), min(size, n - start)
            inside.append(slice(lo, max(hi, lo)))
            out = out.narrow(j + 1, min(max(start, 0), n), max(hi - lo, 0))
        elif start >= 0 and start + size <= n:
            out = out.narrow(j + 1, start, size)
        else:
            index, _ = fold(torch.arange(start, start + size, device=block.device), n, border)
            out = out.index_select(j + 1, index)
    if border == "zero" and tuple(out.shape[1:]) != moves.shape:
        framed = outside(fill, block.dtype).to(block.device).expand(block.shape[0], *moves.shape).clone()
        framed[(slice(None), *inside)] = out
        return framed
    return out


def reaches(moves: Moves, in_shape: Sequence[int]) -> tuple[slice, ...]:
    """The window of the input that the moves read, cut at the edges; never empty."""
    window: list[slice] = [slice(0, 0)] * len(in_shape)
    for axis, sign, start, size in zip(moves.axis, moves.sign, moves.start, moves.shape, strict=True):
        a, b = sorted((start, start + sign * (size - 1)))
        n = in_shape[axis]
        first = min(max(a, 0), n - 1)
        window[axis] = slice(first, max(min(b, n - 1), first) + 1)
    return tuple(window)
