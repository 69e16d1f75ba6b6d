"""Pulling in C++.

Equal to the reference within rounding: floating-point results differ in their last bits, and a nearest voxel may be
the other one where a place lies within 1e-6 of half way between two (behind a displacement of d voxels, within 1e-6 d).
A voxel that is NaN or infinite spoils every value whose taps include it, here also where the tap's weight is zero. A
place that is not a number reads the fill, or voxel 0. The result does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.kernels import reference
from medframe.kernels.native import library, memory
from medframe.kernels.stages import BORDERS, Border, Knots, Matrix, Stages

_COMPUTED = (
    torch.float32,
    torch.float64,
    torch.uint8,
    torch.int8,
    torch.uint16,
    torch.int16,
    torch.int32,
    torch.bool,
    torch.float16,
    torch.bfloat16,
)
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
KnotsList: TypeAlias = list[tuple[NDArray[np.float32], int, NDArray[np.float64], NDArray[np.float64]]]
MOST = (1 << 31) - 8  # voxels along one axis, and rows in one volume


def declines_pull(
    volume: Tensor,
    stages: Stages,
    shape: Sequence[int],
    *,
    order: int,
    border: Border,
    fill: float,
    dtype: torch.dtype,
) -> str | None:
    """Why this back end cannot serve a pull, or None."""
    reason = declines_walk(volume, stages, shape)
    if reason is not None:
        return reason
    if order == 0 and dtype == volume.dtype:
        if volume.dtype.itemsize not in _BITS:
            return f"voxels of type {volume.dtype}"
    elif volume.dtype not in _COMPUTED:
        return f"voxels of type {volume.dtype}"
    elif dtype not in (volume.dtype, torch.float32):
        return f"output of type {dtype} from {volume.dtype}"
    return None


def declines_walk(volume: Tensor, stages: Stages, shape: Sequence[int]) -> str | None:
    """Why no op of this back end can walk through these stages, whatever it then does with the voxels, or None."""
    knots = [stage for stage in stages if isinstance(stage, Knots)]
    tensors = [volume, *(k.values for k in knots)]
    if library.core() is None:
        return library.MISSING
    if any(t.device.type != "cpu" or t.layout != torch.strided for t in tensors):
        return "a tensor is not a plain one on the CPU"
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return "a gradient is needed"
    if any(k.inverse for k in knots):
        return "a displacement is to be inverted"
    in_shape, out_shape = as_3d(volume.shape[1:])[1], as_3d(shape)[1]
    if max(*in_shape, *out_shape, in_shape[0] * in_shape[1]) >= MOST:
        return "2^31 voxels along an axis, or as many rows"
    return None


def pull(
    volume: Tensor,
    stages: Stages,
    shape: Sequence[int],
    *,
    order: int,
    border: Border,
    fill: float,
    dtype: torch.dtype,
    out: Tensor | None = None,
) -> Tensor:
    """Serve a pull; see `reference.pull` for its meaning."""
    native = library.core()
    assert native is not None  # declines_pull was asked
    source, fill_bits, threads = volume.detach(), 0, torch.get_num_threads()
    in_axes, in_shape = as_3d(volume.shape[1:])
    if out is None:
        out = memory.empty((volume.shape[0], *shape), dtype)
    given, taken = source, out
    if order == 0:
        outside = reference.outside(fill, volume.dtype)
        fill_bits = int.from_bytes(outside.reshape(1).view(torch.uint8).numpy().tobytes(), "little")
        if dtype == volume.dtype:  # nothing is computed: any type is moved as bytes
            given, taken = source.view(_BITS[dtype.itemsize]), out.view(_BITS[dtype.itemsize])
    if order == 3:
        work = torch.float64 if volume.dtype == torch.float64 else torch.float32
        given = memory.empty(source.shape, work).copy_(source)
        native.prefilter(given.numpy().reshape(-1, *in_shape), border == "wrap", threads)
    out_shape, lead, knots = route(stages, shape, in_axes)
    native.pull(
        as_numpy(given.contiguous()).reshape(-1, *in_shape),
        as_numpy(taken).reshape(-1, *out_shape),
        lead,
        knots,
        order,
        BORDERS.index(border),
        float(fill),
        fill_bits,
        threads,
    )
    return out


def as_numpy(tensor: Tensor) -> NDArray[Any]:
    """The same memory as an array; bfloat16, which numpy lacks, as bytes by twos."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view("V2")
    return tensor.numpy()


def route(
    stages: Stages, shape: Sequence[int], in_axes: Sequence[int]
) -> tuple[tuple[int, ...], NDArray[np.float64], KnotsList]:
    """The output lattice and the stages as every kernel that walks takes them."""
    out_axes, out_shape = as_3d(shape)
    with np.errstate(over="ignore", invalid="ignore"):  # places that overflow are read as places that are no numbers
        return out_shape, *normal_form(stages, len(shape), in_axes, out_axes)


def as_3d(sizes: Sequence[int]) -> tuple[list[int], tuple[int, ...]]:
    """A lattice as one of three axes, those of size 1 in front: where each axis stands then, and the sizes.

    The kernel's rows run along the last axis, so it should be a long one. Moving axes of size 1 moves no voxel.
    """
    rank = len(sizes)
    order = sorted(range(rank), key=lambda a: sizes[a] > 1)  # stable
    stands = [3 - rank + order.index(a) for a in range(rank)]
    return stands, (1,) * (3 - rank) + tuple(int(sizes[a]) for a in order)


def embed(matrix: Matrix, rows: Sequence[int], columns: Sequence[int]) -> NDArray[np.float64]:
    """A (d + 1, d + 1) matrix among 4 x 4 ones, its axes where `rows` and `columns` say; the others stay at 0."""
    out = np.zeros((4, 4))
    out[3, 3] = 1
    out[np.ix_(rows, [*columns, 3])] = matrix[:-1]
    return out


def normal_form(
    stages: Stages, rank: int, in_axes: Sequence[int], out_axes: Sequence[int]
) -> tuple[NDArray[np.float64], KnotsList]:
    """The stages as the kernel takes them: one matrix, then displacements with the matrix that follows each.

    Between the stages the axes of a lower rank stand last; only the ends see axes moved.
    """
    plain = list(range(3 - rank, 3))
    enter, leave = np.zeros((4, 4)), np.zeros((4, 4))
    enter[[*plain, 3], [*out_axes, 3]] = 1
    leave[[*in_axes, 3], [*plain, 3]] = 1
    lead, knots = enter, []
    for stage in stages:
        if isinstance(stage, Knots):
            values = stage.values.detach().to(torch.float32).numpy()
            full = np.zeros((3, *(1,) * (3 - rank), *values.shape[1:]), np.float32) if rank < 3 else values
            if rank < 3:
                full[3 - rank :] = values.reshape(rank, *full.shape[1:])
            knots.append((np.ascontiguousarray(full), stage.order, embed(stage.matrix, plain, plain), np.eye(4)))
        elif knots:
            knots[-1] = (*knots[-1][:3], embed(stage, plain, plain) @ knots[-1][3])
        else:
            lead = embed(stage, plain, plain) @ lead
    if knots:
        knots[-1] = (*knots[-1][:3], leave @ knots[-1][3])
    else:
        lead = leave @ lead
    return lead, knots
