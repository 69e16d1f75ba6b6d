"""Everything a training needs to go on, in one file at a time."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medframe.base.container import write_container
from medframe.base.errors import BadArgument
from medframe.base.files import sweep
from medframe.engines.distributed import is_first
from medframe.engines.events import ignite_engine
from medframe.engines.state import split_state
from medframe.engines.steps import TrainStep

if TYPE_CHECKING:
    from ignite.engine import Engine

KIND = "checkpoint"
FORMAT = 1
_NAME = re.compile(r"checkpoint-(\d{9,})\.safetensors")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Every so many iterations, and at the end, write one file from which `resume` goes on as if nothing had happened.

    The file holds weights and buffers, the optimiser's state, the loss scale, the running mean of the weights,
    gradients that wait for an update, all counts, the run's length, and what the handlers remember (best score,
    patience, time spent). The learning rate and all chance are functions of the iteration, so no schedule and no
    generator state is in it. It appears whole or not at all, and is checked when read.

    It is written when all other handlers of an iteration are done, in whatever order they were attached: a validation
    due at the same iteration is in it. With several ranks the first one writes.

    Args:
        folder: where; one folder a run. Temporary files of killed writers are removed at the start.
        step: the training step.
        every: iterations between files.
        keep: how many of the newest files are kept.
        extra: asked at every save for plain JSON to store; `resume` gives it back.

    Raises:
        BadArgument: at the start, when the folder holds later checkpoints than the run stands at.
        WriteFailed: the file could not be written; those before it are as they were.
    """

    folder: Path | str
    step: TrainStep
    every: int
    keep: int = 2
    extra: Callable[[], Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise BadArgument("at least one iteration between checkpoints", where="every", found=self.every)
        if self.keep < 1:
            raise BadArgument("at least one checkpoint has to be kept", where="keep", found=self.keep)

    def attach(self, engine: Engine) -> None:
        """Act on an engine."""
        events = ignite_engine().Events
        engine.add_event_handler(events.STARTED, self._start)
        # the next batch is asked for when all handlers of an iteration and of an epoch's end are done
        engine.add_event_handler(events.GET_BATCH_STARTED, self._if_due)
        engine.add_event_handler(events.TERMINATE, self._if_new)
        engine.add_event_handler(events.COMPLETED, self._if_new)

    def save(self, engine: Engine) -> None:
        """Write a checkpoint now. Between iterations only; every rank has to call it."""
        state = engine.state
        tensors, rest = split_state(self.step.state_dict())
        if is_first():
            about = {
                "format": FORMAT,
                "step": rest,
                "iteration": self.step.iterations,
                "samples": self.step.samples,
                "epoch_length": state.epoch_length,
                "max_iters": state.max_iters,
                "max_epochs": state.max_epochs,
                "notes": getattr(state, "notes", {}),
                "extra": dict(self.extra()) if self.extra is not None else {},
            }
            path = Path(self.folder) / f"checkpoint-{self.step.iterations:09d}.safetensors"
            write_container(path, KIND, tensors, about)
            state.last_checkpoint = path  # type: ignore[attr-defined]  # a State takes any attribute
            for old in checkpoints(self.folder)[self.keep :]:
                with contextlib.suppress(OSError):
                    old.unlink()
        state.saved_iteration = self.step.iterations  # type: ignore[attr-defined]

    def _start(self, engine: Engine) -> None:
        engine.state.saved_iteration = self.step.iterations  # type: ignore[attr-defined]
        if not is_first():
            return
        sweep(self.folder)
        later = [path for path in checkpoints(self.folder) if iteration_of(path) > self.step.iterations]
        if later:
            raise BadArgument(
                "the folder holds later checkpoints than this run stands at",
                where=self.folder,
                found=later[0].name,
                due=f"none after iteration {self.step.iterations}",
                mend="Go on with that run by resume(folder, step), or choose an empty folder.",
            )

    def _if_due(self, engine: Engine) -> None:
        if self.step.iterations % self.every == 0:
            self._if_new(engine)

    def _if_new(self, engine: Engine) -> None:
        if self.step.iterations != getattr(engine.state, "saved_iteration", None):
            self.save(engine)


def checkpoints(folder: Path | str) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    found = [path for path in Path(folder).glob("checkpoint-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=iteration_of, reverse=True)


def iteration_of(path: Path) -> int:
    """The iteration a checkpoint's name tells."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise BadArgument("not the name of a checkpoint", where=path, found=path.name)
    return int(match[1])
