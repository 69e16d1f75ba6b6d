"""Confidence intervals by resampling cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument
from medframe.base.rng import Rng

_AT_ONCE = 1 << 22  # numbers drawn at a time, so that memory does not grow with the number of resamples


def mean_of_rows(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean along the last axis."""
    return np.asarray(samples.mean(axis=-1))


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.float64],
    rng: Rng,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]] = mean_of_rows,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic.

    Cases are drawn with replacement, as many as there are; the interval spans the middle `confidence` of the
    statistic's values over the resamples. Its ends are order statistics, not interpolated, so infinite values stay
    what they are.
    Bradley Efron, "Bootstrap methods: another look at the jackknife", 1979, doi:10.1214/aos/1176344552.

    Args:
        values: one a case; undefined ones (NaN) are left out.
        rng: the key of the resampling; the same key and values give the same interval.
        confidence: between 0 and 1.
        resamples: how many times to draw.
        statistic: (resamples, cases) -> (resamples,); the mean unless given.

    Returns:
        The lower and the upper end; NaN twice where fewer than two values are defined, since one case shows no spread.

    Raises:
        BadArgument: `confidence` or `resamples` is out of its domain.
    """
    check_bootstrap(confidence, resamples)
    sample = np.asarray(values, dtype=np.float64).reshape(-1)
    sample = sample[~np.isnan(sample)]
    if sample.size < 2:
        return math.nan, math.nan
    generator = rng.generator()
    step = max(1, _AT_ONCE // sample.size)
    drawn = np.empty(resamples)
    for start in range(0, resamples, step):
        n = min(step, resamples - start)
        drawn[start : start + n] = statistic(sample[generator.integers(0, sample.size, size=(n, sample.size))])
    return _middle(drawn, confidence)


def bootstrap_cases(
    statistic: Callable[[NDArray[np.int64]], float],
    cases: int,
    rng: Rng,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic that takes whole cases, such as an area under a curve.

    Args:
        statistic: the numbers of the cases drawn, (cases,) from 0 to cases - 1 with repetitions, -> its value; an
            undefined one (NaN) drops the resample.
        cases: how many there are.
        rng: as for `bootstrap_interval`.
        confidence: as for `bootstrap_interval`.
        resamples: as for `bootstrap_interval`.

    Returns:
        As for `bootstrap_interval`; NaN twice where fewer than two resamples are defined, too.

    Raises:
        BadArgument: as for `bootstrap_interval`.

    Example:
        >>> truth, score = np.array([0, 0, 1, 1, 1, 0]), np.array([0.1, 0.6, 0.4, 0.8, 0.9, 0.2])
        >>> from medframe.metrics import roc_auc
        >>> lo, hi = bootstrap_cases(lambda drawn: roc_auc(truth[drawn], score[drawn]), 6, Rng("auc"))
        >>> lo < roc_auc(truth, score) <= hi
        True
    """
    check_bootstrap(confidence, resamples)
    if cases < 2:
        return math.nan, math.nan
    generator = rng.generator()
    drawn = np.array([statistic(generator.integers(0, cases, size=cases)) for _ in range(resamples)], dtype=np.float64)
    return _middle(drawn[~np.isnan(drawn)], confidence)


def check_bootstrap(confidence: float, resamples: int) -> None:
    """Raise BadArgument unless the confidence lies between 0 and 1 and there is a resample."""
    if not 0 < confidence < 1:
        raise BadArgument("not a confidence level", where="confidence", found=confidence, due="between 0 and 1")
    if resamples < 1:
        raise BadArgument("too few resamples", where="resamples", found=resamples, due="at least 1")


def _middle(drawn: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    if drawn.size < 2:
        return math.nan, math.nan
    drawn = np.sort(drawn)
    cut = math.floor((1 - confidence) / 2 * drawn.size + 1e-9)  # the nudge undoes rounding: 0.025 of 2000 is 50
    return float(drawn[cut]), float(drawn[-1 - cut])
