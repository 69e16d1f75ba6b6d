"""The learning rate of every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medframe.base.errors import BadArgument
from medframe.engines.events import ignite_engine
from medframe.engines.progress import total_steps
from medframe.engines.steps import TrainStep
from medframe.handlers.curves import Curve

if TYPE_CHECKING:
    from ignite.engine import Engine


@dataclass(frozen=True, eq=False)
class Schedule:
    """Set the learning rate before every step, as a pure function of the iteration and of the run's length.

    The highest rate of each parameter group is the one the optimiser was made with; it is kept as "initial_lr" in the
    group, and with it in checkpoints. With `accumulate` the rate of an update is that of its last batch.

    Args:
        step: whose optimiser it is.
        curve: such as `WarmupStableDecay(warmup=50, decay=0.5)`.
    """

    step: TrainStep
    curve: Curve

    def attach(self, engine: Engine) -> None:
        """Act on an engine."""
        for group in self.step.optimiser.param_groups:
            group.setdefault("initial_lr", float(group["lr"]))
        engine.add_event_handler(ignite_engine().Events.ITERATION_STARTED, self._set)

    def _set(self, engine: Engine) -> None:
        total = total_steps(engine)
        if total is None:
            raise BadArgument("a schedule needs the run's length", mend="Call train(engine, data, steps=...).")
        factor = self.curve.factor(engine.state.iteration - 1, total)
        for group in self.step.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
