"""What a metric sees, and what it must answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

from medframe.metrics.edges import SurfaceDistances


@dataclass(frozen=True, eq=False)
class ClassPair:
    """One class of one case, as the prediction and the reference have it.

    Args:
        predicted: voxels of the class in the prediction.
        reference: voxels of the class in the reference.
        both: voxels of the class in both.
        spacing: mm along each array axis.
        surface: distances between the two edges; None where a mask is empty or no metric asked for them.
    """

    predicted: int
    reference: int
    both: int
    spacing: tuple[float, ...]
    surface: SurfaceDistances | None = None

    @property
    def voxel_volume(self) -> float:
        """The volume of a voxel in mm3 (its area in mm2 in 2-D)."""
        return math.prod(self.spacing)


class Metric(Protocol):
    """A number for each class of each case; implementations are frozen dataclasses.

    `perfect` tells the kind: 1 for a score from 0 to 1, 0 for a distance in mm, None for an amount that has no perfect
    value and is defined for empty masks too. `value` is called for scores and distances only where both masks have
    voxels (`medframe.metrics.EmptyPolicy` gives the rest), for amounts always; with `needs_surface`, `pair.surface` is
    there where both masks have voxels.
    """

    perfect: ClassVar[float | None]
    needs_surface: ClassVar[bool]

    @property
    def name(self) -> str:
        """The column's name, which tells metrics of different settings apart."""
        ...

    def value(self, pair: ClassPair) -> float:
        """The metric of one class of one case."""
        ...
