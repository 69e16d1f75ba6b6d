"""How far a training is: what handlers remember, how long it goes on, and where it is taken up again.

Handlers keep nothing on themselves. What they have to remember stands in notes on the engine's state, as plain JSON
values, so that a checkpoint holds all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medframe.base.errors import BadArgument

if TYPE_CHECKING:
    from ignite.engine import Engine


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands, as a checkpoint tells it; `trainer` takes it up.

    Args:
        iteration: batches seen.
        samples: samples seen, over all ranks. The data stream goes on there; where each of its draws gives n samples
            (several crops of a case), at the n-th part.
        epoch_length: iterations counted as an epoch; None when unknown.
        max_iters: iterations in all, when the run is counted in iterations.
        max_epochs: epochs in all, when it is counted in epochs.
        notes: what handlers remember.
        extra: what the caller stored.
        path: the checkpoint; None for a state made by hand.
    """

    iteration: int
    samples: int
    epoch_length: int | None = None
    max_iters: int | None = None
    max_epochs: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.iteration // self.epoch_length if self.epoch_length else 0


def notes(engine: Engine, name: str) -> dict[str, Any]:
    """What the handler `name` remembers: a dictionary of JSON values that it may change.

    The dictionaries of all handlers are saved with every checkpoint and are back after a resume.
    """
    every: dict[str, dict[str, Any]] | None = getattr(engine.state, "notes", None)
    if every is None:
        every = engine.state.notes = {}  # type: ignore[attr-defined]  # a State takes any attribute
    return every.setdefault(name, {})


def total_steps(engine: Engine | None) -> int | None:
    """How many iterations the run will have, or None when that is not known (yet)."""
    if engine is None:
        return None
    state = engine.state
    if state.max_iters is not None:
        return int(state.max_iters)
    if state.max_epochs is not None and state.epoch_length is not None:
        return int(state.max_epochs * state.epoch_length)
    return None


def set_total_steps(engine: Engine, steps: int) -> None:
    """Lengthen or shorten a run, also while it goes on.

    Raises:
        BadArgument: more iterations than that are done already.
    """
    if steps < max(1, engine.state.iteration):
        raise BadArgument("the run is longer already", found=steps, due=f"at least {max(1, engine.state.iteration)}")
    engine.state.max_iters = steps
    engine.state.max_epochs = None
