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
    if not 0 < confidence < 1:
        raise BadArgument("not a confidence level", where="confidence", found=confidence, due="between 0 and 1")
    if resamples < 1:
        raise BadArgument("too few resamples", where="resamples", found=resamples, due="at least 1")
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
    drawn.sort()
    cut = math.floor((1 - confidence) / 2 * resamples + 1e-9)  # the nudge undoes rounding: 0.025 of 2000 is 50
    return float(drawn[cut]), float(drawn[-1 - cut])
