"""Parameters that may be random: a plain value is fixed, a pair `(lo, hi)` is a range, a distribution is itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument

Size: TypeAlias = int | tuple[int, ...] | None


@runtime_checkable
class Distribution(Protocol):
    """Anything with `sample(generator, size)` and honest `bounds`."""

    @property
    def bounds(self) -> tuple[float, float]: ...

    def sample(self, generator: np.random.Generator, size: Size) -> NDArray[np.float64]: ...


Range: TypeAlias = float | tuple[float, float] | Distribution


@dataclass(frozen=True)
class Normal:
    """A normal distribution, cut at `limit` standard deviations so that its bounds are honest."""

    mean: float = 0.0
    std: float = 1.0
    limit: float = 3.0

    @property
    def bounds(self) -> tuple[float, float]:
        return self.mean - self.limit * self.std, self.mean + self.limit * self.std

    def sample(self, generator: np.random.Generator, size: Size) -> NDArray[np.float64]:
        return np.clip(generator.normal(self.mean, self.std, size), *self.bounds)


@dataclass(frozen=True)
class LogUniform:
    """Uniform in the logarithm: as much chance from 0.5 to 1 as from 1 to 2."""

    lo: float
    hi: float

    def __post_init__(self) -> None:
        if not 0 < self.lo <= self.hi:
            raise BadArgument("LogUniform needs 0 < lo <= hi", found=f"lo={self.lo}, hi={self.hi}")

    @property
    def bounds(self) -> tuple[float, float]:
        return self.lo, self.hi

    def sample(self, generator: np.random.Generator, size: Size) -> NDArray[np.float64]:
        return np.exp(np.asarray(generator.uniform(math.log(self.lo), math.log(self.hi), size)))


@dataclass(frozen=True)
class OneOfValues:
    """One of a few values, each as likely as the others."""

    values: tuple[float, ...]

    @property
    def bounds(self) -> tuple[float, float]:
        return min(self.values), max(self.values)

    def sample(self, generator: np.random.Generator, size: Size) -> NDArray[np.float64]:
        return np.asarray(generator.choice(np.asarray(self.values, float), size=size))


def sample(range_: Range, generator: np.random.Generator, size: Size) -> NDArray[np.float64]:
    """Draw from any kind of range."""
    if isinstance(range_, tuple):
        lo, hi = range_
        return np.asarray(generator.uniform(lo, hi, size))
    if isinstance(range_, int | float):
        return np.full(() if size is None else size, float(range_))
    return np.asarray(range_.sample(generator, size))


def bounds(range_: Range) -> tuple[float, float]:
    """The smallest and the largest value a range can give."""
    if isinstance(range_, tuple):
        return float(range_[0]), float(range_[1])
    if isinstance(range_, int | float):
        return float(range_), float(range_)
    return range_.bounds


def is_fixed(range_: Range) -> bool:
    """Whether a range always gives the same value."""
    lo, hi = bounds(range_)
    return lo == hi


def check_range(name: str, range_: object, lo: float = -math.inf, hi: float = math.inf) -> None:
    """Raise unless `range_` is a number, an ordered pair or a distribution within [lo, hi].

    Args:
        name: what the parameter is called, for the message.
        range_: the value to check.
        lo: the smallest value allowed.
        hi: the largest value allowed.

    Raises:
        BadArgument: with the value found and the domain due.
    """
    due = f"a number, a pair (lo, hi) or a distribution within [{lo:g}, {hi:g}]"
    ok = isinstance(range_, Distribution) or (isinstance(range_, int | float) and not isinstance(range_, bool))
    if isinstance(range_, tuple):
        ok = len(range_) == 2 and all(isinstance(v, int | float) for v in range_) and range_[0] <= range_[1]
    if ok:
        low, high = bounds(range_)  # type: ignore[arg-type]  # checked just above
        ok = math.isfinite(low) and math.isfinite(high) and lo <= low and high <= hi
    if not ok:
        raise BadArgument(f"{name} is not a valid range", found=repr(range_), due=due)
