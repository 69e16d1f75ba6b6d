"""Reading voxels elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry
from medframe.base.sizes import check_size
from medframe.kernels import cuda, native, reference
from medframe.kernels.dispatch import Backend, choose, never
from medframe.kernels.ops.sample import sampled
from medframe.kernels.stages import BORDERS, ORDERS, Border, Knots, Stages

PULL = (
    Backend("cuda", cuda.declines_pull, cuda.pull),
    Backend("native", native.declines_pull, native.pull),
    Backend("reference", never, reference.pull),
)
PUSH = (
    Backend("cuda", cuda.declines_push, cuda.push),
    Backend("native", native.declines_push, native.push),
    Backend("reference", never, reference.push),
)


def pull(
    volume: Tensor,
    stages: Stages,
    shape: Sequence[int],
    *,
    order: int = 1,
    border: Border = "zero",
    fill: float = 0.0,
    dtype: torch.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Resample: read `volume` where the stages send each index of the output lattice.

    Args:
        volume: (C, *in) with one, two or three spatial axes; any real dtype, read directly.
        stages: matrices (d + 1, d + 1) and `Knots`, applied in turn to an output index to give an input index.
        shape: the output's spatial sizes.
        order: 0 nearest, 1 linear, 3 cubic B-spline.
        border: what lies beyond the edge; see `reference.pull`.
        fill: the value outside for border "zero".
        dtype: of the output; default that of `out`, else of `volume`. Integers are rounded and saturated.
        out: where to write: contiguous, of the result's shape and dtype, on the volume's device, no memory of it
            shared with what is read. It must not require a gradient, and none passes through it.

    Returns:
        (C, *shape), `out` if that was given.

    Raises:
        BadArgument: an option is unknown or the volume's shape does not fit.
        BadGeometry: a stage is not finite or of another rank.
        TooLarge: the output passes the image limit.
    """
    shape = check_call(volume, stages, shape, order=order, border=border)
    if dtype is None:
        dtype = volume.dtype if out is None else out.dtype
    check_size((volume.shape[0], *shape), dtype.itemsize, where="a resampled image")
    if out is None:
        return _pulled(volume, stages, shape, order=order, border=border, fill=fill, dtype=dtype, out=None)
    read = [volume, *(s.values for s in stages if isinstance(s, Knots))]
    _check_out(out, (volume.shape[0], *shape), dtype, read)
    with torch.no_grad():
        return _pulled(volume, stages, shape, order=order, border=border, fill=fill, dtype=dtype, out=out)


def pull_batch(
    volumes: Tensor,
    stages: Sequence[Stages],
    shape: Sequence[int],
    *,
    order: int = 1,
    border: Border = "zero",
    fill: float = 0.0,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """`pull` for a batch whose samples are read through stages of their own.

    Args:
        volumes: (B, C, *in), B at least 1.
        stages: B chains of stages.
        shape: the output's spatial sizes, the same for all.
        order: see `pull`; so are `border`, `fill` and `dtype`.
        border: what lies beyond the edge.
        fill: the value outside for border "zero".
        dtype: of the output.

    Returns:
        (B, C, *shape).

    Raises:
        BadArgument: there is not one chain for each sample; else as `pull`.
        BadGeometry: as `pull`.
        TooLarge: the batch passes the image limit.
    """
    if volumes.ndim < 3 or len(volumes) < 1 or len(stages) != len(volumes):
        raise BadArgument(
            "pull_batch takes (B, C, *spatial) and one chain of stages for each sample",
            found=f"{tuple(volumes.shape)} and {len(stages)} chains",
        )
    dtype = volumes.dtype if dtype is None else dtype
    options: dict[str, Any] = {"order": order, "border": border, "fill": fill, "dtype": dtype}
    for chain in stages:
        shape = check_call(volumes[0], chain, shape, order=order, border=border, op="pull_batch")
    check_size((*volumes.shape[:2], *shape), dtype.itemsize, where="a resampled batch")
    if torch.is_grad_enabled() and _wants_gradient([volumes, *_values(stages)]):
        return torch.stack([pull(v, s, shape, **options) for v, s in zip(volumes, stages, strict=True)])
    chosen = {choose("pull_batch", PULL, volumes[0], chain, shape, **options).name for chain in stages}
    if chosen == {"cuda"}:
        at_once: Tensor = cuda.pull_batch(volumes, stages, shape, **options)
        return at_once
    sizes = (*volumes.shape[:2], *shape)
    out = native.empty(sizes, dtype) if volumes.device.type == "cpu" else volumes.new_empty(sizes, dtype=dtype)
    for volume, chain, place in zip(volumes, stages, out, strict=True):
        pull(volume, chain, shape, **options, out=place)
    return out


def _values(stages: Sequence[Stages]) -> list[Tensor]:
    return [stage.values for chain in stages for stage in chain if isinstance(stage, Knots)]


def _wants_gradient(tensors: Sequence[Tensor]) -> bool:
    return any(t.requires_grad for t in tensors)


def _pulled(
    volume: Tensor,
    stages: Stages,
    shape: tuple[int, ...],
    *,
    order: int,
    border: Border,
    fill: float,
    dtype: torch.dtype,
    out: Tensor | None,
) -> Tensor:
    if torch.is_grad_enabled() and dtype.is_floating_point and _wants_gradient([volume, *_values([stages])]):
        trained = _with_gradient(volume, stages, shape, order=order, border=border, fill=fill)
        if trained is not None:
            return trained.to(dtype)
    options: dict[str, Any] = {"order": order, "border": border, "fill": fill, "dtype": dtype}
    backend = choose("pull", PULL, volume, stages, shape, **options)
    result: Tensor = backend.run(volume, stages, shape, **options, out=out)
    return result


def _with_gradient(
    volume: Tensor, stages: Stages, shape: tuple[int, ...], *, order: int, border: Border, fill: float
) -> Tensor | None:
    """A pull through `sample`, whose gradients are native; None for chains that only the reference differentiates."""
    knots = [stage for stage in stages if isinstance(stage, Knots)]
    if len(knots) > 1 or any(k.inverse for k in knots) or not math.isfinite(fill):
        return None
    lead, onward = np.eye(len(shape) + 1), np.eye(len(shape) + 1)
    passed = not knots
    for stage in stages:
        if isinstance(stage, Knots):
            passed = True
        elif knots and not passed:
            lead = stage @ lead
        else:
            onward = stage @ onward
    return sampled(  # the matrices stay on the CPU, where all back ends take them from
        volume[None] if volume.is_floating_point() else volume[None].float(),
        torch.from_numpy(onward)[None],
        knots[0].values[None] if knots else None,
        torch.from_numpy(lead),
        torch.from_numpy(np.array(knots[0].matrix, float)) if knots else torch.from_numpy(np.eye(len(lead))),
        shape,
        order=order,
        knot_order=knots[0].order if knots else 1,
        border=border,
        fill=fill,
    )[0]


def push(values: Tensor, stages: Stages, shape: Sequence[int], *, order: int = 1, border: Border = "zero") -> Tensor:
    """The adjoint of `pull` with a fill of 0: every value is spread over the voxels that `pull` reads it from.

    Args:
        values: (C, *out), floating point, on the lattice that the stages start from.
        stages: as of the `pull`: they take an index of `values` to an index of the result.
        shape: the result's spatial sizes.
        order: 0 nearest, 1 linear, 3 cubic B-spline, whose prefilter is transposed, too.
        border: as of the `pull`; "zero" loses what falls outside.

    Returns:
        (C, *shape) of the values' dtype; types of 16 bits are computed as float32.

    Raises:
        BadArgument: an option is unknown or a shape does not fit.
        BadGeometry: a stage is not finite or of another rank.
        TooLarge: the output passes the image limit.
    """
    if not values.dtype.is_floating_point:
        raise BadArgument("push takes floating point", found=values.dtype)
    shape = check_call(values, stages, shape, order=order, border=border, op="push")
    check_size((values.shape[0], *shape), max(values.dtype.itemsize, 4), where="a pushed image")
    work = values if values.dtype == torch.float64 else values.to(torch.float32)
    backend = choose("push", PUSH, work, stages, shape, order=order, border=border)
    result: Tensor = backend.run(work, stages, shape, order=order, border=border)
    return result.to(values.dtype)


def _check_out(out: Tensor, shape: tuple[int, ...], dtype: torch.dtype, read: Sequence[Tensor]) -> None:
    """Whether a result may be written there.

    Raises:
        BadArgument: it may not.
    """
    problem = None
    if tuple(out.shape) != shape or out.dtype != dtype:
        problem = f"{tuple(out.shape)} of {out.dtype}"
    elif out.device != read[0].device:
        problem = f"on {out.device}"
    elif not out.is_contiguous():
        problem = f"strides {out.stride()}"
    elif out.requires_grad:
        problem = "a tensor that requires a gradient"
    elif any(_overlap(out, t) for t in read):
        problem = "memory that is also read"
    if problem is not None:
        raise BadArgument(
            "the result cannot be written to `out`",
            found=problem,
            due=f"contiguous {shape} of {dtype} on {read[0].device}, sharing no memory with what is read",
        )


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether the stretches of memory from first to last element meet; spread-out views may meet without sharing."""
    if a.device != b.device or a.device.type == "meta":
        return False
    ends = []
    for t in (a, b):
        span = sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True)) + 1
        ends.append((t.data_ptr(), t.data_ptr() + span * t.element_size()))
    return ends[0][0] < ends[1][1] and ends[1][0] < ends[0][1]


def check_call(
    volume: Tensor, stages: Stages, shape: Sequence[int], *, order: int, border: Border, op: str = "pull"
) -> tuple[int, ...]:
    """What all ops that walk through stages ask of their arguments; returns the output's sizes as integers.

    Raises:
        BadArgument: an option is unknown or the volume's shape does not fit.
        BadGeometry: a stage is not finite or of another rank.
    """
    shape = tuple(int(n) for n in shape)
    rank = len(shape)
    if volume.ndim != rank + 1 or not 1 <= rank <= 3:
        raise BadArgument(f"{op} takes (C, *spatial)", found=tuple(volume.shape), due=f"C and {rank} axes of 1 to 3")
    if order not in ORDERS:
        raise BadArgument("unknown interpolation order", found=order, due="0 nearest, 1 linear or 3 cubic")
    if border not in BORDERS:
        raise BadArgument("unknown border", found=border, due=", ".join(BORDERS))
    if min(volume.shape) < 1:
        raise BadArgument("the volume is empty", found=tuple(volume.shape), due="sizes of at least 1")
    if min(shape) < 1:
        raise BadArgument("the output is empty", found=shape, due="sizes of at least 1")
    for stage in stages:
        matrix = stage.matrix if isinstance(stage, Knots) else stage
        if matrix.shape != (rank + 1, rank + 1) or not np.isfinite(matrix).all():
            raise BadGeometry("a stage is not a finite matrix of this rank", found=matrix.tolist(), due=f"rank {rank}")
        if isinstance(stage, Knots) and (
            stage.values.shape[:1] != (rank,)
            or stage.values.ndim != rank + 1
            or stage.order not in (1, 3)
            or stage.values.numel() == 0
        ):
            raise BadGeometry(
                "the knots of a displacement do not fit",
                found=f"values of shape {tuple(stage.values.shape)}, order {stage.order}",
                due=f"({rank}, then {rank} sizes of at least 1), order 1 or 3",
            )
    return shape
