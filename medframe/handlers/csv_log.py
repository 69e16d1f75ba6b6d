"""A table of the training, one row an interval."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medframe.base.errors import BadFile
from medframe.base.files import append_line, write_text
from medframe.engines.distributed import is_first
from medframe.engines.events import ignite_engine
from medframe.engines.progress import notes
from medframe.engines.steps import TrainStep
from medframe.handlers.interval import add_loss, each_interval, take_mean_loss

if TYPE_CHECKING:
    from ignite.engine import Engine


@dataclass(frozen=True, eq=False)
class CSVLog:
    """One row after every validation; without `Validate`, after every epoch and the last iteration.

    Columns: iteration, epoch, loss (mean since the last row), learning_rate, seconds (of training, carried over a
    resume), then the scores. Rows are appended; a resumed run first drops those beyond the iteration it stands at,
    and a last line that a kill cut short. With several ranks the first one writes.

    Args:
        path: the file.
        step: whose learning rate is shown.
    """

    path: Path | str
    step: TrainStep

    def attach(self, engine: Engine) -> None:
        """Act on an engine."""
        begun: list[float] = []

        def start(engine: Engine) -> None:
            begun[:] = [time.monotonic() - notes(engine, "CSVLog").get("seconds", 0.0)]
            if is_first():
                self._trim(engine.state.iteration)

        def count(engine: Engine) -> None:
            kept = notes(engine, "CSVLog")
            add_loss(engine, kept)
            kept["seconds"] = time.monotonic() - begun[0]

        def row(engine: Engine) -> None:
            count(engine)
            kept = notes(engine, "CSVLog")
            values: dict[str, float] = {
                "iteration": engine.state.iteration,
                "epoch": engine.state.epoch,
                "loss": take_mean_loss(engine, kept),
                "learning_rate": float(self.step.optimiser.param_groups[0]["lr"]),
                "seconds": round(kept["seconds"], 3),
            }
            if is_first():
                self._append({**values, **engine.state.metrics})

        events = ignite_engine().Events
        engine.add_event_handler(events.STARTED, start)
        engine.add_event_handler(events.ITERATION_COMPLETED, count)
        each_interval(engine, row)

    def _trim(self, iteration: int) -> None:
        if Path(self.path).exists():
            kept = [row for row in read_log(self.path) if row["iteration"] <= iteration]
            write_text(self.path, _text(kept))

    def _append(self, row: Mapping[str, float]) -> None:
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        rows = read_log(self.path) if Path(self.path).exists() else []
        columns = list(rows[0]) if rows else []
        if columns == [*columns, *(c for c in row if c not in columns)]:
            append_line(self.path, _line([_cell(row.get(c, math.nan)) for c in columns]))
        else:  # the first row, or scores that were not there before
            write_text(self.path, _text([*rows, row]))


def read_log(path: Path | str) -> list[dict[str, float]]:
    """The rows of a `CSVLog`; empty cells are NaN, and a last line that was cut short is left out.

    Raises:
        BadFile: it cannot be read, or is no such table.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile("the log cannot be read", where=path, found=type(error).__name__) from None
    lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    if not lines:
        return []
    header, rows = lines[0], []
    if "iteration" not in header:
        raise BadFile("not a training log", where=path, found=",".join(header)[:80], due="a column iteration")
    for line in lines[1:]:
        with contextlib.suppress(ValueError):
            cells = [float(cell) if cell else math.nan for cell in line]
            rows.append(dict(zip(header, cells, strict=True)))
    return rows


def _text(rows: Sequence[Mapping[str, float]]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [_line(columns)] if columns else []
    lines += [_line([_cell(row.get(c, math.nan)) for c in columns]) for row in rows]
    return "".join(f"{line}\n" for line in lines)


def _line(cells: Sequence[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(cells)
    return stream.getvalue()


def _cell(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
