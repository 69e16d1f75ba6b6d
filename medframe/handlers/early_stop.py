"""An end when nothing improves any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medframe.base.errors import BadArgument
from medframe.engines.events import VALIDATED, ignite_engine
from medframe.engines.progress import notes
from medframe.handlers.best import is_better, score_of

if TYPE_CHECKING:
    from ignite.engine import Engine


@dataclass(frozen=True)
class EarlyStop:
    """Stop after `patience` validations in a row without a better score.

    A score that is NaN or infinite is no better one. A resumed run that was stopped stays stopped.

    Args:
        score: its name among the scores of `Validate`.
        patience: validations.
        larger: whether larger is better.
        least: what a score has to be better by.

    Raises:
        BadArgument: at the first validation, when there is no such score.
    """

    score: str
    patience: int
    larger: bool = True
    least: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise BadArgument("patience is at least one validation", where="patience", found=self.patience)

    def attach(self, engine: Engine) -> None:
        """Act on an engine that has a `Validate`."""
        engine.add_event_handler(VALIDATED, self._judge)
        engine.add_event_handler(ignite_engine().Events.STARTED, self._stop_if_over)

    def _judge(self, engine: Engine) -> None:
        value, kept = score_of(engine, self.score), notes(engine, f"EarlyStop {self.score}")
        if is_better(value, kept.get("best"), self.larger, self.least):
            kept.update(best=value, waited=0)
        else:
            kept["waited"] = kept.get("waited", 0) + 1
        self._stop_if_over(engine)

    def _stop_if_over(self, engine: Engine) -> None:
        if notes(engine, f"EarlyStop {self.score}").get("waited", 0) >= self.patience:
            engine.terminate()
