"""Stages as the CUDA kernels take them: the structs of cuda_ext/device.h, filled on the host.

All matrices are composed in double precision here. What is left for a kernel is, per output voxel, one affine map to
the input and one to each displacement's knots, both in fixed point, and small linear maps of the displacements in
single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.kernels.cuda.launch import stage
from medframe.kernels.stages import Knots, Matrix, Stages

BENDS = 2
BATCH = 8  # samples a launch, as in device.h
MOST = 1 << 30  # voxels along one axis
_ROWS = 1 << 31  # rows of voxels in one volume
_ONE = float(1 << 32)
_FAR = float(1 << 30)

ROUTE = (np.int64, (3, 4))
BEND = np.dtype(
    [
        ("to_knots", *ROUTE),
        ("values", np.uint64),
        ("enter", np.float32, 9),
        ("turn", np.float32, 9),
        ("n", np.int32, 3),
        ("order", np.int32),
    ],
    align=True,
)
STRAIGHT = np.dtype([("to_input", *ROUTE), ("far", np.int32)], align=True)
BENT = np.dtype([("to_input", *ROUTE), ("far", np.int32), ("bends", np.int32), ("bend", BEND, BENDS)], align=True)


@dataclass(frozen=True)
class Chains:
    """The chains of a batch, as arguments of one launch for every eight samples.

    Args:
        structs: each with the number of samples it holds.
        bent: whether any sample has a displacement.
        held: keeps alive what the structs point to.
    """

    structs: tuple[tuple[int, np.generic], ...]
    bent: bool
    held: tuple[Tensor, ...]


def declines_lattices(*lattices: Sequence[int]) -> str | None:
    """Why the kernels cannot count through these lattices, or None."""
    for sizes in lattices:
        _, (n0, n1, _) = as_3d(sizes)
        if max(sizes) >= MOST or n0 * n1 >= _ROWS:
            return "2^30 voxels along an axis, or 2^31 rows"
    return None


def declines_stages(stages: Stages, device: torch.device) -> str | None:
    """Why the kernels cannot follow these stages, or None."""
    knots = [s for s in stages if isinstance(s, Knots)]
    if len(knots) > BENDS:
        return f"more than {BENDS} displacements"
    if any(k.inverse for k in knots):
        return "a displacement is to be inverted"
    if any(k.values.device.type != "cpu" and k.values.device != device for k in knots):
        return "a displacement is on another device"
    if any(k.values.requires_grad for k in knots) and torch.is_grad_enabled():
        return "a gradient is needed"
    if any(max(k.values.shape) >= MOST for k in knots):
        return "2^30 knots along an axis"
    return None


def as_3d(sizes: Sequence[int]) -> tuple[list[int], tuple[int, int, int]]:
    """A lattice as one of three axes, those of size 1 in front: where each axis stands then, and the sizes.

    Rows of threads run along the last axis, so it should be a long one. Moving axes of size 1 moves no voxel.
    """
    stands, shape = _as_3d(tuple(sizes))
    return list(stands), shape


@lru_cache(1024)
def _as_3d(sizes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, int, int]]:
    rank = len(sizes)
    order = sorted(range(rank), key=lambda a: sizes[a] > 1)  # stable
    stands = tuple(3 - rank + order.index(a) for a in range(rank))
    n0, n1, n2 = (1,) * (3 - rank) + tuple(int(sizes[a]) for a in order)
    return stands, (n0, n1, n2)


def walked(sizes: Sequence[int]) -> tuple[list[int], tuple[int, int, int]]:
    """As `as_3d`, for the lattice that is walked: threads go down the first axis, so that a plane's is its first."""
    stands, (n0, n1, n2) = as_3d(sizes)
    if n0 > 1:
        return stands, (n0, n1, n2)
    return [(1, 0, 2)[a] for a in stands], (n1, n0, n2)


def pack(batch: Sequence[Stages], in_sizes: Sequence[int], out_sizes: Sequence[int], device: torch.device) -> Chains:
    """The chains of every sample of a batch. Matrices are copied nowhere; knots that lie on the host are, in one go.

    Args:
        batch: the stages of each sample, output index to input index.
        in_sizes: the input's lattice.
        out_sizes: the output's lattice.
        device: where they are needed.
    """
    in_axes, _ = as_3d(in_sizes)
    out_axes, out_shape = walked(out_sizes)
    rank = len(out_sizes)
    bent = any(isinstance(s, Knots) for stages in batch for s in stages)
    records = np.zeros((-(-len(batch) // BATCH), BATCH), BENT if bent else STRAIGHT)
    held: list[Tensor] = []
    host: list[tuple[np.void, NDArray[np.float32]]] = []
    with np.errstate(over="ignore", invalid="ignore"):  # maps that overflow are marked as far
        for record, stages in zip(records.reshape(-1), batch, strict=False):
            lead, bends = _composed(stages, rank, in_axes, out_axes)
            record["to_input"], far = _route(lead, out_shape)
            record["far"] = far
            for b, (knots, to_knots, enter, turn) in enumerate(bends):
                bend = record["bend"][b]
                values, n = _values(knots)
                bend["to_knots"], far = _route(to_knots, out_shape)
                record["far"] |= far << b + 1
                record["bends"] = b + 1
                bend["enter"], bend["turn"] = enter.reshape(9), turn.reshape(9)
                bend["n"], bend["order"] = n, knots.order
                if values.device.type == device.type and device.type != "cpu":
                    held.append(values)
                    bend["values"] = values.data_ptr()
                else:
                    host.append((bend, np.asarray(values.cpu().numpy(), np.float32).reshape(-1)))
    if host:  # all the host's knots travel in one copy
        starts = np.cumsum([0, *(-(-v.size // 4) * 4 for _, v in host)])
        block = np.zeros(int(starts[-1]), np.float32)
        for start, (_, v) in zip(starts, host, strict=False):
            block[start : start + v.size] = v
        knots_on_device = stage(block, device)
        for start, (bend, _) in zip(starts, host, strict=False):
            bend["values"] = knots_on_device.data_ptr() + 4 * int(start)
        held.append(knots_on_device)
    return Chains(tuple(zip(_counts(len(batch)), map(_struct, records), strict=True)), bent, tuple(held))


def _counts(samples: int) -> list[int]:
    return [min(BATCH, samples - start) for start in range(0, samples, BATCH)]


def _struct(record: NDArray[np.void]) -> np.generic:
    """The chains of one launch as one value, passed to a kernel by value."""
    value: np.generic = record.view(np.dtype([("at", record.dtype, BATCH)]))[0]
    return value


_Bend = tuple[Knots, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _composed(
    stages: Stages, rank: int, in_axes: Sequence[int], out_axes: Sequence[int]
) -> tuple[NDArray[np.float64], list[_Bend]]:
    """The map from output index to input without displacements, and per displacement: its knots, the map from output
    index to knot index, and the linear maps that earlier displacements take into it and all take out of it.
    """
    plain = list(range(3 - rank, 3))
    route, leave = np.zeros((4, 4)), np.zeros((4, 4))
    route[[*plain, 3], [*out_axes, 3]] = 1
    leave[[*in_axes, 3], [*plain, 3]] = 1
    bends: list[_Bend] = []
    for stage_ in stages:
        if isinstance(stage_, Knots):
            to_knots = _embedded(stage_.matrix, plain)
            bends.append((stage_, to_knots @ route, to_knots[:3, :3], np.eye(3)))
            continue
        matrix = _embedded(stage_, plain)
        route = matrix @ route
        if bends:
            bends[-1] = (*bends[-1][:3], matrix[:3, :3] @ bends[-1][3])
    if bends:
        bends[-1] = (*bends[-1][:3], leave[:3, :3] @ bends[-1][3])
    return leave @ route, bends


def _embedded(matrix: Matrix, axes: Sequence[int]) -> NDArray[np.float64]:
    """A (d + 1, d + 1) matrix among 4 x 4 ones, its axes where `axes` says; the others stay at 0."""
    out = np.zeros((4, 4))
    out[3, 3] = 1
    out[np.ix_(axes, [*axes, 3])] = matrix[:-1]
    return out


def _route(matrix: NDArray[np.float64], out_shape: Sequence[int]) -> tuple[NDArray[np.int64], int]:
    """A map as the kernels take it, and whether it goes too far for fixed point: then the bits of the doubles."""
    rows = np.ascontiguousarray(matrix[:3])
    reach = np.abs(rows) @ np.array([*(n - 1 for n in out_shape), 1.0])
    if not bool((reach < _FAR).all()):
        return rows.view(np.int64), 1
    return np.rint(rows * _ONE).astype(np.int64), 0


def _values(knots: Knots) -> tuple[Tensor, tuple[int, int, int]]:
    """The knots as the kernels read them (see `Bend` in device.h), and their sizes along three axes."""
    values = knots.values.detach().to(torch.float32)
    rank = values.shape[0]
    sizes = (1,) * (3 - rank) + tuple(int(n) for n in values.shape[1:])
    full = values.new_zeros(3, *sizes)
    full[3 - rank :] = values.reshape(rank, *sizes)
    if knots.order == 3:
        for axis, n in enumerate(sizes, start=1):
            full = full.index_select(axis, torch.arange(-1, n + 2, device=full.device).clamp(0, n - 1))
        woven = full.new_zeros(*full.shape[1:], 4)
        woven[..., :3] = full.movedim(0, -1)
        full = woven
    return full.contiguous(), (sizes[0], sizes[1], sizes[2])
