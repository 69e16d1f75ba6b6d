"""What a metric sees, and what it must answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias

from medframe.metrics.edges import SurfaceDistances
from medframe.metrics.empty import EmptyPolicy

Needs: TypeAlias = Literal["counts", "edges", "areas"]


@dataclass(frozen=True, eq=False)
class ClassPair:
    """One class of one case, as the prediction and the reference have it.

    Args:
        predicted: voxels of the class in the prediction.
        reference: voxels of the class in the reference.
        both: voxels of the class in both.
        total: voxels of the label maps.
        spacing: mm along each array axis.
        edges: distances between the edge voxels of both; None where a mask is empty or no metric needs them.
        areas: distances between the surfaces of both with the area of each element; None as `edges` is.
    """

    predicted: int
    reference: int
    both: int
    total: int
    spacing: tuple[float, ...]
    edges: SurfaceDistances | None = None
    areas: SurfaceDistances | None = None

    @property
    def voxel_volume(self) -> float:
        """The volume of a voxel in mm3 (its area in mm2 in 2-D)."""
        return math.prod(self.spacing)

    @property
    def false_positive(self) -> int:
        """Voxels of the class in the prediction alone."""
        return self.predicted - self.both

    @property
    def false_negative(self) -> int:
        """Voxels of the class in the reference alone."""
        return self.reference - self.both

    @property
    def true_negative(self) -> int:
        """Voxels of the class in neither; it grows with the field of view."""
        return self.total - self.predicted - self.reference + self.both


class Metric(Protocol):
    """A number for each class of each case; implementations are frozen dataclasses.

    `perfect` tells the kind: 1 for a score from 0 to 1, 0 for a distance in mm, None for an amount that has no perfect
    value or is defined for empty masks too. `value` is called for scores and distances only where both masks have
    voxels (`medframe.metrics.EmptyPolicy` gives the rest), for amounts always. `needs` says what is measured before:
    "counts" of voxels are there always, `pair.edges` with "edges" and `pair.areas` with "areas" where both masks have
    voxels.
    """

    perfect: ClassVar[float | None]

    @property
    def needs(self) -> Needs:
        """What the value is made of."""
        ...

    @property
    def name(self) -> str:
        """The column's name, which tells metrics of different settings apart."""
        ...

    def value(self, pair: ClassPair) -> float:
        """The metric of one class of one case."""
        ...


class CaseMetric(Protocol):
    """A number for a whole case, made of the voxel counts of all its classes; see `medframe.metrics.score_whole`."""

    @property
    def name(self) -> str:
        """The column's name."""
        ...

    def value(self, pairs: Sequence[ClassPair], empty: EmptyPolicy) -> float:
        """The metric of one case from its classes, by rising label number."""
        ...


def value_of(metric: Metric, pair: ClassPair, empty: EmptyPolicy, shape: Sequence[int]) -> float:
    """The metric of one class of one case, or what the policy says where a mask is empty.

    Args:
        metric: what to measure.
        pair: the class, with what the metric needs.
        empty: values where a mask is empty.
        shape: of the label maps, in voxels.
    """
    if metric.perfect is None or (pair.predicted and pair.reference):
        return metric.value(pair)
    if not pair.predicted and not pair.reference:
        return empty.absent_in_both(metric.perfect)
    return empty.absent_in_one(metric.perfect, shape, pair.spacing)
