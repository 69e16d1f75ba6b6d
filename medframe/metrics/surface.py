"""Surface metrics in millimetres, by edge voxels or by areas of the surface.

Tools differ in what a surface is and in how two directed percentiles become one number; hd95 of the same masks differs
by a millimetre between them. Two definitions are offered, and the names of the columns tell them apart:

- `by="voxels"`: distances between edge voxels as `medframe.metrics.edges` defines them, all weighing the same. What
  most papers report and most tools compute.
- `by="area"`: distances between surface elements as `medframe.metrics.areas` defines them, weighing by their area. What
  the surface Dice was published with; the number of voxels an oblique surface happens to cross does not matter.

The choices made beyond that stand in each class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument
from medframe.metrics.edges import SurfaceDistances
from medframe.metrics.metric import ClassPair, Needs

By: TypeAlias = Literal["voxels", "area"]

_SUMMED = 1e-9
_ROUNDING = 1e-6  # headers keep spacing in single precision: 0.8 mm reads as 0.80000001


@dataclass(frozen=True)
class Hausdorff:
    """The larger of the two directed percentiles of the edge distances, in mm; the plain Hausdorff distance at 100.

    Each direction's percentile is taken on its own, with linear interpolation between order statistics, and then the
    larger one is reported; pooling both directions first would give a smaller number. By area, it is the least distance
    within which at least that share of the surface lies.

    Daniel Huttenlocher, Gregory Klanderman, William Rucklidge, "Comparing images using the Hausdorff distance", 1993,
    doi:10.1109/34.232073.

    Args:
        percentile: above 0, up to 100; 95 is the usual robust choice.
        by: "voxels" or "area"; see `medframe.metrics.surface`.
    """

    percentile: float = 100.0
    by: By = "voxels"
    perfect: ClassVar[float | None] = 0.0

    def __post_init__(self) -> None:
        _check_by(self.by)
        if not 0 < self.percentile <= 100:
            raise BadArgument("not a percentile", where="percentile", found=self.percentile, due="above 0, at most 100")

    @property
    def needs(self) -> Needs:
        return _NEEDS[self.by]

    @property
    def name(self) -> str:
        return ("hd" if self.percentile == 100 else f"hd{self.percentile:g}") + _SUFFIX[self.by]

    def value(self, pair: ClassPair) -> float:
        surface = _surface(pair, self.by)
        return max(
            _percentile(surface.to_reference, surface.predicted, self.percentile),
            _percentile(surface.to_prediction, surface.reference, self.percentile),
        )


@dataclass(frozen=True)
class AverageSurfaceDistance:
    """The mean surface distance in mm: from the prediction to the reference, or over the surfaces of both.

    Tobias Heimann et al., "Comparison and evaluation of methods for liver segmentation from CT datasets", 2009,
    doi:10.1109/TMI.2009.2013851.

    Args:
        symmetric: True pools the surfaces of both masks (assd); False goes from the prediction to the reference (asd).
        by: "voxels" or "area"; see `medframe.metrics.surface`.
    """

    symmetric: bool = True
    by: By = "voxels"
    perfect: ClassVar[float | None] = 0.0

    def __post_init__(self) -> None:
        _check_by(self.by)

    @property
    def needs(self) -> Needs:
        return _NEEDS[self.by]

    @property
    def name(self) -> str:
        return ("assd" if self.symmetric else "asd") + _SUFFIX[self.by]

    def value(self, pair: ClassPair) -> float:
        surface = _surface(pair, self.by)
        total, weight = _sums(surface.to_reference, surface.predicted)
        if self.symmetric:
            back = _sums(surface.to_prediction, surface.reference)
            total, weight = total + back[0], weight + back[1]
        return total / weight


@dataclass(frozen=True)
class SurfaceDice:
    """The share of the surfaces, of both masks together, that lies within a tolerance of the other surface (NSD).

    A distance that is larger by less than a millionth of the tolerance counts as within, so that single-precision
    spacing does not decide ties. By area it is the paper's definition; by voxels, each edge voxel counts the same.

    Stanislav Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy: deep
    learning algorithm development and validation study", 2021, doi:10.2196/26151.

    Args:
        tolerance: mm, zero or more.
        by: "voxels" or "area"; see `medframe.metrics.surface`.
    """

    tolerance: float = 1.0
    by: By = "voxels"
    perfect: ClassVar[float | None] = 1.0

    def __post_init__(self) -> None:
        _check_by(self.by)
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise BadArgument("not a tolerance", where="tolerance", found=self.tolerance, due="zero or more mm")

    @property
    def needs(self) -> Needs:
        return _NEEDS[self.by]

    @property
    def name(self) -> str:
        return f"nsd_{self.tolerance:g}mm{_SUFFIX[self.by]}"

    def value(self, pair: ClassPair) -> float:
        surface = _surface(pair, self.by)
        limit = self.tolerance * (1 + _ROUNDING)
        there = _within(surface.to_reference, surface.predicted, limit)
        back = _within(surface.to_prediction, surface.reference, limit)
        return (there[0] + back[0]) / (there[1] + back[1])


_NEEDS: dict[By, Needs] = {"voxels": "edges", "area": "areas"}
_SUFFIX: dict[By, str] = {"voxels": "", "area": "_area"}


def _check_by(by: str) -> None:
    if by not in _NEEDS:
        raise BadArgument("unknown surface", where="by", found=repr(by), due=" or ".join(map(repr, _NEEDS)))


def _surface(pair: ClassPair, by: By) -> SurfaceDistances:
    surface = pair.edges if by == "voxels" else pair.areas
    if surface is None:
        found = f"{_NEEDS[by]}=None"
        raise BadArgument("no surface was measured", where="pair", found=found, due="two masks with voxels")
    return surface


def _within(distances: NDArray[np.float64], weights: NDArray[np.float64] | None, limit: float) -> tuple[float, float]:
    """How much of a surface lies within a distance, and all of it."""
    beyond = distances > limit
    if weights is None:
        return float(beyond.size - np.count_nonzero(beyond)), float(beyond.size)
    whole = float(weights.sum())
    return max(0.0, whole - float(weights[beyond].sum())), whole  # so that all of it is exactly all, and none is 0


def _sums(values: NDArray[np.float64], weights: NDArray[np.float64] | None) -> tuple[float, float]:
    """The weighted sum of some values, and the sum of the weights."""
    if weights is None:
        return float(values.sum()), float(values.size)
    return float(values @ weights), float(weights.sum())


def _percentile(distances: NDArray[np.float64], weights: NDArray[np.float64] | None, percentile: float) -> float:
    if percentile == 100:
        return float(distances.max())
    if weights is None:
        return float(np.percentile(distances, percentile))
    order = np.argsort(distances)
    reached = np.cumsum(weights[order])
    # a share that is met exactly should not depend on how sums are rounded: 19 of 20 equal areas are 95 %
    at = int(np.searchsorted(reached, percentile / 100 * reached[-1] * (1 - _SUMMED)))
    return float(distances[order[min(at, len(order) - 1)]])
