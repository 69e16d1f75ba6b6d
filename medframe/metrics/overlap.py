"""Overlap scores and amounts, from voxel counts alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from medframe.base.errors import BadArgument
from medframe.metrics.metric import ClassPair, Needs

_SIDES = ("prediction", "reference")
_KINDS = ("signed", "absolute", "relative", "symmetric")


@dataclass(frozen=True)
class Dice:
    """Twice the common voxels over the sum of both: 2 |P and R| / (|P| + |R|).

    Lee R. Dice, "Measures of the amount of ecologic association between species", 1945, doi:10.2307/1932409.
    """

    perfect: ClassVar[float | None] = 1.0
    needs: ClassVar[Needs] = "counts"

    @property
    def name(self) -> str:
        return "dice"

    def value(self, pair: ClassPair) -> float:
        return 2 * pair.both / (pair.predicted + pair.reference)


@dataclass(frozen=True)
class IoU:
    """Intersection over union: |P and R| / |P or R|.

    Paul Jaccard, "The distribution of the flora in the alpine zone", 1912, doi:10.1111/j.1469-8137.1912.tb05611.x.
    """

    perfect: ClassVar[float | None] = 1.0
    needs: ClassVar[Needs] = "counts"

    @property
    def name(self) -> str:
        return "iou"

    def value(self, pair: ClassPair) -> float:
        return pair.both / (pair.predicted + pair.reference - pair.both)


@dataclass(frozen=True)
class FBeta:
    """Recall and precision of a class's voxels in one score; `FBeta(1)` is the Dice score.

    (1 + b2) TP / ((1 + b2) TP + b2 FN + FP) with b2 the square of `beta`.
    C. J. van Rijsbergen, "Information retrieval", 2nd edition, 1979, chapter 7.

    Args:
        beta: above 0; how many times as much recall counts as precision.
    """

    beta: float = 1.0
    perfect: ClassVar[float | None] = 1.0
    needs: ClassVar[Needs] = "counts"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise BadArgument("not a weight of recall", where="beta", found=self.beta, due="a number above 0")

    @property
    def name(self) -> str:
        return f"f{self.beta:g}"

    def value(self, pair: ClassPair) -> float:
        square = self.beta**2
        hit = (1 + square) * pair.both
        return hit / (hit + square * pair.false_negative + pair.false_positive)


@dataclass(frozen=True)
class Voxels:
    """How many voxels a class has.

    Args:
        of: "prediction" or "reference".
    """

    of: Literal["prediction", "reference"] = "prediction"
    perfect: ClassVar[float | None] = None
    needs: ClassVar[Needs] = "counts"

    def __post_init__(self) -> None:
        _check_side(self.of)

    @property
    def name(self) -> str:
        return f"voxels_{self.of}"

    def value(self, pair: ClassPair) -> float:
        return float(pair.predicted if self.of == "prediction" else pair.reference)


@dataclass(frozen=True)
class Volume:
    """Voxels times the size of a voxel: mm3 in 3-D, mm2 in 2-D.

    Args:
        of: "prediction" or "reference".
    """

    of: Literal["prediction", "reference"] = "prediction"
    perfect: ClassVar[float | None] = None
    needs: ClassVar[Needs] = "counts"

    def __post_init__(self) -> None:
        _check_side(self.of)

    @property
    def name(self) -> str:
        return f"volume_{self.of}"

    def value(self, pair: ClassPair) -> float:
        return (pair.predicted if self.of == "prediction" else pair.reference) * pair.voxel_volume


@dataclass(frozen=True)
class VolumeDifference:
    """How much larger the prediction is than the reference.

    ============  ==========================================  =================================================
    kind          value, with volumes P and R                 where a class is absent
    ============  ==========================================  =================================================
    "signed"      P - R in mm3 (mm2 in 2-D)                   measured
    "absolute"    |P - R| in mm3 (mm2 in 2-D)                 measured
    "relative"    (P - R) / R                                 infinite without a reference, NaN without both
    "symmetric"   2 (P - R) / (P + R), between -2 and 2       NaN without both
    ============  ==========================================  =================================================

    Args:
        kind: see above. Differences of opposite sign cancel in a mean of the signed kinds: that mean is the bias.
    """

    kind: Literal["signed", "absolute", "relative", "symmetric"] = "absolute"
    perfect: ClassVar[float | None] = None
    needs: ClassVar[Needs] = "counts"

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            due = " or ".join(map(repr, _KINDS))
            raise BadArgument("unknown kind of difference", where="kind", found=repr(self.kind), due=due)

    @property
    def name(self) -> str:
        return f"volume_difference_{self.kind}"

    def value(self, pair: ClassPair) -> float:
        more = pair.predicted - pair.reference
        if self.kind in ("signed", "absolute"):
            return (abs(more) if self.kind == "absolute" else more) * pair.voxel_volume
        base = pair.reference if self.kind == "relative" else (pair.predicted + pair.reference) / 2
        if not base:
            return math.inf if more else math.nan
        return more / base


def _check_side(of: str) -> None:
    if of not in _SIDES:
        raise BadArgument("unknown label map", where="of", found=repr(of), due=" or ".join(map(repr, _SIDES)))
