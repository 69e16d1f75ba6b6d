"""What the parts of `fit` share."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from medframe.data import Record
from medframe.plan.config import RunConfig

CASES = "cases.json"
LOG = "log.csv"
REPORT = "report.html"
SCORES = "scores.csv"
SETTINGS = "run.yaml"
SURVEY = "survey.json"
SURVEYED = ".surveyed"
CACHE, CHECKPOINTS, HELD_OUT = "cache", "checkpoints", "held_out"


@dataclass(frozen=True)
class Cases:
    """Which case plays which part. Held-out cases decide nothing; monitor cases choose the best weights."""

    train: tuple[Record, ...]
    monitor: tuple[Record, ...]
    held_out: tuple[Record, ...]


@dataclass(frozen=True, eq=False)
class Job:
    """A run in the making.

    Args:
        folder: where everything is written.
        config: the settings.
        cases: which case plays which part.
        progress: show what happens.
        begun: the clock (`time.monotonic`) when the command began.
    """

    folder: Path
    config: RunConfig
    cases: Cases
    progress: bool
    begun: float

    def say(self, text: str) -> None:
        """Tell the user."""
        if self.progress:
            print(f"medframe: {text}", file=sys.stderr, flush=True)
