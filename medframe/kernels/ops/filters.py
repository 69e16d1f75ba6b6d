"""Filters on (C, *spatial)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.kernels import cuda, native, reference
from medframe.kernels.dispatch import Backend, choose, never

GAUSSIAN = (
    Backend("cuda", cuda.declines_gaussian, cuda.gaussian),
    Backend("native", native.declines_gaussian, native.gaussian),
    Backend("reference", never, reference.gaussian),
)

SEPARABLE = (
    Backend("cuda", cuda.declines_filter_axes, cuda.filter_axes),
    Backend("native", native.declines_filter_axes, native.filter_axes),
    Backend("reference", never, reference.filter_axes),
)

MEDIAN = (
    Backend("cuda", cuda.declines_median, cuda.median),
    Backend("native", native.declines_median, native.median),
    Backend("reference", never, reference.median),
)


def gaussian(volume: Tensor, sigma: Sequence[float], *, truncate: float = 3.0) -> Tensor:
    """Blur (C, *spatial) with a Gaussian.

    Args:
        volume: any real dtype; integers are rounded back.
        sigma: standard deviation per axis, in voxels; 0 leaves an axis alone.
        truncate: where the kernel is cut, in standard deviations.

    Raises:
        BadArgument: not one non-negative sigma per axis.
    """
    if len(sigma) != volume.ndim - 1 or any(not 0 <= s < float("inf") for s in sigma):
        raise BadArgument(
            "one non-negative sigma per axis", found=tuple(sigma), due=f"{volume.ndim - 1} numbers, in voxels"
        )
    backend = choose("gaussian", GAUSSIAN, volume, sigma, truncate)
    result: Tensor = backend.run(volume, sigma, truncate)
    return result


def box(volume: Tensor, width: Sequence[int]) -> Tensor:
    """The mean of a box around every voxel, edges repeated.

    Args:
        volume: (C, *spatial), any real dtype; integers are rounded back.
        width: voxels of the box along each axis, odd.

    Raises:
        BadArgument: not one odd width per axis.
    """
    if len(width) != volume.ndim - 1 or any(n < 1 or n % 2 == 0 for n in width):
        raise BadArgument("one odd width per axis", found=tuple(width), due=f"{volume.ndim - 1} odd numbers, in voxels")
    weights = [[1 / n] * n for n in width]
    result: Tensor = choose("box", SEPARABLE, volume, weights).run(volume, weights)
    return result


def median(volume: Tensor, width: int = 3) -> Tensor:
    """The median of a cube around every voxel, edges repeated; along axes of size 1 there are no neighbours.

    NaN where the cube holds one.

    Args:
        volume: (C, *spatial), any real dtype but int32 and int64 beyond 2^24, which float32 does not hold.
        width: of the cube, 3 or 5 voxels.

    Raises:
        BadArgument: another width.
    """
    if width not in (3, 5):
        raise BadArgument("a width of the cube", found=width, due="3 or 5 voxels")
    result: Tensor = choose("median", MEDIAN, volume, width).run(volume, width)
    return result
