"""Distances, components, counts and neighbourhoods of masks and label maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadArgument, BadLabel
from medframe.kernels import cuda, native, reference
from medframe.kernels.dispatch import Backend, choose, never

DISTANCE = (
    Backend("cuda", cuda.declines_distance, cuda.distance),
    Backend("native", native.declines_distance, native.distance_transform),
    Backend("reference", never, reference.distance_transform),
)

COMPONENTS = (
    Backend("cuda", cuda.declines_components, cuda.components),
    Backend("native", native.declines_components, native.components),
    Backend("reference", never, reference.components),
)

COUNTS = (
    Backend("cuda", cuda.declines_joint_counts, cuda.joint_counts),
    Backend("native", native.declines_counts, native.joint_counts),
    Backend("reference", never, reference.joint_counts),
)

GROW = (
    Backend("cuda", cuda.declines_grow, cuda.grow),
    Backend("native", native.declines_grow, native.grow),
    Backend("reference", never, reference.grow),
)


def distance_transform(
    mask: Tensor, spacing: Sequence[float] | float = 1.0, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The exact Euclidean distance of every voxel to the nearest voxel of `mask`, between voxel centres.

    Method: separable lower envelopes of parabolas (Felzenszwalb, Huttenlocher, "Distance transforms of sampled
    functions", Theory of Computing 2012, doi:10.4086/toc.2012.v008a019).

    Example:
        >>> distance_transform(torch.tensor([[[True, False, False]]]), (1.0, 2.5))
        tensor([[[0.0000, 2.5000, 5.0000]]])

    Args:
        mask: (C, *spatial), one to three spatial axes; bool, or any other dtype, where what is not 0 belongs to it.
            Channels are independent.
        spacing: how far neighbours are apart along each axis, in mm; one number for all.
        dtype: of the result, float32 (relative errors below 1e-6) or float64 (where a tolerance is compared with).

    Returns:
        (C, *spatial), in the spacing's unit: 0 in the mask, infinite throughout a channel without one.

    Raises:
        BadArgument: not one to three spatial axes, a spacing that is not positive, or another dtype.
    """
    steps = check_spacing(mask, spacing)
    target = mask if mask.dtype in (torch.bool, torch.uint8) else mask != 0
    if dtype not in (torch.float32, torch.float64):
        raise BadArgument("distances of another type", found=str(dtype), due="float32 or float64")
    backend = choose("distance_transform", DISTANCE, target, steps, dtype)
    result: Tensor = backend.run(target, steps, dtype)
    return result


def signed_distance(mask: Tensor, spacing: Sequence[float] | float = 1.0) -> Tensor:
    """How far every voxel is from the other side of the mask's surface, negative inside.

    Outside it is the distance to the nearest voxel of the mask, inside minus the distance to the nearest voxel outside:
    no voxel is at 0, and the surface lies where the sign changes.

    Args:
        mask: as for `distance_transform`.
        spacing: as for `distance_transform`.

    Returns:
        (C, *spatial) float32; infinite throughout an empty channel, minus infinite throughout a full one.

    Raises:
        BadArgument: as for `distance_transform`.
    """
    inside = mask != 0
    return torch.where(inside, -distance_transform(~inside, spacing), distance_transform(inside, spacing))


def components(labels: Tensor, connectivity: int | None = None) -> Tensor:
    """Connected components of equal labels; 0 is background.

    Example:
        >>> components(torch.tensor([[[1, 0, 2], [0, 1, 2]]]))
        tensor([[[1, 0, 2],
                 [0, 1, 2]]], dtype=torch.int32)
        >>> components(torch.tensor([[[1, 0, 2], [0, 1, 2]]]), 4).amax()
        tensor(3, dtype=torch.int32)

    Args:
        labels: (C, *spatial), one to three spatial axes; integers or bool. Channels are independent.
        connectivity: how many neighbours a voxel has: 2 on a line, 4 or 8 in a plane, 6, 18 or 26 in space; None for
            the most.

    Returns:
        (C, *spatial) int32: in each channel 1, 2, ... in the order of the components' first voxels.

    Raises:
        BadLabel: the labels are no integers.
        BadArgument: not one to three spatial axes, or no such connectivity.
    """
    _check_rank(labels)
    if labels.is_floating_point() or labels.is_complex():
        raise BadLabel("components are of integers", found=str(labels.dtype), due="integers or bool")
    steps = _steps(connectivity, labels.ndim - 1)
    backend = choose("components", COMPONENTS, labels, steps)
    result: Tensor = backend.run(labels, steps)
    return result


@dataclass(frozen=True)
class ComponentStatistics:
    """What is known of components 1, ..., n; entry k - 1 is of component k.

    Args:
        counts: (n,) int64, voxels.
        lower: (n, d) int64, the least index along each axis.
        upper: (n, d) int64, the greatest index along each axis, plus one.
        centroids: (n, d) float64, the mean index along each axis.
    """

    counts: Tensor
    lower: Tensor
    upper: Tensor
    centroids: Tensor


def component_statistics(found: Tensor) -> ComponentStatistics:
    """Sizes, bounding boxes and centroids of numbered components, on their device.

    Args:
        found: (*spatial) integers, one channel of `components`.

    Raises:
        BadLabel: the numbers are no integers.
    """
    if found.is_floating_point() or found.is_complex():
        raise BadLabel("components are numbered by integers", found=str(found.dtype), due="integers")
    n = int(found.max()) if found.numel() else 0
    places = (found > 0).nonzero()
    which = found[tuple(places.unbind(1))].long() - 1
    counts = torch.bincount(which, minlength=n)
    index = which[:, None].expand_as(places)
    far = torch.iinfo(torch.int64).max
    lower = torch.full((n, found.ndim), far, device=found.device).scatter_reduce(0, index, places, "amin")
    upper = torch.full((n, found.ndim), -1, device=found.device).scatter_reduce(0, index, places, "amax") + 1
    sums = torch.zeros(n, found.ndim, dtype=torch.float64, device=found.device).scatter_add_(0, index, places.double())
    return ComponentStatistics(counts, lower, upper, sums / counts[:, None])


def joint_counts(a: Tensor, b: Tensor, rows: int, columns: int) -> Tensor:
    """How often each pair of labels meets: every overlap measure of two label maps comes from this one pass.

    Example:
        >>> joint_counts(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]), 2, 2)
        tensor([[1, 0],
                [1, 1]])

    Args:
        a: integers or bool; values outside [0, rows) are not counted.
        b: of the same shape; values outside [0, columns) are not counted.
        rows: classes of `a`.
        columns: classes of `b`.

    Returns:
        (rows, columns) int64, exact.

    Raises:
        BadLabel: labels that are no integers.
        BadArgument: shapes or devices differ, or a table without rows or columns.
    """
    if a.is_floating_point() or b.is_floating_point():
        raise BadLabel("label maps are integers", found=f"{a.dtype} and {b.dtype}", due="integers or bool")
    if a.shape != b.shape or a.device != b.device or rows < 1 or columns < 1:
        raise BadArgument(
            "two label maps of one shape, and a table",
            found=f"{tuple(a.shape)} on {a.device}, {tuple(b.shape)} on {b.device}, {rows} x {columns}",
            due="one shape, one device, at least one class each",
        )
    if a.dtype == b.dtype == torch.bool:
        a, b = a.view(torch.uint8), b.view(torch.uint8)
    if a.dtype != b.dtype:
        a, b = a.long(), b.long()
    backend = choose("joint_counts", COUNTS, a, b, rows, columns)
    result: Tensor = backend.run(a, b, rows, columns)
    return result


def dilate(mask: Tensor, connectivity: int | None = None, *, iterations: int = 1) -> Tensor:
    """Add to a mask every voxel that has a neighbour in it.

    Args:
        mask: (C, *spatial) bool, one to three spatial axes; another dtype is taken as not 0.
        connectivity: which voxels are neighbours, as for `components`.
        iterations: how often; 0 changes nothing.

    Returns:
        (C, *spatial) bool.

    Raises:
        BadArgument: not one to three spatial axes, no such connectivity, a negative number.
    """
    return _grown(mask, connectivity, iterations, erode=False)


def erode(mask: Tensor, connectivity: int | None = None, *, iterations: int = 1) -> Tensor:
    """Take from a mask every voxel that has a neighbour outside it; beyond the image's edge is no outside.

    Args:
        mask: as for `dilate`.
        connectivity: as for `dilate`.
        iterations: as for `dilate`.

    Returns:
        (C, *spatial) bool.

    Raises:
        BadArgument: as for `dilate`.
    """
    return _grown(mask, connectivity, iterations, erode=True)


def fill_holes(mask: Tensor, connectivity: int | None = None) -> Tensor:
    """Add to a mask what it encloses: voxels from which no path outside the mask leads to the image's edge.

    Args:
        mask: (C, *spatial) bool, one to three spatial axes; another dtype is taken as not 0.
        connectivity: which steps a path may take, as for `components`; None for the fewest (through faces).

    Returns:
        (C, *spatial) bool.

    Raises:
        BadArgument: not one to three spatial axes, or no such connectivity.
    """
    _check_rank(mask)
    rank = mask.ndim - 1
    steps = 1 if connectivity is None else _steps(connectivity, rank)
    inside = mask != 0
    result: Tensor = choose("fill_holes", HOLES, inside, steps).run(inside, steps)
    return result


def _filled(inside: Tensor, steps: int) -> Tensor:
    """Holes by the components of what is outside, whoever finds those."""
    outside = choose("components", COMPONENTS, ~inside, steps).run(~inside, steps)
    out = inside.clone()
    for channel, parts in zip(out, outside, strict=True):
        if parts.numel() == 0:
            continue
        edges = [parts.select(axis, end).reshape(-1) for axis in range(parts.ndim) for end in (0, -1)]
        open_ = torch.zeros(int(parts.max()) + 1, dtype=torch.bool, device=parts.device)
        open_[torch.cat(edges).long()] = True
        open_[0] = True
        channel.logical_or_(~open_[parts.long()])
    return out


HOLES = (
    Backend("cuda", cuda.declines_fill_holes, cuda.fill_holes),
    Backend("native", native.declines_components, _filled),
    Backend("reference", never, _filled),
)


def _grown(mask: Tensor, connectivity: int | None, iterations: int, *, erode: bool) -> Tensor:
    _check_rank(mask)
    if iterations < 0:
        raise BadArgument("a number of steps", found=iterations, due="0 or more")
    steps = _steps(connectivity, mask.ndim - 1)
    out = mask != 0
    for _ in range(iterations):
        out = choose("erode" if erode else "dilate", GROW, out, steps, erode=erode).run(out, steps, erode=erode)
    return out


def _check_rank(given: Tensor) -> None:
    if not 2 <= given.ndim <= 4:
        raise BadArgument(
            "channels and one to three spatial axes", found=tuple(given.shape), due="(C, W), (C, H, W) or (C, D, H, W)"
        )


def check_spacing(mask: Tensor, spacing: Sequence[float] | float) -> tuple[float, ...]:
    """One positive step for each spatial axis of (C, *spatial), or BadArgument."""
    _check_rank(mask)
    rank = mask.ndim - 1
    steps = (float(spacing),) * rank if isinstance(spacing, int | float) else tuple(float(s) for s in spacing)
    if len(steps) != rank or not all(0 < s < math.inf for s in steps):
        raise BadArgument("a positive spacing per axis", found=spacing, due=f"{rank} numbers, in mm")
    return steps


def _steps(connectivity: int | None, rank: int) -> int:
    """Along how many axes neighbours may differ."""
    known = {1: (2,), 2: (4, 8), 3: (6, 18, 26)}[rank]
    if connectivity is None:
        return rank
    if connectivity not in known:
        raise BadArgument("there is no such connectivity", found=connectivity, due=f"one of {known} with {rank} axes")
    return known.index(connectivity) + 1
