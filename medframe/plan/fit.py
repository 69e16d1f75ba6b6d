"""From a dataset to a trained run: survey, plan, train, judge, report. Run again, it goes on where it stood."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medframe.base.errors import WriteFailed
from medframe.base.files import sweep
from medframe.data import read_cohort
from medframe.data.lock import alone
from medframe.engines import from_first, is_first, join_ranks, leave_ranks
from medframe.metrics import Table
from medframe.plan.config import RunConfig
from medframe.plan.job import REPORT, Job
from medframe.plan.judge import Baselines, judge
from medframe.plan.predict import WEIGHTS
from medframe.plan.prepare import Asked, check_cases, choose_cases, settle
from medframe.plan.training import train_network


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Args:
        folder: where everything lies.
        config: its settings.
        scores: of the held-out cases.
    """

    folder: Path
    config: RunConfig
    scores: Table

    @property
    def report(self) -> Path:
        """The report to look at."""
        return self.folder / REPORT


def fit(
    dataset: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    fold: int = 0,
    minutes: float | None = None,
    settings: Mapping[str, Any] | None = None,
    baselines: Baselines | None = None,
    progress: bool = True,
) -> Run:
    """Train a segmentation network on a dataset, and judge it on the cases held out.

    The run's folder holds `run.yaml` (every setting and why), `survey.json`, `cases.json`, `log.csv`, checkpoints,
    `model.safetensors` (the weights to use), predictions and scores of the held-out cases, and `report.html`. Calling
    it again with the same folder goes on from the newest checkpoint; a finished run is only reported again.

    Args:
        dataset: a folder (Decathlon, nnU-Net v2, or images/ and labels/) or a CSV list.
        out: the run's folder; default runs/<dataset>_fold<k>.
        fold: which fold to hold out.
        minutes: time for training, the survey and preparation included; default 15.
        settings: any settings of run.yaml by name.
        baselines: asked at the end for other methods' Dice, to stand beside the network's: name -> class -> Dice.
        progress: show what happens.

    Raises:
        BadDataset, BadFile, BadGeometry, BadLabel, BadVoxels: a case cannot be used; all are found before training.
        BadConfig: a setting is unknown or wrong, or differs from those the run was begun with.
        NotFinite: the loss or a gradient was not finite.
        WriteFailed: a file could not be written.
    """
    begun = time.monotonic()
    asked = Asked(fold, minutes, dict(settings or {}))
    source = Path(dataset)
    name = source.stem if source.is_file() else source.resolve().name
    folder = Path(out) if out is not None else Path("runs") / f"{name}_fold{fold}"
    cohort = read_cohort(source)  # before anything is written: a mistyped path leaves no folder behind
    torch.set_num_threads(int(asked.settings.get("threads", 0)) or os.cpu_count() or 1)
    ranks = join_ranks(str(asked.settings.get("device", "auto")))
    lock = folder / ".lock"
    try:
        with alone(lock, patience=0.5 if is_first() else 0.0) as held:
            if is_first() and not held and lock.exists():
                raise WriteFailed(
                    "another run is writing to this folder",
                    where=folder,
                    found="its lock is held",
                    mend="Wait for it, or choose another --out.",
                )
            progress = progress and is_first()
            if is_first():
                sweep(folder)
            config = settle(cohort, folder, asked, progress) if is_first() else None
            from_first(None)  # the others wait for run.yaml, and take the same settings from it
            if config is None:
                config = settle(cohort, folder, asked, progress)
            job = Job(folder, config, choose_cases(cohort, config), progress, begun)
            if is_first():
                check_cases(folder, job.cases)
            if not from_first((folder / WEIGHTS).exists()):
                train_network(job)
            table = judge(job, baselines) if is_first() else Table()
    finally:
        if ranks.world > 1:
            leave_ranks()
    return Run(folder, config, table)
