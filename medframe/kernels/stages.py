"""What a kernel is told: stages that carry an output index to an input index, and how to read there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Border: TypeAlias = Literal["zero", "border", "reflect", "wrap"]
BORDERS: tuple[Border, ...] = ("zero", "border", "reflect", "wrap")
ORDERS = (0, 1, 3)

Matrix: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Knots:
    """A displacement field on coarse knots: x -> x + f(x), or its numerical inverse.

    Args:
        values: (d, *n) float32, the displacement at the knots, in the units of x.
        matrix: (d + 1, d + 1), takes x to knot indices; indices are clamped to [0, n - 1].
        order: 1 reads f linearly between knots; 3 takes the knots as coefficients of a cubic B-spline.
        inverse: solve y + f(y) = x for y instead.
    """

    values: Tensor
    matrix: Matrix
    order: int = 3
    inverse: bool = False


Stage: TypeAlias = Matrix | Knots
Stages: TypeAlias = Sequence[Stage]


def axis_aligned(matrix: Matrix, tolerance: float = 1e-12) -> bool:
    """Whether each output axis follows exactly one input axis (permutations and mirrors included)."""
    linear = np.abs(matrix[:-1, :-1]) > tolerance
    return bool((linear.sum(0) == 1).all() and (linear.sum(1) == 1).all())
