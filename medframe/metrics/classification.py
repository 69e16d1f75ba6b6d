"""Cases classified as a whole: ROC and precision-recall measures from scores, rates from a confusion matrix.

The measures of two classes take `truth` (N,) of 0 and 1 and `scores` (N,), higher for 1; `over_classes` extends them to
K classes. Undefined results (a class that no case has, or all have) are NaN, and averages leave them out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medframe.base.errors import BadArgument
from medframe.metrics.empty import EmptyPolicy
from medframe.metrics.labels import Classes, class_names
from medframe.metrics.metric import ClassPair, Metric, value_of
from medframe.metrics.table import Row, Table

Measure: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], float]
Average: TypeAlias = Literal["macro", "weighted", "micro"]

_TRUTH, _SCORE = "truth", "score_"


@dataclass(frozen=True, eq=False)
class RocCurve:
    """The rates at every threshold, from the highest down; the first point is (0, 0) at an infinite threshold.

    Args:
        false_positive_rate: share of the cases of class 0 with a score of at least the threshold.
        true_positive_rate: share of the cases of class 1 with a score of at least the threshold.
        thresholds: one for each distinct score.
    """

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def roc_curve(truth: ArrayLike, scores: ArrayLike) -> RocCurve:
    """The receiver operating characteristic; NaN rates where one of the two classes is missing.

    Tom Fawcett, "An introduction to ROC analysis", 2006, doi:10.1016/j.patrec.2005.10.010.

    Raises:
        BadArgument: not one score and one truth of 0 or 1 a case.
    """
    y, s = _two_classes(truth, scores)
    hits, alarms, thresholds = _cumulated(y, s)
    positives, negatives = int(y.sum()), int((~y).sum())
    tpr = hits / positives if positives else np.full(len(hits), math.nan)
    fpr = alarms / negatives if negatives else np.full(len(hits), math.nan)
    return RocCurve(np.append(0.0, fpr), np.append(0.0, tpr), np.append(math.inf, thresholds))


def roc_auc(truth: ArrayLike, scores: ArrayLike) -> float:
    """The area under the ROC curve: how probably a case of class 1 scores higher than one of class 0, ties half.

    James Hanley, Barbara McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC)
    curve", 1982, doi:10.1148/radiology.143.1.7063747.

    Raises:
        BadArgument: not one score and one truth of 0 or 1 a case.

    Example:
        >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
        0.875
    """
    y, s = _two_classes(truth, scores)
    positives, negatives = int(y.sum()), int((~y).sum())
    if not positives or not negatives:
        return math.nan
    _, inverse, counts = np.unique(s, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse.reshape(-1)]  # equal scores share their mean rank
    return float((ranks[y].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(truth: ArrayLike, scores: ArrayLike) -> float:
    """The precision at each threshold, weighted by the recall it adds; no interpolation between them.

    Cases of equal scores enter together, so their order does not matter. NaN without a case of class 1.

    Raises:
        BadArgument: not one score and one truth of 0 or 1 a case.
    """
    y, s = _two_classes(truth, scores)
    if not y.any():
        return math.nan
    hits, alarms, _ = _cumulated(y, s)
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / (hits + alarms)).sum() / hits[-1])


def each_class(measure: Measure, truth: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """A measure of every class against the rest.

    Args:
        measure: such as `roc_auc`.
        truth: (N,) class numbers from 0 to K - 1, or (N, K) of 0 and 1 where a case may have several.
        scores: (N, K).

    Returns:
        (K,), NaN where undefined.

    Raises:
        BadArgument: the shapes do not fit, or a class number is out of range.
    """
    y, s = _indicators(truth, scores)
    return np.array([measure(y[:, k], s[:, k]) for k in range(s.shape[1])])


def over_classes(measure: Measure, truth: ArrayLike, scores: ArrayLike, average: Average = "macro") -> float:
    """A measure of K classes in one number.

    Args:
        measure: such as `roc_auc`.
        truth: as for `each_class`.
        scores: (N, K).
        average: "macro", the mean over classes; "weighted" by how many cases have the class; "micro", all classes'
            decisions as one list. The first two leave undefined classes out.

    Raises:
        BadArgument: the shapes do not fit, or the average is unknown.
    """
    if average not in ("macro", "weighted", "micro"):
        found = repr(average)
        raise BadArgument("unknown average", where="average", found=found, due="'macro', 'weighted' or 'micro'")
    y, s = _indicators(truth, scores)
    if average == "micro":
        return measure(y.reshape(-1), s.reshape(-1))
    values = each_class(measure, y, s)
    known = ~np.isnan(values)
    weights = y.sum(axis=0)[known] if average == "weighted" else np.ones(int(known.sum()))
    return float(values[known] @ weights / weights.sum()) if weights.sum() else math.nan


def roc_auc_pairs(truth: ArrayLike, scores: ArrayLike) -> float:
    """The mean over all pairs of classes of how well the scores separate the two, whatever their prevalence.

    David Hand, Robert Till, "A simple generalisation of the area under the ROC curve for multiple class classification
    problems", 2001, doi:10.1023/A:1010920819831.

    Args:
        truth: (N,) class numbers from 0 to K - 1.
        scores: (N, K).

    Raises:
        BadArgument: the shapes do not fit, or a class number is out of range.
    """
    y, s = _indicators(truth, scores)
    values = []
    for i in range(s.shape[1]):
        for j in range(i):
            among = y[:, i] | y[:, j]
            values += [roc_auc(y[among, i], s[among, i]), roc_auc(y[among, j], s[among, j])]
    known = [v for v in values if not math.isnan(v)]
    return float(np.mean(known)) if known else math.nan


def confusion_matrix(truth: ArrayLike, predicted: ArrayLike, classes: Sequence[int]) -> NDArray[np.int64]:
    """How many cases of each class were taken for which; matrices of several ranks or folds are merged by adding.

    Args:
        truth: (N,) class numbers.
        predicted: (N,) class numbers.
        classes: all that may occur, in the order of rows and columns.

    Returns:
        (K, K) counts, rows by truth and columns by prediction.

    Raises:
        BadArgument: the lengths differ, or a number is not among the classes.
    """
    order = {label: k for k, label in enumerate(classes)}
    pair = [np.asarray(a).reshape(-1).tolist() for a in (truth, predicted)]
    strange = sorted({v for a in pair for v in a} - set(order), key=str)
    if len(pair[0]) != len(pair[1]) or strange:
        found = f"{len(pair[0])} and {len(pair[1])} cases" + (f", classes {strange}" if strange else "")
        raise BadArgument("not two lists of classes", where="predicted", found=found, due=f"classes {list(classes)}")
    out = np.zeros((len(order), len(order)), np.int64)
    np.add.at(out, ([order[v] for v in pair[0]], [order[v] for v in pair[1]]), 1)
    return out


def score_matrix(
    matrix: NDArray[np.int64],
    classes: Classes,
    metrics: Sequence[Metric],
    *,
    case: str,
    empty: EmptyPolicy | None = None,
) -> list[Row]:
    """The metrics of counts, such as `ConfusionRate` and `FBeta`, of every class of a confusion matrix.

    Args:
        matrix: (K, K) counts, rows by truth; of cases, or of voxels over a whole data set.
        classes: K labels with or without names; rows and columns go by rising label.
        metrics: those that need counts alone.
        case: what the matrix is of: a fold, a site, a data set.
        empty: values where a class is absent; `EmptyPolicy()` unless given.

    Raises:
        BadArgument: the matrix does not fit the classes, or a metric needs surfaces.
    """
    names = class_names(classes)
    if matrix.shape != (len(names), len(names)):
        due = f"({len(names)}, {len(names)}) for {len(names)} classes"
        raise BadArgument("not a confusion matrix", where="matrix", found=f"shape {matrix.shape}", due=due)
    if strange := [metric.name for metric in metrics if metric.needs != "counts"]:
        raise BadArgument("a matrix has no surfaces", where="metrics", found=strange, due="metrics of counts")
    policy, columns = EmptyPolicy() if empty is None else empty, tuple(metric.name for metric in metrics)
    rows = []
    for k, (label, name) in enumerate(names.items()):
        here = int(matrix[:, k].sum()), int(matrix[k].sum()), int(matrix[k, k]), int(matrix.sum())
        pair = ClassPair(*here, spacing=(1.0,))
        rows.append(Row(case, label, name, columns, tuple(value_of(metric, pair, policy, (1,)) for metric in metrics)))
    return rows


def cohen_kappa(matrix: NDArray[np.int64], weights: Literal["linear", "quadratic"] | None = None) -> float:
    """Agreement beyond chance, 1 for full agreement; NaN where chance alone would agree fully.

    Jacob Cohen, "Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial credit",
    1968, doi:10.1037/h0026256.

    Args:
        matrix: (K, K) counts; with weights, classes in the order of their grades.
        weights: how a disagreement grows with the number of grades between; None: all disagreements are alike.

    Raises:
        BadArgument: the weights are unknown.
    """
    if weights not in (None, "linear", "quadratic"):
        raise BadArgument("unknown weights", where="weights", found=repr(weights), due="None, 'linear' or 'quadratic'")
    grades = np.arange(len(matrix))
    away = np.abs(grades[:, None] - grades[None, :]).astype(float)
    cost = (away > 0).astype(float) if weights is None else away if weights == "linear" else away**2
    total = matrix.sum()
    chance = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / total if total else np.zeros_like(cost)
    expected = float((cost * chance).sum())
    return 1 - float((cost * matrix).sum()) / expected if expected else math.nan


def scores_row(case: str, truth: int, scores: Sequence[float] | NDArray[Any]) -> Row:
    """The truth and the scores of one case as a row of a table, which merges over ranks and is kept as a file.

    Args:
        case: the case's id.
        truth: its class number.
        scores: one for each class, or one alone for class 1 of two.
    """
    return Row.of_case(case, {_TRUTH: truth} | {f"{_SCORE}{k}": float(v) for k, v in enumerate(scores)})


def truth_and_scores(table: Table) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The truth (N,) and the scores (N, K) of a table of such rows, by case id; (N,) where there is one score.

    Raises:
        BadArgument: the table was not made of `scores_row`.
    """
    columns = [column for column in table.columns if column.startswith(_SCORE)]
    if _TRUTH not in table.columns or not columns:
        found = ", ".join(table.columns) or "no columns"
        raise BadArgument("not a table of scores", where="table", found=found, due=f"{_TRUTH}, {_SCORE}0, ...")
    scores = np.stack([table.values(column) for column in columns], axis=1)
    return table.values(_TRUTH).astype(np.int64), scores[:, 0] if len(columns) == 1 else scores


def _two_classes(truth: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    y, s = np.asarray(truth), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or not np.isin(y, (0, 1)).all() or np.isnan(s).any():
        raise BadArgument(
            "not a truth and a score for each case",
            where="scores",
            found=f"truth {y.shape} of {np.unique(y)[:5].tolist()}, scores {s.shape}",
            due="truth (N,) of 0 and 1, scores (N,) without NaN",
            mend="Take several classes through over_classes or each_class.",
        )
    return y.astype(bool), s


def _indicators(truth: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    y, s = np.asarray(truth), np.asarray(scores, dtype=np.float64)
    due = "truth (N,) of 0 to K - 1 or (N, K) of 0 and 1, scores (N, K)"
    found = f"truth {y.shape}, scores {s.shape}"
    if s.ndim != 2 or y.shape not in (s.shape, s.shape[:1]):
        raise BadArgument("truth and scores do not fit", where="scores", found=found, due=due)
    if y.ndim == 1:
        if not np.isin(y, range(s.shape[1])).all():
            found = f"classes {np.unique(y)[:10].tolist()} for {s.shape[1]} scores"
            raise BadArgument("a class has no score", where="truth", found=found, due=due)
        y = y[:, None] == np.arange(s.shape[1])
    return y.astype(bool), s


def _cumulated(y: NDArray[np.bool_], s: NDArray[np.float64]) -> tuple[NDArray[np.int64], ...]:
    """Cases of class 1 and of class 0 with at least each distinct score, from the highest down, and the scores."""
    order = np.argsort(-s, kind="stable")
    last = np.append(np.flatnonzero(np.diff(s[order])), len(s) - 1) if len(s) else np.zeros(0, np.int64)
    hits = np.cumsum(y[order])[last]
    return hits, last + 1 - hits, s[order][last]
