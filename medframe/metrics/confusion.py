"""Rates of the two-by-two table of a class's voxels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

from medframe.base.errors import BadArgument
from medframe.metrics.metric import ClassPair, Needs

RateName: TypeAlias = Literal[
    "sensitivity",
    "specificity",
    "precision",
    "negative_predictive_value",
    "miss_rate",
    "fall_out",
    "false_discovery_rate",
    "false_omission_rate",
    "accuracy",
    "balanced_accuracy",
    "informedness",
    "markedness",
    "mcc",
    "fowlkes_mallows",
    "prevalence_threshold",
]


@dataclass(frozen=True)
class ConfusionRate:
    """A rate of true and false positives (TP, FP) and negatives (TN, FN), counted in voxels.

    =========================  =========================================================================
    sensitivity (recall)       TP / (TP + FN)
    specificity                TN / (TN + FP)
    precision                  TP / (TP + FP)
    negative_predictive_value  TN / (TN + FN)
    miss_rate                  FN / (TP + FN)
    fall_out                   FP / (TN + FP)
    false_discovery_rate       FP / (TP + FP)
    false_omission_rate        FN / (TN + FN)
    accuracy                   (TP + TN) / all
    balanced_accuracy          mean of sensitivity and specificity
    informedness (Youden)      sensitivity + specificity - 1
    markedness                 precision + negative predictive value - 1
    mcc (Matthews)             (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))
    fowlkes_mallows            sqrt(precision sensitivity)
    prevalence_threshold       (sqrt(sensitivity fall_out) - fall_out) / (sensitivity - fall_out)
    =========================  =========================================================================

    A rate is undefined (NaN) exactly where it divides by 0, whatever the empty policy: a class that is absent in one
    map leaves some rates defined and others not. Rates with TN depend on the field of view: crop, and they change.
    Tom Fawcett, "An introduction to ROC analysis", 2006, doi:10.1016/j.patrec.2005.10.010; Davide Chicco, Giuseppe
    Jurman, "The advantages of the Matthews correlation coefficient over F1 score and accuracy", 2020,
    doi:10.1186/s12864-019-6413-7.

    Args:
        of: one of the names above.

    Example:
        >>> ConfusionRate("sensitivity").value(ClassPair(predicted=4, reference=5, both=3, total=20, spacing=(1, 1)))
        0.6
    """

    of: RateName = "sensitivity"
    perfect: ClassVar[float | None] = None
    needs: ClassVar[Needs] = "counts"

    def __post_init__(self) -> None:
        if self.of not in get_args(RateName):
            due = ", ".join(get_args(RateName))
            raise BadArgument("unknown rate", where="of", found=repr(self.of), due=f"one of {due}")

    @property
    def name(self) -> str:
        return self.of

    def value(self, pair: ClassPair) -> float:
        return _RATES[self.of](pair.both, pair.false_positive, pair.false_negative, pair.true_negative)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _mcc(tp: int, fp: int, fn: int, tn: int) -> float:
    # roots one by one: the product of four counts of voxels passes the range where doubles are exact
    return _share(tp * tn - fp * fn, math.prod(math.sqrt(n) for n in (tp + fp, tp + fn, tn + fp, tn + fn)))


def _prevalence_threshold(tp: int, fp: int, fn: int, tn: int) -> float:
    hit, fall_out = _share(tp, tp + fn), _share(fp, fp + tn)
    return _share(math.sqrt(hit * fall_out) - fall_out, hit - fall_out)


_RATES: Mapping[str, Callable[[int, int, int, int], float]] = {
    "sensitivity": lambda tp, fp, fn, tn: _share(tp, tp + fn),
    "specificity": lambda tp, fp, fn, tn: _share(tn, tn + fp),
    "precision": lambda tp, fp, fn, tn: _share(tp, tp + fp),
    "negative_predictive_value": lambda tp, fp, fn, tn: _share(tn, tn + fn),
    "miss_rate": lambda tp, fp, fn, tn: _share(fn, tp + fn),
    "fall_out": lambda tp, fp, fn, tn: _share(fp, fp + tn),
    "false_discovery_rate": lambda tp, fp, fn, tn: _share(fp, fp + tp),
    "false_omission_rate": lambda tp, fp, fn, tn: _share(fn, fn + tn),
    "accuracy": lambda tp, fp, fn, tn: _share(tp + tn, tp + fp + fn + tn),
    "balanced_accuracy": lambda tp, fp, fn, tn: (_share(tp, tp + fn) + _share(tn, tn + fp)) / 2,
    "informedness": lambda tp, fp, fn, tn: _share(tp, tp + fn) + _share(tn, tn + fp) - 1,
    "markedness": lambda tp, fp, fn, tn: _share(tp, tp + fp) + _share(tn, tn + fn) - 1,
    "mcc": _mcc,
    "fowlkes_mallows": lambda tp, fp, fn, tn: math.sqrt(_share(tp, tp + fp) * _share(tp, tp + fn)),
    "prevalence_threshold": _prevalence_threshold,
}
