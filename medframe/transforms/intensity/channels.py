"""What steps do channel by channel: numbers drawn for each, statistics of each."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from medframe.base.errors import BadVoxels
from medframe.base.ranges import Range
from medframe.base.rng import Rng
from medframe.geometry.space import Array
from medframe.image import Image, LabelMap
from medframe.transforms.base import View

# voxels summed at once: few enough that torch uses one thread, or the number of threads would show in the last bits
_CHUNK = 1 << 14


def draw_channels(view: View, rng: Rng, range_: Range, per_channel: bool) -> Array:
    """One number for all channels, or one each for as many channels as any image of the sample has."""
    images = [m for m in view.sample.values() if isinstance(m, Image) and not isinstance(m, LabelMap)]
    size = max((m.channels for m in images), default=1) if per_channel else 1
    return rng.uniform(range_, size)


def groups(data: Tensor, per_channel: bool) -> Iterator[tuple[slice, Tensor]]:
    """The channels one by one, or all at once: where they stand in (C, *spatial), and their voxels."""
    for where in [slice(c, c + 1) for c in range(len(data))] if per_channel else [slice(0, len(data))]:
        yield where, data[where]


def number_of(values: Array, where: slice) -> float:
    """What was drawn for a channel: its own number, or the one for all."""
    return float(values[min(where.start, len(values) - 1)])


def moments(values: Tensor, weights: Tensor | None = None) -> tuple[float, float]:
    """Mean and standard deviation (of the population, divided by N) of finite voxels.

    A deviation of 0 is told exactly: voxels that are all equal have none, whatever rounding makes of their mean.

    Args:
        values: any shape.
        weights: of the same shape and dtype, 1 for voxels that count and 0 for others; default all count.

    Raises:
        BadVoxels: some are NaN or infinite.
    """
    # in the voxels' dtype within a chunk, in double across chunks: quicker than torch.var_mean and no less exact
    parts = _chunks(values if values.dtype in (torch.float32, torch.float64) else values.float())
    kept = [None] * len(parts) if weights is None else _chunks(weights)
    count = values.numel() if weights is None else sum(int(torch.count_nonzero(k)) for k in _chunks(weights))
    if not count:
        return 0.0, 0.0
    mean = sum(float(_weighted(c, k).sum()) for c, k in zip(parts, kept, strict=True)) / count
    squares = sum(float(_weighted(c - mean, k).square_().sum()) for c, k in zip(parts, kept, strict=True))
    if not math.isfinite(mean) or not math.isfinite(squares):
        raise not_finite(values)
    std = math.sqrt(squares / count)
    if std <= 1e-5 * abs(mean):  # small enough for rounding alone to have made it
        lo, hi = (float(v) for v in torch.aminmax(values if weights is None else values[weights != 0]))
        if lo == hi:
            return lo, 0.0
    return mean, std


def _chunks(values: Tensor) -> list[Tensor]:
    flat = values.reshape(-1)
    return [flat[i : i + _CHUNK] for i in range(0, len(flat), _CHUNK)]


def _weighted(values: Tensor, weights: Tensor | None) -> Tensor:
    return values if weights is None else values * weights


def not_finite(values: Tensor) -> BadVoxels:
    """The error for voxels whose statistics came out NaN or infinite."""
    count = int((~torch.isfinite(values)).sum())
    found = f"{count} of {values.numel()} NaN or infinite" if count else "values too large for their dtype"
    return BadVoxels(
        "the voxels have no usable mean or range",
        found=found,
        due="finite voxels",
        mend="Repair them before this step, for instance with Lambda(torch.nan_to_num).",
    )
