"""Surface metrics in millimetres, between edge voxels as `medframe.metrics.edges` defines them.

Tools differ in what a surface is and in how two directed percentiles become one number; hd95 of the same masks differs
by a millimetre between them. The choices made here stand in each class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medframe.base.errors import BadArgument
from medframe.metrics.edges import SurfaceDistances
from medframe.metrics.metric import ClassPair

_ROUNDING = 1e-6  # headers keep spacing in single precision: 0.8 mm reads as 0.80000001


@dataclass(frozen=True)
class Hausdorff:
    """The larger of the two directed percentiles of the edge distances, in mm; the plain Hausdorff distance at 100.

    Each direction's percentile is taken on its own, with linear interpolation between order statistics, and then the
    larger one is reported; pooling both directions first would give a smaller number.

    Daniel Huttenlocher, Gregory Klanderman, William Rucklidge, "Comparing images using the Hausdorff distance", 1993,
    doi:10.1109/34.232073.

    Args:
        percentile: above 0, up to 100; 95 is the usual robust choice.
    """

    percentile: float = 100.0
    perfect: ClassVar[float | None] = 0.0
    needs_surface: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise BadArgument("not a percentile", where="percentile", found=self.percentile, due="above 0, at most 100")

    @property
    def name(self) -> str:
        return "hd" if self.percentile == 100 else f"hd{self.percentile:g}"

    def value(self, pair: ClassPair) -> float:
        surface = _surface(pair)
        both_ways = surface.to_reference, surface.to_prediction
        if self.percentile == 100:
            return max(float(d.max()) for d in both_ways)
        return max(float(np.percentile(d, self.percentile)) for d in both_ways)


@dataclass(frozen=True)
class AverageSurfaceDistance:
    """The mean edge distance in mm: from the prediction to the reference, or over the edge voxels of both.

    Tobias Heimann et al., "Comparison and evaluation of methods for liver segmentation from CT datasets", 2009,
    doi:10.1109/TMI.2009.2013851.

    Args:
        symmetric: True pools the edge voxels of both masks (assd); False goes from the prediction to the reference
            (asd).
    """

    symmetric: bool = True
    perfect: ClassVar[float | None] = 0.0
    needs_surface: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "assd" if self.symmetric else "asd"

    def value(self, pair: ClassPair) -> float:
        surface = _surface(pair)
        if not self.symmetric:
            return float(surface.to_reference.mean())
        total = surface.to_reference.sum() + surface.to_prediction.sum()
        return float(total / (surface.to_reference.size + surface.to_prediction.size))


@dataclass(frozen=True)
class SurfaceDice:
    """The share of edge voxels, of both masks together, that lie within a tolerance of the other edge (NSD).

    A distance that is larger by less than a millionth of the tolerance counts as within, so that single-precision
    spacing does not decide ties. Every edge voxel weighs the same, unlike in the paper, which weighs by area.

    Stanislav Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head and neck anatomy for
    radiotherapy", 2018, arXiv:1809.04430.

    Args:
        tolerance: mm, zero or more.
    """

    tolerance: float = 1.0
    perfect: ClassVar[float | None] = 1.0
    needs_surface: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise BadArgument("not a tolerance", where="tolerance", found=self.tolerance, due="zero or more mm")

    @property
    def name(self) -> str:
        return f"nsd_{self.tolerance:g}mm"

    def value(self, pair: ClassPair) -> float:
        surface = _surface(pair)
        limit = self.tolerance * (1 + _ROUNDING)
        both_ways = surface.to_reference, surface.to_prediction
        within = sum(int(np.count_nonzero(d <= limit)) for d in both_ways)
        return within / sum(d.size for d in both_ways)


def _surface(pair: ClassPair) -> SurfaceDistances:
    if pair.surface is None:
        raise BadArgument("no surface was measured", where="pair", found="surface=None", due="two masks with voxels")
    return pair.surface
