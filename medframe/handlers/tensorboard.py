"""Curves in TensorBoard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medframe.base.errors import BadArgument
from medframe.base.extras import need
from medframe.engines.distributed import is_first
from medframe.engines.events import VALIDATED, ignite_engine
from medframe.engines.steps import TrainStep

if TYPE_CHECKING:
    from ignite.engine import Engine


@dataclass(frozen=True, eq=False)
class TensorBoardLog:
    """Loss and learning rate every so many iterations, and scores after every validation.

    A resumed run hides what was logged beyond the iteration it stands at. With several ranks the first one writes.

    Args:
        folder: of the event files.
        step: whose learning rate is shown.
        every: iterations between points.

    Raises:
        MissingPackage: when attached, if tensorboard is not installed.
    """

    folder: Path | str
    step: TrainStep
    every: int = 10

    def __post_init__(self) -> None:
        if self.every < 1:
            raise BadArgument("at least one iteration between points", where="every", found=self.every)

    def attach(self, engine: Engine) -> None:
        """Act on an engine."""
        if not is_first():
            return
        need("tensorboard", "log to TensorBoard")
        from torch.utils.tensorboard import SummaryWriter

        writers: list[Any] = []

        def start(engine: Engine) -> None:
            at = engine.state.iteration
            writers[:] = [SummaryWriter(str(self.folder), purge_step=at + 1 if at else None)]

        def point(engine: Engine) -> None:
            at = engine.state.iteration
            output: Any = engine.state.output
            if at % self.every == 0:
                writers[0].add_scalar("train/loss", output["loss"], at)
                writers[0].add_scalar("train/learning_rate", self.step.optimiser.param_groups[0]["lr"], at)

        def scores(engine: Engine) -> None:
            for name, value in engine.state.metrics.items():
                writers[0].add_scalar(f"validation/{name}", value, engine.state.iteration)
            writers[0].flush()

        def close(engine: Engine) -> None:
            writers[0].close()

        events = ignite_engine().Events
        engine.add_event_handler(events.STARTED, start)
        engine.add_event_handler(events.ITERATION_COMPLETED, point)
        engine.add_event_handler(VALIDATED, scores)
        engine.add_event_handler(events.COMPLETED, close)
