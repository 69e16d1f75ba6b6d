"""The moments at which logs write a row, and the mean loss since the last one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from medframe.engines.events import VALIDATED, ignite_engine
from medframe.engines.progress import total_steps

if TYPE_CHECKING:
    from ignite.engine import Engine


def each_interval(engine: Engine, act: Callable[[Engine], None]) -> None:
    """Call `act` after every validation; on an engine without `Validate`, after every epoch and the last iteration."""

    def epoch_done(engine: Engine) -> None:
        if getattr(engine.state, "validates", False):
            return
        # told from the iteration and not from the event: a run that is stopped at an epoch's end fires none
        length, iteration = engine.state.epoch_length, engine.state.iteration
        if (length and iteration % length == 0) or iteration == total_steps(engine):
            act(engine)

    engine.add_event_handler(VALIDATED, act)
    engine.add_event_handler(ignite_engine().Events.ITERATION_COMPLETED, epoch_done)


def add_loss(engine: Engine, kept: dict[str, Any]) -> None:
    """Add the iteration's loss to the notes of a handler, once however often it is called."""
    if kept.get("at") != engine.state.iteration:
        output: Any = engine.state.output
        kept.update(
            at=engine.state.iteration, sum=kept.get("sum", 0.0) + output["loss"], count=kept.get("count", 0) + 1
        )


def take_mean_loss(engine: Engine, kept: dict[str, Any]) -> float:
    """The mean loss since the last call, this iteration's included."""
    add_loss(engine, kept)
    count = int(kept["count"])
    mean = float(kept["sum"]) / count if count else float("nan")
    kept.update(sum=0.0, count=0)
    return mean
