"""Scores at intervals."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medframe.base.errors import BadArgument
from medframe.engines.distributed import from_first
from medframe.engines.events import VALIDATED, ignite_engine
from medframe.engines.progress import total_steps

if TYPE_CHECKING:
    from ignite.engine import Engine


@dataclass(frozen=True, eq=False)
class Validate:
    """Every so many iterations, and after the last one, take scores; then fire the event "validated".

    The scores stand in `engine.state.metrics` under their names. `BestModel`, `EarlyStop` and the logs listen to the
    event. With several ranks `run` is called on each, and the first rank's scores are everyone's.

    Args:
        every: iterations between validations.
        run: gives the scores; NaN is allowed.
        at_end: also after the last iteration.
        share: of the time since training began that validations may take, for runs with a time budget: one that would
            pass it is left out. None for no bound: then what happens does not depend on the machine.
        clock: seconds that only rise.
    """

    every: int
    run: Callable[[], Mapping[str, float]]
    at_end: bool = True
    share: float | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if self.every < 1:
            raise BadArgument("at least one iteration between validations", where="every", found=self.every)
        if self.share is not None and not 0 < self.share <= 1:
            raise BadArgument("not a share of the time", where="share", found=self.share, due="above 0, at most 1")

    def attach(self, engine: Engine) -> None:
        """Act on an engine."""
        engine.state.validates = True  # type: ignore[attr-defined]  # logs then wait for scores
        spent: list[float] = []  # seconds of each validation
        begun: list[float] = []

        def validate(engine: Engine) -> None:
            iteration = engine.state.iteration
            last = self.at_end and iteration == total_steps(engine)
            if not last and (iteration % self.every or not from_first(self._affords(begun[0], spent))):
                return
            start = self.clock()
            scores = from_first({str(name): float(value) for name, value in (self.run() or {}).items()})
            spent.append(self.clock() - start)
            engine.state.metrics.update(scores)
            engine.fire_event(VALIDATED)

        events = ignite_engine().Events
        engine.add_event_handler(events.STARTED, lambda _: begun.append(self.clock()))
        engine.add_event_handler(events.ITERATION_COMPLETED, validate)

    def _affords(self, begun: float, spent: Sequence[float]) -> bool:
        if self.share is None or not spent:
            return True
        return sum(spent) + spent[-1] <= self.share * (self.clock() - begun + spent[-1])
