"""The one door through which voxels are read at new places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.geometry.lossless import Moves, move, moves_of, reaches
from medframe.geometry.warp import Warp
from medframe.kernels import gaussian, pull
from medframe.kernels.stages import BORDERS, ORDERS, Border

# taps needed beyond the places read; the spline's prefilter has forgotten what is 12 voxels away to 1e-7
_SUPPORT = {0: 1, 1: 1, 3: 14}
TRUNCATE = 3.0  # where the antialiasing blur is cut, in standard deviations


@runtime_checkable
class Source(Protocol):
    """Voxels that can be read by window: a tensor, a memory map, a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def read(self, window: tuple[slice, ...]) -> Tensor:
        """(C, *window): all channels of a spatial window."""
        ...


@dataclass(frozen=True)
class Interpolation:
    """How values between voxels, and beyond the edge, are made.

    Args:
        order: 0 nearest, 1 linear, 3 cubic B-spline.
        border: beyond the edge: "zero" (the value `fill`), "border" (the edge voxel goes on), "reflect", "wrap".
        fill: the value outside for border "zero".
        antialias: blur before shrinking, by what the composed warp shrinks; never for order 0.
    """

    order: int = 1
    border: Border = "zero"
    fill: float = 0.0
    antialias: bool = True

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise BadArgument("unknown interpolation order", found=self.order, due="0 nearest, 1 linear or 3 cubic")
        if self.border not in BORDERS:
            raise BadArgument("unknown border", found=self.border, due=", ".join(BORDERS))
        if not math.isfinite(self.fill):
            raise BadArgument("the fill value must be finite", found=self.fill)

    def with_fill(self, fill: float) -> Interpolation:
        return replace(self, fill=fill)


NEAREST = Interpolation(order=0)
LINEAR = Interpolation(order=1)
CUBIC = Interpolation(order=3)


def resample(source: Source, warp: Warp, how: Interpolation, dtype: torch.dtype | None = None) -> Tensor:
    """Read a source through a warp; only the window the warp reaches is read, and only once.

    Whole-voxel warps are copies. All others interpolate; when the warp shrinks, the window is first blurred by a
    Gaussian whose width matches the coarser voxel (Cardoso et al., "Scale factor point spread function matching",
    MICCAI 2015, doi:10.1007/978-3-319-24571-3_81).

    Args:
        source: (C, *in).
        warp: from the output lattice to the source's.
        how: interpolation.
        dtype: of the result; default the source's. Asking for float32 here reads an integer image without rounding.

    Returns:
        (C, *warp.shape).
    """
    dtype = source.dtype if dtype is None else dtype
    in_shape = source.shape[1:]
    moves = moves_of(warp)
    if moves is not None:
        window = reaches(moves, in_shape) if _cut_is_safe(warp, in_shape, how) else tuple(slice(0, n) for n in in_shape)
        start = tuple(moves.start[moves.axis.index(a)] - window[a].start for a in range(len(in_shape)))
        shifted = Moves(moves.shape, moves.axis, moves.sign, tuple(start[a] for a in moves.axis))
        return move(source.read(window).to(dtype), shifted, how.border, how.fill)
    sigma = antialias_sigma(warp) if how.antialias and how.order > 0 else (0.0,) * len(in_shape)
    block, local = read_window(source, warp, how, sigma)
    if any(sigma):
        # blurred in float: rounding an integer image twice would lose what antialiasing gains
        block = gaussian(block if block.is_floating_point() else block.float(), sigma, truncate=TRUNCATE)
    return pull(block, local.kernel_stages, warp.shape, order=how.order, border=how.border, fill=how.fill, dtype=dtype)


def read_window(source: Source, warp: Warp, how: Interpolation, sigma: Sequence[float]) -> tuple[Tensor, Warp]:
    """The block of the source that interpolation through the warp needs, and the warp counted from its corner.

    Args:
        source: (C, *in).
        warp: from the output lattice to the source's.
        how: interpolation.
        sigma: antialiasing blur per input axis, in voxels.
    """
    in_shape = source.shape[1:]
    margin = np.array([_SUPPORT[how.order] + math.ceil(TRUNCATE * s) for s in sigma])
    if _cut_is_safe(warp, in_shape, how):
        window = warp.footprint(in_shape, margin)
    else:
        window = tuple(slice(0, n) for n in in_shape)
    return source.read(window), warp.from_window([w.start for w in window])


def antialias_sigma(warp: Warp) -> tuple[float, ...]:
    """Blur per input axis, in voxels, before reading through the warp's matrix; 0 where it does not shrink."""
    # a row's length is how far one output voxel reaches along an input axis; a pure rotation has length 1
    reach = np.linalg.norm(warp.matrix[:-1, :-1], axis=1)
    sigma = np.sqrt(np.maximum(reach**2 - 1, 0)) / (2 * math.sqrt(2 * math.log(2)))
    return tuple(float(s) if s > 0.2 else 0.0 for s in sigma)  # below 0.2 the neighbour's weight is under 4e-6


def _cut_is_safe(warp: Warp, in_shape: tuple[int, ...], how: Interpolation) -> bool:
    # mirrored or periodic edges need the far side of the image as soon as anything outside is read
    if how.border in ("zero", "border"):
        return True
    lo, hi = warp.bounds()
    return bool((lo >= _SUPPORT[how.order]).all() and (hi <= np.array(in_shape) - 1 - _SUPPORT[how.order]).all())
