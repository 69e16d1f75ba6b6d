"""Whether probabilities mean what they say: reliability bins, calibration errors and the Brier score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry, BadVoxels
from medframe.metrics.table import Row

Probabilities: TypeAlias = NDArray[Any] | Tensor

_ROUNDING = 1e-3  # half precision adds a softmax up to within this


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predictions sorted into bins of equal width by their confidence; those of cases and ranks merge by adding.

    Args:
        counts: (bins,) predictions in each bin; bin k holds confidences above k / bins and up to (k + 1) / bins, the
            first one 0 as well.
        confidence: (bins,) their confidences, added up.
        correct: (bins,) how many of them came true.
        squares: the squared errors of the probabilities, added up over classes and predictions.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    correct: NDArray[np.int64]
    squares: float

    def merge(self, *others: Reliability) -> Reliability:
        """The bins of all of them together.

        Raises:
            BadArgument: they differ in the number of bins.
        """
        every = (self, *others)
        if len({len(r.counts) for r in every}) > 1:
            found = sorted({len(r.counts) for r in every})
            raise BadArgument("bins of two widths", where="bins", found=found, due="one number of bins")
        return Reliability(
            np.sum([r.counts for r in every], axis=0),
            np.sum([r.confidence for r in every], axis=0),
            np.sum([r.correct for r in every], axis=0),
            math.fsum(r.squares for r in every),
        )

    @property
    def mean_confidence(self) -> NDArray[np.float64]:
        """(bins,) NaN in empty bins."""
        return _ratio(self.confidence, self.counts)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(bins,) the share that came true; NaN in empty bins."""
        return _ratio(self.correct, self.counts)

    @property
    def gaps(self) -> NDArray[np.float64]:
        """(bins,) |accuracy - mean confidence|; NaN in empty bins."""
        return np.abs(self.accuracy - self.mean_confidence)

    @property
    def expected_error(self) -> float:
        """ECE: the mean gap over predictions; NaN without any."""
        return _mean(self.gaps, self.counts)

    @property
    def average_error(self) -> float:
        """ACE: the mean gap over bins that are not empty, so that rare confidences count as much."""
        return _mean(self.gaps, (self.counts > 0).astype(np.int64))

    @property
    def largest_error(self) -> float:
        """MCE: the largest gap; it may rest on one prediction."""
        return float(np.nanmax(self.gaps)) if self.counts.any() else math.nan

    @property
    def brier(self) -> float:
        """The mean over predictions of the squared errors of the probabilities; see `reliability`."""
        total = int(self.counts.sum())
        return self.squares / total if total else math.nan


def reliability(
    probabilities: Probabilities,
    truth: Probabilities,
    *,
    bins: int = 15,
    label: int | None = None,
    mask: Probabilities | None = None,
) -> Reliability:
    """Sort the predictions of one case, or of many, into bins.

    Chuan Guo, Geoff Pleiss, Yu Sun, Kilian Weinberger, "On calibration of modern neural networks", 2017,
    arXiv:1706.04599; Glenn Brier, "Verification of forecasts expressed in terms of probability", 1950,
    doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    Args:
        probabilities: (K, *any): of each class first; they add up to 1 over the classes unless `label` is given.
        truth: (*any) class numbers from 0 to K - 1: voxels of a label map, or cases.
        bins: of equal width between 0 and 1.
        label: None: the confidence is that of the most probable class (the lowest of equal ones), which comes true
            where it is the truth, and the Brier score adds the squared errors of all classes. A class number: the
            confidence is that of this class, everywhere, and the Brier score is of it alone.
        mask: (*any) where to look; None looks everywhere.

    Raises:
        BadGeometry: the shapes do not fit.
        BadVoxels: probabilities outside 0 to 1, NaN, or not adding up to 1.
        BadArgument: `bins` or `label` is out of its domain, or the truth is.

    Example:
        >>> found = reliability(np.array([[0.9, 0.2], [0.1, 0.8]]), np.array([0, 0]), bins=10)
        >>> round(found.expected_error, 4), round(found.brier, 4)
        (0.45, 0.65)
    """
    p, y = _array(probabilities).astype(np.float64), _array(truth)
    if p.ndim < 1 or p.shape[1:] != y.shape or y.dtype.kind not in "iub":
        found, due = f"{p.shape} and {y.dtype} {y.shape}", "(K, *any) and integers (*any)"
        raise BadGeometry("probabilities and truth do not fit", found=found, due=due)
    if bins < 1:
        raise BadArgument("too few bins", where="bins", found=bins, due="1 or more")
    if label is not None and not 0 <= label < len(p):
        raise BadArgument("there is no such class", where="label", found=label, due=f"0 to {len(p) - 1}")
    p, y = p.reshape(len(p), -1), y.reshape(-1)
    if mask is not None:
        inside = _array(mask).reshape(-1) != 0
        if inside.shape != y.shape:
            raise BadGeometry("the mask does not fit", found=f"{inside.size} entries", due=f"{y.size}")
        p, y = p[:, inside], y[inside]
    if y.size and (int(y.min()) < 0 or int(y.max()) >= len(p)):
        found = f"{int(y.min())} to {int(y.max())}"
        raise BadArgument("a class has no probability", where="truth", found=found, due=f"0 to {len(p) - 1}")
    # not (a and b), since a comparison with NaN is false
    if p.size and not (p.min() >= 0 and p.max() <= 1 + _ROUNDING):
        raise BadVoxels("not probabilities", found=f"{p.min():g} to {p.max():g}", due="0 to 1")
    if label is None:
        if p.size and not np.abs(p.sum(axis=0) - 1).max() <= _ROUNDING * len(p):
            found = f"sums from {p.sum(axis=0).min():g} to {p.sum(axis=0).max():g}"
            mend = "Give a softmax's output, or a label where classes may overlap."
            raise BadVoxels("probabilities do not add up to 1", found=found, due="1", mend=mend)
        chosen = p.argmax(axis=0)
        confidence = np.take_along_axis(p, chosen[None], axis=0)[0]
        correct = chosen == y
        squares = (p * p).sum() - 2 * np.take_along_axis(p, y[None].astype(np.intp), axis=0).sum() + y.size
    else:
        confidence, correct = p[label], y == label
        squares = ((confidence - correct) ** 2).sum()
    # edges are compared, not multiplied: 0.7 times 10 is not 7
    at = np.searchsorted(np.arange(1, bins + 1) / bins, confidence, side="left").clip(max=bins - 1)
    return Reliability(
        np.bincount(at, minlength=bins),
        np.asarray(np.bincount(at, weights=confidence, minlength=bins), np.float64),
        np.bincount(at[correct], minlength=bins),
        float(squares),
    )


def calibration_row(found: Reliability, case: str) -> Row:
    """The calibration errors of one case as a row: ece, ace, mce and brier."""
    values = found.expected_error, found.average_error, found.largest_error, found.brier
    return Row.of_case(case, dict(zip(("ece", "ace", "mce", "brier"), values, strict=True)))


def _array(given: Probabilities) -> NDArray[Any]:
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        return np.asarray((given.float() if given.dtype == torch.bfloat16 else given).numpy())
    return np.asarray(given)


def _ratio(parts: NDArray[Any], wholes: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(parts, wholes, out=np.full(len(wholes), math.nan), where=wholes > 0))


def _mean(values: NDArray[np.float64], weights: NDArray[np.int64]) -> float:
    known = weights > 0
    return float(values[known] @ weights[known] / weights.sum()) if known.any() else math.nan
