"""The Dice score of all classes of a case together, rare classes weighing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medframe.base.errors import BadArgument
from medframe.metrics.empty import EmptyPolicy
from medframe.metrics.metric import ClassPair

_WEIGHTS = {"square": 2, "simple": 1, "uniform": 0}


@dataclass(frozen=True)
class GeneralizedDice:
    """Weighted common voxels over weighted sizes: 2 sum(w |P and R|) / sum(w (|P| + |R|)), over the declared classes.

    A class weighs one over the square of its reference voxels. One that the reference lacks would weigh infinitely
    much; it takes the largest weight among the others, so that its false positives cost what those of the rarest class
    do (and 1 where the reference is empty throughout). Declare 0 as a class to count background.

    Carole Sudre et al., "Generalised Dice overlap as a deep learning loss function for highly unbalanced
    segmentations", 2017, doi:10.1007/978-3-319-67558-9_28; W. R. Crum, O. Camara, D. L. G. Hill, "Generalized overlap
    measures for evaluation and validation in medical image analysis", 2006, doi:10.1109/TMI.2006.880587.

    Args:
        weight: "square" (the papers'), "simple": one over the voxels, or "uniform": all classes alike.
    """

    weight: Literal["square", "simple", "uniform"] = "square"

    def __post_init__(self) -> None:
        if self.weight not in _WEIGHTS:
            due = " or ".join(map(repr, _WEIGHTS))
            raise BadArgument("unknown weight", where="weight", found=repr(self.weight), due=due)

    @property
    def name(self) -> str:
        return "generalized_dice" if self.weight == "square" else f"generalized_dice_{self.weight}"

    def value(self, pairs: Sequence[ClassPair], empty: EmptyPolicy) -> float:
        known = [pair.reference ** -_WEIGHTS[self.weight] for pair in pairs if pair.reference]
        most = max(known, default=1.0)
        weights = [pair.reference ** -_WEIGHTS[self.weight] if pair.reference else most for pair in pairs]
        whole = sum(w * (pair.predicted + pair.reference) for w, pair in zip(weights, pairs, strict=True))
        if not whole:
            return empty.absent_in_both(1.0)
        return 2 * sum(w * pair.both for w, pair in zip(weights, pairs, strict=True)) / whole
