"""Two runs on the same cases: how large the difference is, and whether chance explains it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadDataset
from medframe.base.rng import Rng
from medframe.metrics.bootstrap import bootstrap_interval
from medframe.metrics.summary import OVERALL
from medframe.metrics.table import Table

_USUAL_RNG = Rng("comparison")
_SHOWN = 5
_EXACT = 200  # cases; the exact distribution takes their cube


@dataclass(frozen=True)
class Difference:
    """One metric of the second run minus that of the first, case by case, for one class or for all.

    Args:
        label: the class number; None for all classes together, and for whole cases.
        name: the class name, or "all".
        metric: the column.
        n: cases where both runs are defined; all below is over these.
        undefined: cases where one of them or both are not (NaN).
        higher: cases where the second run is higher.
        lower: cases where it is lower.
        first: mean of the first run.
        second: mean of the second run.
        mean: mean difference; infinite where one run alone is infinite in a case, NaN where that pulls both ways.
        median: median difference.
        lo: the lower end of the mean difference's bootstrap interval; NaN for fewer than two cases.
        hi: its upper end.
        p: of the Wilcoxon signed-rank test, two-sided; 1 without any difference, NaN without a case.
        p_holm: p held against all classes of this metric, after Holm; for "all", one test a metric, p itself.
    """

    label: int | None
    name: str
    metric: str
    n: int
    undefined: int
    higher: int
    lower: int
    first: float
    second: float
    mean: float
    median: float
    lo: float
    hi: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """The differences of two tables, metric by metric: their classes by rising number, then all classes together.

    Args:
        differences: in that order.
        confidence: of the intervals.
        resamples: of the bootstrap.
    """

    differences: tuple[Difference, ...]
    confidence: float
    resamples: int

    def __iter__(self) -> Iterator[Difference]:
        return iter(self.differences)

    def of(self, metric: str, label: int | None = None) -> Difference:
        """The difference in a metric of one class, or of all classes together where no label is given.

        Raises:
            BadArgument: the tables have no such metric or label.
        """
        for difference in self.differences:
            if difference.metric == metric and difference.label == label:
                return difference
        found = sorted({f"{d.metric} of {OVERALL if d.label is None else d.label}" for d in self.differences})
        asked = f"{metric} of {OVERALL if label is None else label}"
        raise BadArgument("no such difference", where=asked, found=", ".join(found), due="one of these")


def compare(
    first: Table, second: Table, rng: Rng = _USUAL_RNG, *, confidence: float = 0.95, resamples: int = 2000
) -> Comparison:
    """Compare two runs that scored the same cases.

    Cases are paired by id. "All" is taken over cases, as `summarise` does. The interval of the mean difference
    resamples cases and says how large the difference is; the test, on ranks, says whether cases lean to one side.
    Neither knows of the chance in training: two seeds of one method may differ significantly.

    Frank Wilcoxon, "Individual comparisons by ranking methods", 1945, doi:10.2307/3001968 (equal differences share
    ranks, pairs without one are left out; exact up to 200 others, else by the normal approximation); Sture Holm, "A
    simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.

    Args:
        first: rows of cases and classes, or of whole cases.
        second: rows of the same cases and classes; metrics that both tables have are compared.
        rng: the key of the resampling.
        confidence: of the intervals, between 0 and 1.
        resamples: how many bootstrap resamples to draw.

    Raises:
        BadDataset: the tables differ in their cases or classes, or share no metric.
        BadArgument: `confidence` or `resamples` is out of its domain.

    Example:
        >>> from medframe.metrics import Row
        >>> runs = [Table(Row.of_case(f"case {k}", {"dice": 0.7 + b * 0.01 * k}) for k in range(1, 9)) for b in (0, 1)]
        >>> found = compare(*runs).of("dice")
        >>> round(found.mean, 4), found.higher, round(found.p, 4)
        (0.045, 8, 0.0078)
    """
    _check_pairs(first, second)
    columns = [column for column in first.columns if column in second.columns]
    if not columns:
        found = f"{', '.join(first.columns)} and {', '.join(second.columns)}"
        raise BadDataset("the tables share no metric", found=found, due="a column of one name")
    differences = []
    for column in columns:
        classes = [
            _difference(label, name, column, first.values(column, label), second.values(column, label))
            for label, name in first.classes.items()
        ]
        adjusted = holm([difference.p for difference, _ in classes])
        whole = _difference(None, OVERALL, column, first.case_means(column), second.case_means(column))
        for (difference, values), p in zip([*classes, whole], [*adjusted, whole[0].p], strict=True):
            lo, hi = bootstrap_interval(values, rng, confidence=confidence, resamples=resamples)
            differences.append(replace(difference, lo=lo, hi=hi, p_holm=p))
    return Comparison(tuple(differences), confidence, resamples)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values for being several: each below a level then keeps the chance of any false alarm below it.

    NaN stands for no test; it stays, and does not count.
    """
    tested = sorted((value, k) for k, value in enumerate(p) if not math.isnan(value))
    adjusted, worst = list(p), 0.0
    for place, (value, k) in enumerate(tested):
        worst = max(worst, min(1.0, value * (len(tested) - place)))
        adjusted[k] = worst
    return adjusted


def wilcoxon(differences: NDArray[np.float64]) -> float:
    """The two-sided p-value of the signed-rank test; 1 without any difference, NaN without a case.

    Infinite differences rank above all finite ones and alike among themselves.
    """
    if not differences.size:
        return math.nan
    moved = differences[differences != 0]
    if not moved.size:
        return 1.0
    _, inverse, counts = np.unique(np.abs(moved), return_inverse=True, return_counts=True)
    # equal sizes share their mean rank; twice a rank is a whole number
    ranks = (2 * np.cumsum(counts) - counts + 1)[inverse.reshape(-1)]
    up, total = int(ranks[moved > 0].sum()), int(ranks.sum())
    if moved.size > _EXACT:
        away = (up - total / 2) / math.sqrt(float((ranks.astype(float) ** 2).sum()) / 4)
        return math.erfc(abs(away) / math.sqrt(2))
    chance = np.zeros(total + 1)  # of every sum of the ranks that went up, signs being as good as coins
    chance[0] = 1.0
    for rank in ranks:
        chance[rank:] += chance[:-rank].copy()
        chance /= 2
    return float(min(1.0, 2 * min(chance[: up + 1].sum(), chance[up:].sum())))


def _difference(
    label: int | None, name: str, metric: str, first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[Difference, NDArray[np.float64]]:
    known = ~(np.isnan(first) | np.isnan(second))
    a, b = first[known], second[known]
    away = np.zeros(len(a))
    np.subtract(b, a, out=away, where=a != b)  # two infinite distances are equal, not undefined
    with np.errstate(invalid="ignore"):
        mean, median = (float(of(away)) if len(away) else math.nan for of in (np.mean, np.median))
    difference = Difference(
        label=label,
        name=name,
        metric=metric,
        n=len(a),
        undefined=len(first) - len(a),
        higher=int((away > 0).sum()),
        lower=int((away < 0).sum()),
        first=float(a.mean()) if len(a) else math.nan,
        second=float(b.mean()) if len(b) else math.nan,
        mean=mean,
        median=median,
        lo=math.nan,
        hi=math.nan,
        p=wilcoxon(away),
        p_holm=math.nan,
    )
    return difference, away


def _check_pairs(first: Table, second: Table) -> None:
    keys = [{(row.case, row.label) for row in table} for table in (first, second)]
    if not keys[0] and not keys[1]:
        raise BadDataset("nothing to compare", found="two empty tables", due="rows")
    if first.classes != second.classes:
        found = f"{first.classes} and {second.classes}"
        raise BadDataset("the tables differ in their classes", found=found, due="the same classes")
    if keys[0] != keys[1]:
        lacking = [sorted({case for case, _ in one - other}) for one, other in (keys, keys[::-1])]
        found = " and ".join(
            f"{len(cases)} in the {which} alone ({', '.join(cases[:_SHOWN])})"
            for cases, which in zip(lacking, ("first", "second"), strict=True)
            if cases
        )
        raise BadDataset(
            "the tables differ in their cases", found=found, due="the same cases and classes", mend="Score both alike."
        )
