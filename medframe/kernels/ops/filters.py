"""Filters on (C, *spatial)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.kernels import cuda, reference
from medframe.kernels.dispatch import Backend, choose, never

GAUSSIAN = (
    Backend("cuda", cuda.declines_gaussian, cuda.gaussian),
    Backend("reference", never, reference.gaussian),
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
