"""Overlap scores and amounts, from voxel counts alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from medframe.base.errors import BadArgument
from medframe.metrics.metric import ClassPair

_SIDES = ("prediction", "reference")


@dataclass(frozen=True)
class Dice:
    """Twice the common voxels over the sum of both: 2 |P and R| / (|P| + |R|).

    Lee R. Dice, "Measures of the amount of ecologic association between species", 1945, doi:10.2307/1932409.
    """

    perfect: ClassVar[float | None] = 1.0
    needs_surface: ClassVar[bool] = False

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
    needs_surface: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return "iou"

    def value(self, pair: ClassPair) -> float:
        return pair.both / (pair.predicted + pair.reference - pair.both)


@dataclass(frozen=True)
class Voxels:
    """How many voxels a class has.

    Args:
        of: "prediction" or "reference".
    """

    of: Literal["prediction", "reference"] = "prediction"
    perfect: ClassVar[float | None] = None
    needs_surface: ClassVar[bool] = False

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
    needs_surface: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_side(self.of)

    @property
    def name(self) -> str:
        return f"volume_{self.of}"

    def value(self, pair: ClassPair) -> float:
        return (pair.predicted if self.of == "prediction" else pair.reference) * pair.voxel_volume


def _check_side(of: str) -> None:
    if of not in _SIDES:
        raise BadArgument("unknown label map", where="of", found=repr(of), due=" or ".join(map(repr, _SIDES)))
