"""Plain ignite engines around the steps."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from medframe.base.errors import BadArgument, BadDataset
from medframe.engines.eval_step import EvalStep
from medframe.engines.events import VALIDATED, ignite_engine
from medframe.engines.progress import TrainingState, notes, set_total_steps, total_steps
from medframe.engines.steps import TrainStep

if TYPE_CHECKING:
    from ignite.engine import Engine, State

_ENDLESS = 1 << 40


def trainer(step: TrainStep, resumed: TrainingState | None = None) -> Engine:
    """An engine that repeats a training step.

    Run it with `train`, or by ignite's own `engine.run(data, max_iters=..., epoch_length=...)`. ignite asks the data
    for one iterator and keeps it over epochs as long as it lasts, so `data` should be a loader over an endless stream
    of keys, which a resumed run starts at `resumed.samples`.

    Args:
        step: the step.
        resumed: what `resume` gave; the engine then goes on from there. None begins anew.

    Raises:
        MissingPackage: ignite is not installed.
    """
    module = ignite_engine()
    engine: Engine = _quiet(module.Engine(step))
    engine.register_events(VALIDATED)
    if resumed is not None:
        state = engine.state
        state.iteration, state.epoch, state.epoch_length = resumed.iteration, resumed.epoch, resumed.epoch_length
        state.max_iters, state.max_epochs = resumed.max_iters, resumed.max_epochs
        state.notes = copy.deepcopy(dict(resumed.notes))  # type: ignore[attr-defined]  # a State takes any attribute
        state.last_checkpoint = resumed.path  # type: ignore[attr-defined]
    events = module.Events
    engine.add_event_handler(events.STARTED, _check_start, step)
    began: list[int] = []  # the iteration at which the epoch began
    ended: list[int] = []  # the iteration at which the data gave nothing more

    def note_begin(engine: Engine) -> None:
        began[:] = [engine.state.iteration]

    def note_end(engine: Engine) -> None:
        ended[:] = [engine.state.iteration]

    def check_data(engine: Engine) -> None:
        # ignite would go on with empty epochs, for ever if the run is counted in iterations
        length, iteration = engine.state.epoch_length, engine.state.iteration
        if not length or began == [iteration] or (ended == [iteration] and iteration % length):
            raise BadDataset(
                "the data ended before the training did",
                found=f"nothing more after iteration {iteration}",
                due=f"{total_steps(engine) or 'more'} iterations",
                mend="Give a loader with at least one batch that can be iterated again, or an endless stream.",
            )

    engine.add_event_handler(events.EPOCH_STARTED, note_begin)
    engine.add_event_handler(events.DATALOADER_STOP_ITERATION, note_end)
    engine.add_event_handler(events.EPOCH_COMPLETED, check_data)
    return engine


def evaluator(step: EvalStep) -> Engine:
    """An engine that repeats an evaluation step; its answers are in `engine.state.output`, batch by batch.

    Raises:
        MissingPackage: ignite is not installed.
    """
    return _quiet(ignite_engine().Engine(step))


def train(engine: Engine, data: Iterable[Any], *, steps: int | None = None, epoch_length: int | None = None) -> State:
    """Run a trainer from where it stands to its end, whether it is new or resumed.

    Args:
        engine: from `trainer`, with its handlers attached.
        data: batches. A stream for a resumed engine starts at the next sample.
        steps: iterations in all, those done before a resume included. None: as the checkpoint says, or as a
            `TimeBudget` decides. Once the budget has begun the decay, `steps` is not heeded any more.
        epoch_length: iterations counted as an epoch; None: as the checkpoint says, else the length of `data`.

    Returns:
        The engine's state. A run that was complete already is not begun anew.

    Raises:
        BadArgument: the run would have no end.
    """
    state = engine.state
    budget = notes(engine, "TimeBudget")
    if epoch_length is not None and state.epoch_length not in (None, epoch_length):
        state.epoch_length, state.epoch = epoch_length, state.iteration // epoch_length
    if steps is not None and not budget.get("fixed", False):
        if state.iteration >= steps:
            return state
        set_total_steps(engine, steps)
    total = total_steps(engine)
    if total is None:
        if not budget:
            raise BadArgument("training needs an end", found="no steps", mend="Give steps=, or attach a TimeBudget.")
        total = _ENDLESS
    if state.iteration >= total:
        return state
    if state.iteration == 0:
        state.max_iters = state.max_epochs = None  # so that ignite makes a new state
        return engine.run(data, max_iters=total, epoch_length=epoch_length)
    set_total_steps(engine, total)
    return engine.run(data)


def _check_start(engine: Engine, step: TrainStep) -> None:
    if engine.state.iteration != step.iterations:
        raise BadArgument(
            "the engine and the step stand at different iterations",
            found=f"engine {engine.state.iteration}, step {step.iterations}",
            mend="Make a new TrainStep for a new run; to go on, use trainer(step, resumed) and train(engine, ...).",
        )


def _quiet(engine: Engine) -> Engine:
    # errors are raised; ignite would also print each of them to stderr
    engine.logger = logging.getLogger("medframe.engine")
    engine.logger.addHandler(logging.NullHandler())
    return engine
