"""The weights of the best validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medframe.base.errors import BadArgument
from medframe.engines.distributed import is_first
from medframe.engines.events import VALIDATED
from medframe.engines.progress import notes
from medframe.engines.steps import TrainStep
from medframe.engines.weights import write_weights

if TYPE_CHECKING:
    from ignite.engine import Engine


@dataclass(frozen=True, eq=False)
class BestModel:
    """Keep the weights with the best score as one safetensors file, next to `extra` and the score.

    They are those of `TrainStep.eval_model`. A score that is NaN or infinite is never best. Read the file with
    `medframe.engines.read_weights`.

    Args:
        folder: where.
        step: whose model it is.
        score: its name among the scores of `Validate`.
        larger: whether larger is better.
        file: the file's name.
        extra: plain JSON to keep with the weights.

    Raises:
        BadArgument: at the first validation, when there is no such score.
        NotFinite: a weight is not finite; the file is left as it was.
    """

    folder: Path | str
    step: TrainStep
    score: str
    larger: bool = True
    file: str = "best.safetensors"
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.folder) / self.file

    def attach(self, engine: Engine) -> None:
        """Act on an engine that has a `Validate`."""
        engine.add_event_handler(VALIDATED, self._compare)

    def _compare(self, engine: Engine) -> None:
        value = score_of(engine, self.score)
        kept = notes(engine, f"BestModel {self.file}")
        if not is_better(value, kept.get("score"), self.larger):
            return
        if is_first():
            about = {"score": value, "name": self.score, "iteration": engine.state.iteration}
            write_weights(self.path, self.step.eval_model, {"precision": self.step.precision, **self.extra, **about})
        kept.update(score=value, iteration=engine.state.iteration)


def score_of(engine: Engine, name: str) -> float:
    """A score of the last validation.

    Raises:
        BadArgument: there is none of that name.
    """
    scores = engine.state.metrics
    if name not in scores:
        raise BadArgument("there is no such score", found=name, due=" or ".join(map(str, scores)) or "any score")
    return float(scores[name])


def is_better(value: float, best: float | None, larger: bool, least: float = 0.0) -> bool:
    """Whether a score is finite and better than the best so far by more than `least`; the first finite one is."""
    if not math.isfinite(value):
        return False
    if best is None:
        return True
    return value - best > least if larger else best - value > least
