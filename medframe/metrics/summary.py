"""A table over cases in a few numbers: for each class and for all classes together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument
from medframe.base.rng import Rng
from medframe.metrics.bootstrap import bootstrap_interval
from medframe.metrics.table import Table

OVERALL = "all"
_USUAL_RNG = Rng("summary")


@dataclass(frozen=True)
class Statistic:
    """One metric over the cases, for one class or for all.

    Args:
        label: the class number; None for all classes together, and for whole cases.
        name: the class name, or "all".
        metric: the column.
        n: how many cases have a defined value, infinite ones among them.
        undefined: how many have none (NaN); they count in nothing else here.
        infinite: how many of the n are infinite; one makes the mean infinite and the standard deviation NaN.
        mean: over the n cases.
        std: the standard deviation with n - 1 below; NaN for fewer than two cases.
        median: over the n cases.
        lo: the lower end of the mean's bootstrap interval; NaN for fewer than two cases.
        hi: its upper end.
    """

    label: int | None
    name: str
    metric: str
    n: int
    undefined: int
    infinite: int
    mean: float
    std: float
    median: float
    lo: float
    hi: float


@dataclass(frozen=True)
class Summary:
    """The statistics of a table, metric by metric: its classes by rising number, then all classes together.

    Args:
        statistics: in that order.
        confidence: of the intervals.
        resamples: of the bootstrap.
    """

    statistics: tuple[Statistic, ...]
    confidence: float
    resamples: int

    def __iter__(self) -> Iterator[Statistic]:
        return iter(self.statistics)

    def of(self, metric: str, label: int | None = None) -> Statistic:
        """The statistic of a metric for one class, or for all classes together where no label is given.

        Raises:
            BadArgument: the table has no such metric or label.
        """
        for statistic in self.statistics:
            if statistic.metric == metric and statistic.label == label:
                return statistic
        found = sorted({f"{s.metric} of {OVERALL if s.label is None else s.label}" for s in self.statistics})
        asked = f"{metric} of {OVERALL if label is None else label}"
        raise BadArgument("no such statistic", where=asked, found=", ".join(found), due="one of these")


def summarise(table: Table, rng: Rng = _USUAL_RNG, *, confidence: float = 0.95, resamples: int = 2000) -> Summary:
    """Reduce a table to mean, standard deviation, median and a bootstrap interval of the mean.

    "All" is taken over cases: each case's value is the mean over its classes where the metric is defined, so that
    cases, the independent units, are what is averaged and resampled. A case without a defined class is undefined. In a
    table of whole cases "all" is each case's one value.

    Args:
        table: rows of cases and classes.
        rng: the key of the resampling. All metrics and classes use it as it is: a further column moves no other's
            interval, and those defined in the same number of cases are resampled alike.
        confidence: of the intervals, between 0 and 1.
        resamples: how many bootstrap resamples to draw.

    Raises:
        BadArgument: `confidence` or `resamples` is out of its domain.
    """
    statistics = []
    for column in table.columns:
        groups: list[tuple[int | None, str, NDArray[np.float64]]] = [
            (label, name, table.values(column, label)) for label, name in table.classes.items()
        ]
        groups.append((None, OVERALL, table.case_means(column)))
        for label, name, values in groups:
            interval = bootstrap_interval(values, rng, confidence=confidence, resamples=resamples)
            statistics.append(_statistic(label, name, column, values, interval))
    return Summary(tuple(statistics), confidence, resamples)


def _statistic(
    label: int | None, name: str, metric: str, values: NDArray[np.float64], interval: tuple[float, float]
) -> Statistic:
    known = values[~np.isnan(values)]
    infinite = int(np.isinf(known).sum())
    return Statistic(
        label=label,
        name=name,
        metric=metric,
        n=known.size,
        undefined=values.size - known.size,
        infinite=infinite,
        mean=float(known.mean()) if known.size else math.nan,
        std=float(known.std(ddof=1)) if known.size > 1 and not infinite else math.nan,
        median=float(np.median(known)) if known.size else math.nan,
        lo=interval[0],
        hi=interval[1],
    )
