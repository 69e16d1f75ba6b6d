"""Reading voxels elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry
from medframe.base.sizes import check_size
from medframe.kernels import native, reference
from medframe.kernels.dispatch import Backend, choose, never
from medframe.kernels.stages import BORDERS, ORDERS, Border, Knots, Stages

PULL = (
    Backend("native", native.declines_pull, native.pull),
    Backend("reference", never, reference.pull),
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
) -> Tensor:
    """Resample: read `volume` where the stages send each index of the output lattice.

    Args:
        volume: (C, *in) with one, two or three spatial axes; any real dtype, read directly.
        stages: matrices (d + 1, d + 1) and `Knots`, applied in turn to an output index to give an input index.
        shape: the output's spatial sizes.
        order: 0 nearest, 1 linear, 3 cubic B-spline.
        border: what lies beyond the edge; see `reference.pull`.
        fill: the value outside for border "zero".
        dtype: of the output; default that of `volume`. Integers are rounded and saturated.

    Returns:
        (C, *shape).

    Raises:
        BadArgument: an option is unknown or the volume's shape does not fit.
        BadGeometry: a stage is not finite or of another rank.
        TooLarge: the output passes the image limit.
    """
    shape = check_call(volume, stages, shape, order=order, border=border)
    dtype = volume.dtype if dtype is None else dtype
    check_size((volume.shape[0], *shape), dtype.itemsize, where="a resampled image")
    backend = choose("pull", PULL, volume, stages, shape, order=order, border=border, fill=fill, dtype=dtype)
    result: Tensor = backend.run(volume, stages, shape, order=order, border=border, fill=fill, dtype=dtype)
    return result


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
