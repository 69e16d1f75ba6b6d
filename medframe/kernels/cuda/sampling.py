"""Pulling and pushing on the GPU.

Equal to the reference within rounding: places are exact to 1e-6 of a voxel, and behind a displacement of d voxels to
1e-7 d more. Values are computed in single precision. A voxel that is NaN or infinite spoils every value whose taps
include it, here also where the tap's weight is zero. A place that is not a number reads the fill, or voxel 0. Nothing
is allocated but the output and, for order 3, one float32 volume of coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.kernels import reference
from medframe.kernels.cuda import launch
from medframe.kernels.cuda.chains import Chains, as_3d, declines_lattices, declines_stages, pack, walked
from medframe.kernels.cuda.sources import BITS, CXX, Kernel, kernel
from medframe.kernels.stages import BORDERS, Border, Stages

_RUN = 8  # as in device.h; a different number would change the speed, not the result
_WARPS = 4  # as in prefilter.cu
_PUSHED = (torch.float32, torch.float16, torch.bfloat16)


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
        if dtype.itemsize not in BITS:
            return f"voxels of type {dtype}"
    elif volume.dtype not in CXX:
        return f"voxels of type {volume.dtype}"
    elif dtype not in (volume.dtype, torch.float32):
        return f"output of type {dtype} from {volume.dtype}"
    return None


def declines_walk(volume: Tensor, stages: Stages, shape: Sequence[int]) -> str | None:
    """Why no kernel can walk through these stages, whatever it then does with the voxels, or None."""
    reason = launch.declines(volume) or declines_stages(stages, volume.device)
    return reason or declines_lattices(volume.shape[1:], shape)


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
    into = None if out is None else out[None]
    options = {"order": order, "border": border, "fill": fill, "dtype": dtype}
    made = pull_batch(volume[None], [stages], shape, **options, out=into)[0]  # type: ignore[arg-type]
    return made if out is None else out


def pull_batch(
    volumes: Tensor,
    batch: Sequence[Stages],
    shape: Sequence[int],
    *,
    order: int,
    border: Border,
    fill: float,
    dtype: torch.dtype,
    out: Tensor | None = None,
) -> Tensor:
    """Pull a batch, each sample by its own stages, in one launch for every eight samples.

    Args:
        volumes: (B, C, *in).
        batch: the stages of each sample.
        shape: the output's spatial sizes, the same for all samples.
        order: as for `reference.pull`, and so the other options.
        border: what lies beyond the edge.
        fill: the value outside for border "zero".
        dtype: of the output: that of `volumes`, or float32.
        out: where to write, contiguous.

    Returns:
        (B, C, *shape).

    Raises:
        BadArgument: not one chain a sample.
    """
    if len(batch) != volumes.shape[0]:
        raise BadArgument("one chain of stages a sample", found=len(batch), due=volumes.shape[0])
    samples, channels, *in_sizes = volumes.shape
    source = volumes.detach()
    if out is None:
        out = torch.empty((samples, channels, *shape), dtype=dtype, device=volumes.device)
    if out.numel() == 0:
        return out
    _, in_shape = as_3d(in_sizes)
    _, out_shape = walked(shape)
    chains = pack(batch, in_sizes, shape, volumes.device)
    outside: np.generic = np.float32(fill)
    if order == 0:
        source = source.contiguous()
        given = BITS[dtype.itemsize] if dtype == volumes.dtype else CXX[volumes.dtype]
        taken = given if dtype == volumes.dtype else CXX[dtype]
        which = kernel("pull.cu", "pull_nearest", given, taken, chains.bent)
        voxel = reference.outside(fill, volumes.dtype)
        outside = np.uint64(int.from_bytes(voxel.reshape(1).view(torch.uint8).numpy().tobytes(), "little"))
    elif order == 1:
        source = source.contiguous()
        which = kernel("pull.cu", "pull", 1, volumes.dtype, dtype, chains.bent)
    else:
        source = coefficients(source.reshape(-1, *in_shape), periodic=border == "wrap")
        which = kernel("pull.cu", "pull", 3, torch.float32, dtype, chains.bent)
    lattices = (in_shape, out_shape)
    walk(which, source, out, chains, outside, counts=(samples, channels), lattices=lattices, border=border)
    return out


def walk(
    which: Kernel,
    source: Tensor,
    out: Tensor,
    chains: Chains,
    *rest: np.generic,
    counts: tuple[int, int],
    lattices: tuple[Sequence[int], Sequence[int]],
    border: Border,
) -> None:
    """Launch a kernel that goes over the output lattice by `for_each_voxel` of device.h.

    Args:
        which: the kernel.
        source: what it reads.
        out: what it writes.
        chains: the way of each sample.
        *rest: what the kernel takes besides.
        counts: samples and channels.
        lattices: three sizes of the chains' input and of their output.
        border: what lies beyond the edge.
    """
    n0, n1, n2 = lattices[1]
    block = (32, 8, 1) if n1 > 1 else (launch.THREADS, 1, 1)
    each_in, each_out = source.numel() // counts[0], out.numel() // counts[0]
    where: list[np.generic] = [
        np.int64(counts[1]),
        *(np.int32(n) for n in (*lattices[0], *lattices[1], BORDERS.index(border))),
    ]
    flat_in, flat_out, done = source.view(-1), out.view(-1), 0
    for samples, struct in chains.structs:
        grid = (-(-n2 // block[0]), -(-n1 // block[1]), samples * -(-n0 // _RUN))
        given, taken = flat_in[done * each_in :], flat_out[done * each_out :]
        launch.launch(which, grid, block, given, taken, struct, np.int32(samples), *where, *rest)
        done += samples


def declines_push(values: Tensor, stages: Stages, shape: Sequence[int], *, order: int, border: Border) -> str | None:
    """Why this back end cannot serve a push, or None."""
    reason = declines_walk(values, stages, shape)
    if reason is None and torch.are_deterministic_algorithms_enabled():
        return "it adds up in any order, and torch is to be deterministic"
    if reason is None and values.dtype not in _PUSHED:
        return f"values of type {values.dtype}"
    return reason


def push(values: Tensor, stages: Stages, shape: Sequence[int], *, order: int, border: Border) -> Tensor:
    """The adjoint of `pull` in its volume: (C, *out) back to (C, *in).

    Sums are made in float32 by atomic additions: the last bits may differ from run to run. A value whose place is
    outside a "zero" border goes nowhere. float16 and bfloat16 need a float32 volume besides the output.

    Args:
        values: (C, *out) float32, float16 or bfloat16, for instance a gradient.
        stages: those of the pull, from an index of `values` to one of the result.
        shape: the result's spatial sizes, those of the pull's volume.
        order: of the pull.
        border: of the pull.

    Returns:
        (C, *shape) of the values' dtype.
    """
    given = values.detach().contiguous()
    channels, *out_sizes = given.shape
    sums = torch.zeros((channels, *shape), dtype=torch.float32, device=given.device)
    _, in_shape = as_3d(shape)
    _, out_shape = walked(out_sizes)
    chains = pack([stages], shape, out_sizes, given.device)
    which = kernel("push.cu", "push", order, given.dtype, chains.bent)
    lattices = (in_shape, out_shape)
    walk(which, given, sums, chains, counts=(1, channels), lattices=lattices, border=border)
    if order == 3:
        sums = adjoint_coefficients(sums.reshape(channels, *in_shape), periodic=border == "wrap").reshape(sums.shape)
    return sums.to(given.dtype)


def adjoint_coefficients(sums: Tensor, *, periodic: bool) -> Tensor:
    """The adjoint of `coefficients`.

    Mirrored, the filter is symmetric but for its ends, which count half: W A is symmetric with W = diag(1/2, 1, ..., 1,
    1/2), hence A^T = W A W^-1.
    """
    weight = sums.new_ones(())
    for axis, n in enumerate(sums.shape[1:], start=1):
        if n > 1 and not periodic:
            ends = sums.new_ones(n)
            ends[0] = ends[-1] = 0.5
            weight = weight * ends.reshape([-1 if a == axis else 1 for a in range(sums.ndim)])
    return coefficients(sums / weight, periodic=periodic) * weight


def coefficients(volume: Tensor, *, periodic: bool) -> Tensor:
    """Cubic B-spline coefficients of (N, n0, n1, n2), in a new float32 tensor; see `reference.spline_prefilter`."""
    data = volume.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    many, n0, n1, n2 = data.shape
    for outer, n, inner in ((many, n0, n1 * n2), (many * n0, n1, n2), (many * n0 * n1, n2, 1)):
        if n == 1:
            continue
        if inner > 1:
            across = kernel("prefilter.cu", "prefilter_across")
            where = (np.int64(outer), np.int32(n), np.int64(inner), np.int32(periodic))
            launch.launch(across, launch.line(outer * inner), (launch.THREADS, 1, 1), data, *where)
        else:
            along = kernel("prefilter.cu", "prefilter_along")
            rows = (np.int64(outer), np.int32(n), np.int32(periodic))
            launch.launch(along, launch.line(outer, 32 * _WARPS), (32, _WARPS, 1), data, *rows)
    return data


def kernels() -> list[Kernel]:
    """Every kernel this module may ask for."""
    out = [kernel("prefilter.cu", "prefilter_across"), kernel("prefilter.cu", "prefilter_along")]
    for bent in (False, True):
        out += [kernel("pull.cu", "pull_nearest", bits, bits, bent) for bits in BITS.values()]
        out += [kernel("pull.cu", "pull_nearest", t, torch.float32, bent) for t in CXX if t != torch.float32]
        out += [kernel("pull.cu", "pull", 3, torch.float32, t, bent) for t in CXX]
        pairs = [(t, t) for t in CXX] + [(t, torch.float32) for t in CXX if t != torch.float32]
        out += [kernel("pull.cu", "pull", 1, given, taken, bent) for given, taken in pairs]
        out += [kernel("push.cu", "push", order, t, bent) for order in (0, 1, 3) for t in _PUSHED]
    return out
