"""A training that ends in time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medframe.base.errors import BadArgument, MedframeWarning
from medframe.engines.distributed import from_first
from medframe.engines.events import ignite_engine
from medframe.engines.progress import notes, set_total_steps
from medframe.handlers.curves import Curve

if TYPE_CHECKING:
    from ignite.engine import Engine


@dataclass(frozen=True, eq=False)
class TimeBudget:
    """Measure the time of an iteration and choose the number of iterations so that training ends inside the budget.

    The time is that between iterations, so data, validation and checkpoints are in it. The number is chosen anew after
    every iteration until the curve's decay begins, and is fixed from then on, also over a resume. Time is carried over
    a resume; the time between the runs does not count. Should the budget end before the fixed number is done (the
    machine became slower), the next iteration is the last and a MedframeWarning says so.

    Args:
        minutes: the budget, from the start of the training to the end of its last iteration.
        curve: that of the `Schedule`; it says where the decay begins.
        reserve: share of the budget that is not planned for, against slower moments and a last validation.
        warm: iterations at the start of each run that are not measured, at least 1.
        clock: seconds that only rise.
    """

    minutes: float
    curve: Curve
    reserve: float = 0.03
    warm: int = 3
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if not self.minutes > 0:
            raise BadArgument("a budget is a positive time", where="minutes", found=self.minutes)
        if not 0 <= self.reserve < 1:
            raise BadArgument("the reserve is a share", where="reserve", found=self.reserve, due="0 to below 1")
        if self.warm < 1:
            raise BadArgument("the first iteration cannot be measured", where="warm", found=self.warm, due="at least 1")

    def attach(self, engine: Engine) -> None:
        """Act on an engine; `train` then needs no `steps`."""
        kept = notes(engine, "TimeBudget")
        kept.setdefault("elapsed", 0.0)
        kept.setdefault("fixed", False)
        begun: list[tuple[float, float]] = []  # the clock, and the seconds spent before
        first: list[tuple[float, int]] = []  # the clock and the iteration from which on time is measured

        def start(engine: Engine) -> None:
            begun[:] = [(self.clock(), notes(engine, "TimeBudget")["elapsed"])]
            first.clear()

        def measure(engine: Engine) -> None:
            kept, now, iteration = notes(engine, "TimeBudget"), self.clock(), engine.state.iteration
            kept["elapsed"] = begun[0][1] + now - begun[0][0]
            if not first:
                first.append((now, iteration + self.warm - 1))
            if iteration <= first[0][1]:
                first[0] = (now, first[0][1])
                return
            seconds = (now - first[0][0]) / (iteration - first[0][1])
            self._choose(engine, seconds)

        events = ignite_engine().Events
        engine.add_event_handler(events.STARTED, start)
        engine.add_event_handler(events.ITERATION_COMPLETED, measure)

    def _choose(self, engine: Engine, seconds: float) -> None:
        """Set the number of iterations, from the seconds one takes; the first rank decides for all."""
        kept, iteration = notes(engine, "TimeBudget"), engine.state.iteration
        budget = self.minutes * 60
        left = budget * (1 - self.reserve) - kept["elapsed"]
        planned = iteration + max(1, int(left / max(seconds, 1e-9)))
        total, over = from_first([planned, kept["elapsed"] >= budget])
        if not kept["fixed"]:
            set_total_steps(engine, total)
            kept["fixed"] = iteration >= self.curve.decay_start(total)
        elif over and (missing := (engine.state.max_iters or 0) - iteration) > 1:
            set_total_steps(engine, iteration + 1)
            text = f"the time budget of {self.minutes:g} minutes is spent; {missing - 1} planned steps are left out"
            warnings.warn(text, MedframeWarning, stacklevel=2)
