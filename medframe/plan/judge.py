"""After training: the held-out cases are predicted, scored and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from medframe.base.extras import need
from medframe.data import Record
from medframe.handlers.csv_log import read_log
from medframe.image import Image, LabelMap
from medframe.io import read, write
from medframe.metrics import Row, Table
from medframe.plan.evaluate import score_pair, write_scores
from medframe.plan.job import HELD_OUT, LOG, REPORT, SCORES, SETTINGS, Job
from medframe.plan.predict import Predictor
from medframe.plan.report import write_report
from medframe.transforms.files import load

# other methods' Dice on the held-out cases, asked for at the end: name -> class -> Dice
Baselines: TypeAlias = Callable[[], Mapping[str, Mapping[str, float]]]


def judge(job: Job, baselines: Baselines | None) -> Table:
    """Predict and score the held-out cases, and write the report."""
    config, cases, folder = job.config, job.cases, job.folder
    predictor = Predictor.load(folder)
    rows: list[Row] = []
    by_case = {record.case: record for record in cases.held_out}
    steps: Sequence[Record] | Any = cases.held_out
    if job.progress:
        steps = need("tqdm", "show progress").tqdm(steps, desc="held-out cases", unit="case", leave=False)
    for record in steps:
        if record.label is None:
            continue
        path = folder / HELD_OUT / f"{record.case}.nii.gz"
        if path.exists():
            found = read(path, LabelMap)
        else:
            found = predictor(record).labels
            write(found, path)
        rows += score_pair(record.case, found, read(record.label, LabelMap), config.classes)
    table = Table(rows)
    if len(table):
        write_scores(table, folder / SCORES)

    def show(case: str) -> tuple[Image, LabelMap, LabelMap]:
        record = by_case[case]
        assert record.label is not None  # only labelled cases are scored
        return load(record.images), read(record.label, LabelMap), read(folder / HELD_OUT / f"{case}.nii.gz", LabelMap)

    log = read_log(folder / LOG) if (folder / LOG).exists() else []
    notes = [f"Trained for {log[-1]['seconds'] / 60:.1f} minutes, {int(log[-1]['iteration'])} steps."] if log else []
    write_report(
        folder / REPORT,
        config=config,
        settings=(folder / SETTINGS).read_text(encoding="utf-8"),
        table=table,
        log=log,
        show=show,
        notes=notes,
        baselines=baselines() if baselines is not None else None,
    )
    for label, name in sorted(config.classes.items()):
        if label and len(table):
            values = table.values("dice", label)
            job.say(f"Dice {name}: {np.nanmean(values):.4f} over {np.isfinite(values).sum()} held-out cases")
    job.say(f"report: {folder / 'report.html'}")
    return table
