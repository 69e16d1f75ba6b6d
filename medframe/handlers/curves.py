"""Learning-rate curves: pure functions of the iteration and of the number of iterations in all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from medframe.base.errors import BadArgument


class Curve(Protocol):
    """What a schedule follows. Iterations are counted from 0."""

    def factor(self, iteration: int, total: int) -> float:
        """What the highest learning rate is multiplied by."""
        ...

    def decay_start(self, total: int) -> int:
        """The first iteration whose factor depends on `total`; until then the total may change."""
        ...


@dataclass(frozen=True)
class _Warm:
    """What all curves share.

    Args:
        warmup: iterations over which the rate rises in equal steps, the last of them the highest.
        floor: the factor at the end.
    """

    warmup: int = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise BadArgument("warm-up is a number of iterations", where="warmup", found=self.warmup)
        if not 0 <= self.floor <= 1:
            raise BadArgument("the floor is a share", where="floor", found=self.floor, due="0 to 1")

    def decay_start(self, total: int) -> int:
        return self.warmup

    def factor(self, iteration: int, total: int) -> float:
        rise = (iteration + 1) / self.warmup if iteration < self.warmup else 1.0
        start = self.decay_start(total)
        # the last iteration still learns: the floor would be reached one after it
        along = (iteration - start) / max(1, total - start)
        fall = self.floor + (1 - self.floor) * self._shape(min(1.0, along)) if along > 0 else 1.0
        return min(rise, fall)

    def _shape(self, along: float) -> float:
        """From 1 at 0 to 0 at 1."""
        return 1.0


@dataclass(frozen=True)
class Constant(_Warm):
    """No decay at all."""

    def decay_start(self, total: int) -> int:
        return total


@dataclass(frozen=True)
class Cosine(_Warm):
    """Half a cosine wave from the end of the warm-up to the end.

    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, arXiv:1608.03983;
    without restarts.
    """

    def _shape(self, along: float) -> float:
        return (1 + math.cos(math.pi * along)) / 2


@dataclass(frozen=True)
class Polynomial(_Warm):
    """(1 - t)^power from the end of the warm-up to the end.

    L.-C. Chen et al., "DeepLab", IEEE TPAMI 40, 2018, doi:10.1109/TPAMI.2017.2699184; with power 0.9 also nnU-Net's.

    Args:
        warmup: iterations of rising rate.
        floor: the factor at the end.
        power: 1 for a straight line.
    """

    power: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.power > 0:
            raise BadArgument("the power is positive", where="power", found=self.power)

    def _shape(self, along: float) -> float:
        return float((1 - along) ** self.power)


@dataclass(frozen=True)
class WarmupStableDecay(_Warm):
    """Constant after the warm-up, then a straight line down to the floor over the last share of all iterations.

    Until the decay begins nothing depends on the total, so a run can be lengthened or shortened. S. Hu et al.,
    "MiniCPM", COLM 2024, arXiv:2404.06395; A. Haegele et al., "Scaling laws and compute-optimal training beyond fixed
    training durations", NeurIPS 2024, arXiv:2405.18392.

    Args:
        warmup: iterations of rising rate.
        floor: the factor at the end.
        decay: share of all iterations, 0 to 1.
    """

    decay: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decay <= 1:
            raise BadArgument("the decay is a share of the run", where="decay", found=self.decay, due="0 to 1")

    def decay_start(self, total: int) -> int:
        return total - round(self.decay * total)

    def _shape(self, along: float) -> float:
        return 1 - along
