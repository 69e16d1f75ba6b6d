"""The meaning of `pull`: places are computed in double precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadGeometry
from medframe.base.extras import need
from medframe.kernels.stages import Border, Knots, Matrix, Stages

_CHUNK = 1 << 20  # points evaluated at once: bounds the memory of dense grids


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
    """Read `volume` (C, *in) at the places the stages give for each index of `shape`; returns (C, *shape).

    Voxel centres lie at whole indices. Order 0 takes the voxel at floor(x + 1/2); order 1 is (bi/tri)linear; order 3
    is the interpolating cubic B-spline (Unser, Aldroubi, Eden, "B-spline signal processing: part II", IEEE Trans.
    Signal Process. 1993, doi:10.1109/78.193221). With border "zero" every tap outside counts as `fill`; "border"
    repeats the edge voxel; "reflect" mirrors at the edge voxels' centres; "wrap" is periodic.
    """
    shape = tuple(shape)
    work = torch.float64 if volume.dtype == torch.float64 else torch.float32
    source = volume if order == 0 else volume.to(work)
    if order == 3:
        source = spline_prefilter(source, border)
    total = math.prod(shape)
    made = torch.empty((volume.shape[0], total), dtype=source.dtype, device=volume.device)
    for start in range(0, total, _CHUNK):
        flat = torch.arange(start, min(start + _CHUNK, total), device=volume.device)
        points = walk(stages, unravel(flat, shape))
        made[:, start : start + _CHUNK] = read_at(source, points, order, border, fill)
    result = to_dtype(made, dtype).reshape(volume.shape[0], *shape)
    return result if out is None else out.copy_(result)


def unravel(flat: Tensor, shape: Sequence[int]) -> Tensor:
    """Flat C-order indices as (N, d) float64 coordinates."""
    axes = []
    for size in reversed(tuple(shape)):
        axes.append(flat % size)
        flat = torch.div(flat, size, rounding_mode="floor")
    return torch.stack(axes[::-1], -1).to(torch.float64)


def walk(stages: Stages, points: Tensor) -> Tensor:
    """Carry (N, d) points through the stages, one after the other."""
    for stage in stages:
        points = displace(stage, points) if isinstance(stage, Knots) else transform(stage, points)
    return points


def transform(matrix: Matrix, points: Tensor) -> Tensor:
    """Apply a homogeneous matrix to (N, d) points."""
    m = torch.as_tensor(np.ascontiguousarray(matrix), dtype=points.dtype, device=points.device)
    return points @ m[:-1, :-1].T + m[:-1, -1]


def displace(knots: Knots, points: Tensor) -> Tensor:
    """x -> x + f(x) for (N, d) points, or its inverse.

    The inverse is solved by Newton steps to 1e-6 of the largest displacement.

    Raises:
        BadGeometry: the inverse does not converge, which means that the field folds.
    """
    if not knots.inverse:
        return points + field(knots, points)
    tolerance = 1e-6 * max(float(knots.values.abs().max()), 1e-12)
    y = points - field(knots, points)
    residual = y + field(knots, y) - points
    for _ in range(60):
        open_ = residual.abs().amax(-1) > tolerance
        if not bool(open_.any()):
            return y
        at = y[open_]
        step = torch.linalg.solve(jacobian(knots, at), residual[open_].unsqueeze(-1)).squeeze(-1)
        before = residual[open_].norm(dim=-1, keepdim=True)
        scale = torch.ones_like(before)
        for _ in range(6):  # halve steps that do not help
            trial = at - scale * step
            after = trial + field(knots, trial) - points[open_]
            worse = after.norm(dim=-1, keepdim=True) >= before
            if not bool(worse.any()):
                break
            scale = torch.where(worse, scale / 2, scale)
        y = y.clone()
        y[open_] = at - scale * step
        residual = residual.clone()
        residual[open_] = y[open_] + field(knots, y[open_]) - points[open_]
    raise BadGeometry(
        "the displacement field cannot be inverted",
        found=f"a residual of {float(residual.abs().max()):.3g}",
        due=f"at most {tolerance:.3g}",
        mend="The field folds or is torn; smooth it or lower its amplitude.",
    )


def field(knots: Knots, points: Tensor) -> Tensor:
    """f at (N, d) points, (N, d)."""
    return _spread(knots, points, None)


def jacobian(knots: Knots, points: Tensor) -> Tensor:
    """d(x + f(x))/dx at (N, d) points, (N, d, d): row is the component, column the direction."""
    d = points.shape[-1]
    by_index = torch.stack([_spread(knots, points, axis) for axis in range(d)], -1)  # N, component, knot axis
    m = torch.as_tensor(knots.matrix[:-1, :-1].copy(), dtype=points.dtype, device=points.device)
    return torch.eye(d, dtype=points.dtype, device=points.device) + by_index @ m


def _spread(knots: Knots, points: Tensor, derivative: int | None) -> Tensor:
    """The weighted sum over the knots around each point; `derivative` names the knot axis to differentiate along."""
    values = knots.values.to(device=points.device, dtype=points.dtype)
    sizes = values.shape[1:]
    q = transform(knots.matrix, points)
    taps, weights = [], []
    for axis, n in enumerate(sizes):
        x = q[:, axis]
        inside = (x >= 0) & (x <= n - 1)
        x = x.clamp(0, n - 1)
        base = x.floor().clamp(max=max(n - 2, 0))
        t = x - base
        if axis == derivative:
            w = spline_slopes(t) if knots.order == 3 else [-torch.ones_like(t), torch.ones_like(t)]
            w = [part * inside for part in w]  # beyond the knots f is constant along this axis
        else:
            w = spline_weights(t) if knots.order == 3 else [1 - t, t]
        first = -1 if knots.order == 3 else 0
        taps.append([(base.long() + first + k).clamp(0, n - 1) for k in range(len(w))])
        weights.append(w)
    out = torch.zeros_like(points)
    for corner in np.ndindex(*[len(w) for w in weights]):
        weight = torch.stack([weights[a][k] for a, k in enumerate(corner)]).prod(0)
        index = [taps[a][k] for a, k in enumerate(corner)]
        out = out + (values[(slice(None), *index)] * weight).T
    return out


def spline_weights(t: Tensor) -> list[Tensor]:
    """The four cubic B-spline weights at a fraction t in [0, 1] between knots 1 and 2 of four."""
    s = 1 - t
    return [s**3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6, (4 - 6 * s**2 + 3 * s**3) / 6, t**3 / 6]


def spline_slopes(t: Tensor) -> list[Tensor]:
    """The derivatives of `spline_weights`."""
    s = 1 - t
    return [-(s**2) / 2, (3 * t**2 - 4 * t) / 2, (4 * s - 3 * s**2) / 2, t**2 / 2]


def read_at(volume: Tensor, points: Tensor, order: int, border: Border, fill: float) -> Tensor:
    """Values of (C, *in) at (N, d) points; for order 3 `volume` holds spline coefficients. Returns (C, N)."""
    sizes = volume.shape[1:]
    beyond = outside(fill, volume.dtype).to(volume.device)
    fade: Tensor | None = None
    if order == 3 and border in ("zero", "border"):
        # The spline ends at the outermost voxels' centres. Beyond them its edge value goes on ("border"), or fades to
        # `fill` over one voxel ("zero"): the same fringe as the linear order has.
        last = torch.as_tensor([n - 1 for n in sizes], dtype=points.dtype, device=points.device)
        held = points.clamp(min=torch.zeros_like(last), max=last)
        if border == "zero":
            fade = (1 - (points - held).abs()).clamp(min=0).prod(-1).to(volume.dtype)
        points, border = held, "reflect"
    taps: list[list[Tensor]] = []
    weights: list[list[Tensor]] = []
    for axis in range(len(sizes)):
        x = points[:, axis]
        if order == 0:
            base, w = torch.floor(x + 0.5), [torch.ones_like(x)]
        elif order == 1:
            base = x.floor()
            w = [1 - (x - base), x - base]
        else:
            base = x.floor() - 1
            w = spline_weights(x - x.floor())
        limit = float(1 << 40)  # far outside stays outside, without overflow
        first = base.clamp(-limit, limit).long()
        taps.append([first + k for k in range(len(w))])
        weights.append(w)
    out = torch.zeros((volume.shape[0], points.shape[0]), dtype=volume.dtype, device=volume.device)
    for corner in np.ndindex(*[len(w) for w in weights]):
        index: list[Tensor] = []
        valid = torch.ones(points.shape[0], dtype=torch.bool, device=volume.device)
        for axis, k in enumerate(corner):
            i, inside = fold(taps[axis][k], sizes[axis], border)
            index.append(i)
            valid &= inside
        place: tuple[Any, ...] = (slice(None), *index)
        value = volume[place]
        weight = torch.stack([weights[a][k] for a, k in enumerate(corner)]).prod(0)
        if border == "zero":  # a tap of weight zero does not count: a fill of NaN must not reach voxels inside
            inside = valid if math.isfinite(fill) else valid | (weight == 0)
            value = torch.where(inside, value, beyond)
        if order == 0:
            return value
        out += value * weight.to(volume.dtype)
    if fade is None:
        return out
    faded = fade * out + (1 - fade) * beyond
    return torch.where(fade == 1, out, torch.where(fade == 0, beyond, faded))


def outside(fill: float, dtype: torch.dtype) -> Tensor:
    """The fill as a voxel of `dtype`, without dimensions: rounded and saturated where that is an integer."""
    return to_dtype(torch.tensor(fill, dtype=torch.float64), dtype)


def fold(index: Tensor, size: int, border: Border) -> tuple[Tensor, Tensor]:
    """Bring indices back into [0, size) by the border rule; also tells which were inside."""
    inside = (index >= 0) & (index < size)
    if border in ("zero", "border"):
        return index.clamp(0, size - 1), inside
    if border == "wrap":
        return index.remainder(size), inside
    period = max(2 * (size - 1), 1)
    index = index.remainder(period)
    return torch.where(index >= size, period - index, index), inside


def spline_prefilter(volume: Tensor, border: Border) -> Tensor:
    """Cubic B-spline coefficients of (C, *in): mirrored at the edge voxels' centres, periodic for border "wrap".

    Differentiable, any number of times.
    """
    made: Tensor = _Prefilter.apply(volume, border == "wrap", False)  # type: ignore[no-untyped-call]
    return made


class _Prefilter(torch.autograd.Function):
    """The prefilter or its transpose.

    With mirrored ends the matrix B of interpolation is not symmetric, but D B is, where D halves the first and the last
    element of a line: the transpose of B^-1 is D B^-1 D^-1. The periodic matrix is symmetric.
    """

    @staticmethod
    def forward(ctx: Any, volume: Tensor, periodic: bool, transposed: bool) -> Tensor:
        ctx.how = periodic, transposed
        ndimage = need("scipy.ndimage", "interpolate with cubic B-splines")
        array = volume.detach().cpu().numpy()
        for axis in range(1, array.ndim):
            n = array.shape[axis]
            if n == 1:
                continue
            ends = np.ones(n).reshape(-1, *[1] * (array.ndim - axis - 1))
            if transposed and not periodic:
                ends[[0, -1]] = 2
            mode = "grid-wrap" if periodic else "mirror"
            array = ndimage.spline_filter1d(array * ends, 3, axis=axis, output=np.float64, mode=mode) / ends
        return torch.from_numpy(np.ascontiguousarray(array)).to(device=volume.device, dtype=volume.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        periodic, transposed = ctx.how
        return _Prefilter.apply(grads[0], periodic, not transposed), None, None  # type: ignore[no-untyped-call]


def to_dtype(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert; towards integers values are rounded (half to even) and saturated, not wrapped, and NaN becomes 0."""
    if values.dtype == dtype:
        return values
    if dtype.is_floating_point or not values.is_floating_point():
        return values.to(dtype)
    if dtype == torch.bool:
        return values.round() != 0
    info = torch.iinfo(dtype)
    # the largest int64 is no float: clamp in double and let the cast saturate below it
    top = float(info.max) if info.bits < 64 else float(2**63 - 1024)
    return values.to(torch.float64).nan_to_num(0.0).round().clamp(float(info.min), top).to(dtype)
