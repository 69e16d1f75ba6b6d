"""Sizes per axis: arguments given as one number or one for each axis, and inputs that a topology can take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry

PerAxis: TypeAlias = int | Sequence[int]


def per_axis(name: str, value: PerAxis, spatial_dims: int, *, odd: bool = False) -> tuple[int, ...]:
    """One positive size for each axis.

    Args:
        name: what the argument is called, for the message.
        value: one number for all axes, or one for each.
        spatial_dims: how many axes there are.
        odd: whether the sizes must be odd, as a kernel's must be to have a centre.

    Raises:
        BadArgument: another number of axes, or a size that is not a positive (odd) integer.
    """
    sizes = (value,) * spatial_dims if isinstance(value, int) else tuple(value)
    right = len(sizes) == spatial_dims and all(isinstance(n, int) and n >= 1 and (n % 2 or not odd) for n in sizes)
    if not right:
        kind = "odd positive integer" if odd else "positive integer"
        raise BadArgument(
            f"{name} does not fit {spatial_dims} spatial axes",
            found=value,
            due=f"one {kind}, or {spatial_dims} of them",
        )
    return sizes


def check_spatial_dims(spatial_dims: int) -> None:
    """Raise BadArgument unless there are one, two or three axes."""
    if spatial_dims not in (1, 2, 3):
        raise BadArgument(
            "spatial_dims is not a number of axes we have layers for", found=spatial_dims, due="1, 2 or 3"
        )


def check_channels(**counts: int | Sequence[int]) -> None:
    """Raise BadArgument unless every named number of channels, or each of a sequence of them, is at least one."""
    for name, given in counts.items():
        if not all(isinstance(n, int) and n >= 1 for n in (given if isinstance(given, Sequence) else [given])):
            raise BadArgument(f"{name} is not a number of channels", found=given, due="integers of at least 1")


def total_stride(strides: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The product of the stages' strides along each axis."""
    return tuple(math.prod(axis) for axis in zip(*strides, strict=True))


def check_input(x: Tensor, in_channels: int, multiple: Sequence[int], network: str) -> None:
    """Raise unless `x` is (B, in_channels, *spatial) and every spatial size is a multiple of the topology's.

    Raises:
        BadArgument: another number of axes or channels.
        BadGeometry: a size that the strides do not divide; the message names the axis, the size and the multiple.
    """
    if x.dim() != len(multiple) + 2 or x.shape[1] != in_channels:
        raise BadArgument(
            f"{network} cannot take an input of this shape",
            found=f"shape {tuple(x.shape)}",
            due=f"(batch, {in_channels}, {', '.join(['size'] * len(multiple))})",
        )
    for axis, (size, unit) in enumerate(zip(x.shape[2:], multiple, strict=True)):
        if size < 1 or size % unit:
            raise BadGeometry(
                f"spatial axis {axis} of the input to {network} is not divisible by its total stride",
                found=f"size {size} of {tuple(x.shape[2:])}",
                due=f"a multiple of {unit}",
                mend=f"Pad to {max(size + -size % unit, unit)}, or use a patch size divisible by {tuple(multiple)}.",
            )
