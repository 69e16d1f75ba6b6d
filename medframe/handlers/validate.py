"""Scores at intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """

    every: int
    run: Callable[[], Mapping[str, float]]
    at_end: bool = True

    def __post_init__(self) -> None:
        if self.every < 1:
            raise BadArgument("at least one iteration between validations", where="every", found=self.every)

    def attach(self, engine: Engine) -> None:
        """Act on an engine."""
        engine.state.validates = True  # type: ignore[attr-defined]  # logs then wait for scores
        engine.add_event_handler(ignite_engine().Events.ITERATION_COMPLETED, self._validate)

    def _validate(self, engine: Engine) -> None:
        iteration = engine.state.iteration
        if iteration % self.every and not (self.at_end and iteration == total_steps(engine)):
            return
        scores = from_first({str(name): float(value) for name, value in (self.run() or {}).items()})
        engine.state.metrics.update(scores)
        engine.fire_event(VALIDATED)
