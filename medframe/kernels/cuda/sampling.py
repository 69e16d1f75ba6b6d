"""Pulling on the GPU.

Equal to the reference within rounding: places are exact to 1e-6 of a voxel, and behind a displacement of d voxels to
1e-7 d more. Values are computed in single precision. A voxel that is NaN or infinite spoils every value whose taps
include it, here also where the tap's weight is zero. A place that is not a number reads the fill, or voxel 0. Nothing
is allocated but the output and, for order 3, one float32 volume of coefficients.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.kernels import reference
from medframe.kernels.cuda import launch
from medframe.kernels.cuda.chains import MOST, as_3d, declines_stages, pack
from medframe.kernels.cuda.sources import BITS, CXX, Kernel, kernel
from medframe.kernels.stages import BORDERS, Border, Stages

_RUN = 4  # as in device.h; a different number would change the speed, not the result
_WARPS = 4  # as in prefilter.cu


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
    reason = launch.declines(volume) or declines_stages(stages, volume.device)
    if reason is not None:
        return reason
    if order == 0 and dtype == volume.dtype:
        if dtype.itemsize not in BITS:
            return f"voxels of type {dtype}"
    elif volume.dtype not in CXX:
        return f"voxels of type {volume.dtype}"
    elif dtype not in (volume.dtype, torch.float32):
        return f"output of type {dtype} from {volume.dtype}"
    if max(*volume.shape[1:], *shape) >= MOST:
        return "2^30 voxels along an axis"
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
) -> Tensor:
    """Serve a pull; see `reference.pull` for its meaning."""
    return pull_batch(volume[None], [stages], shape, order=order, border=border, fill=fill, dtype=dtype)[0]


def pull_batch(
    volumes: Tensor,
    batch: Sequence[Stages],
    shape: Sequence[int],
    *,
    order: int,
    border: Border,
    fill: float,
    dtype: torch.dtype,
) -> Tensor:
    """Pull a batch in one launch, each sample by its own stages.

    Args:
        volumes: (B, C, *in).
        batch: the stages of each sample.
        shape: the output's spatial sizes, the same for all samples.
        order: as for `reference.pull`, and so the other options.
        border: what lies beyond the edge.
        fill: the value outside for border "zero".
        dtype: of the output: that of `volumes`, or float32.

    Returns:
        (B, C, *shape).

    Raises:
        BadArgument: not one chain a sample.
    """
    if len(batch) != volumes.shape[0]:
        raise BadArgument("one chain of stages a sample", found=len(batch), due=volumes.shape[0])
    samples, channels, *in_sizes = volumes.shape
    source = volumes.detach()
    out = torch.empty((samples, channels, *shape), dtype=dtype, device=volumes.device)
    if out.numel() == 0:
        return out
    _, in_shape = as_3d(in_sizes)
    _, out_shape = as_3d(shape)
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
    grid, block = _over(out_shape, samples)
    launch.launch(
        which,
        grid,
        block,
        source,
        out,
        chains.tensor,
        np.int32(samples),
        np.int64(channels),
        *(np.int32(n) for n in in_shape),
        *(np.int32(n) for n in out_shape),
        np.int32(BORDERS.index(border)),
        outside,
    )
    return out


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


def _over(shape: Sequence[int], samples: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The grid and the block for `for_each_voxel` of device.h."""
    n0, n1, n2 = shape
    block = (32, 8, 1) if n1 > 1 else (launch.THREADS, 1, 1)
    return (-(-n2 // block[0]), -(-n1 // block[1]), samples * -(-n0 // _RUN)), block


def kernels() -> list[Kernel]:
    """Every kernel this module may ask for."""
    out = [kernel("prefilter.cu", "prefilter_across"), kernel("prefilter.cu", "prefilter_along")]
    for bent in (False, True):
        out += [kernel("pull.cu", "pull_nearest", bits, bits, bent) for bits in BITS.values()]
        out += [kernel("pull.cu", "pull_nearest", t, torch.float32, bent) for t in CXX if t != torch.float32]
        out += [kernel("pull.cu", "pull", 3, torch.float32, t, bent) for t in CXX]
        pairs = [(t, t) for t in CXX] + [(t, torch.float32) for t in CXX if t != torch.float32]
        out += [kernel("pull.cu", "pull", 1, given, taken, bent) for given, taken in pairs]
    return list(itertools.chain(out))
