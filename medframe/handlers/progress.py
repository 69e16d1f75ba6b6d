"""How far it is, on the screen."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from medframe.base.extras import need
from medframe.engines.distributed import is_first
from medframe.engines.events import VALIDATED, ignite_engine
from medframe.engines.progress import notes, total_steps
from medframe.handlers.interval import add_loss, each_interval, take_mean_loss

if TYPE_CHECKING:
    from ignite.engine import Engine

_ENDLESS = 1 << 39  # a length that only says that it is not known yet


@dataclass(frozen=True, eq=False)
class ProgressBar:
    """A bar on a terminal; elsewhere (a log file, a job) one line after every validation or epoch.

    With several ranks the first one shows it.

    Args:
        stream: where; None for stderr.
    """

    stream: IO[str] | None = None

    def attach(self, engine: Engine) -> None:
        """Act on an engine."""
        if is_first():
            stream = self.stream or sys.stderr
            if stream.isatty():
                _attach_bar(engine, stream)
            else:
                _attach_lines(engine, stream)


def _attach_bar(engine: Engine, stream: IO[str]) -> None:
    tqdm = need("tqdm", "show progress").tqdm
    bars: list[Any] = []

    def start(engine: Engine) -> None:
        bars[:] = [tqdm(initial=engine.state.iteration, unit="step", file=stream, dynamic_ncols=True)]

    def update(engine: Engine) -> None:
        bars[0].total = _length(engine)
        bars[0].set_postfix({"loss": f"{_output(engine)['loss']:.4f}", **_scores(engine)}, refresh=False)
        bars[0].update()

    def refresh(engine: Engine) -> None:
        bars[0].refresh()

    def close(engine: Engine) -> None:
        bars[0].close()

    events = ignite_engine().Events
    engine.add_event_handler(events.STARTED, start)
    engine.add_event_handler(events.ITERATION_COMPLETED, update)
    engine.add_event_handler(VALIDATED, refresh)
    engine.add_event_handler(events.COMPLETED, close)


def _attach_lines(engine: Engine, stream: IO[str]) -> None:
    begun: list[tuple[float, int]] = []

    def start(engine: Engine) -> None:
        begun[:] = [(time.monotonic(), engine.state.iteration)]

    def count(engine: Engine) -> None:
        add_loss(engine, notes(engine, "ProgressBar"))

    def line(engine: Engine) -> None:
        loss = take_mean_loss(engine, notes(engine, "ProgressBar"))
        iteration, length = engine.state.iteration, _length(engine)
        seconds = (time.monotonic() - begun[0][0]) / max(1, iteration - begun[0][1])
        words = [f"step {iteration}" + (f"/{length}" if length else ""), f"loss {loss:.4f}"]
        words += [f"{name} {value}" for name, value in _scores(engine).items()]
        words.append(f"{seconds:.3g} s/step")
        if length:
            words.append(f"{(length - iteration) * seconds / 60:.1f} min left")
        stream.write("  ".join(words) + "\n")
        stream.flush()

    events = ignite_engine().Events
    engine.add_event_handler(events.STARTED, start)
    engine.add_event_handler(events.ITERATION_COMPLETED, count)
    each_interval(engine, line)


def _length(engine: Engine) -> int | None:
    total = total_steps(engine)
    return total if total is not None and total < _ENDLESS else None


def _output(engine: Engine) -> dict[str, Any]:
    output: Any = engine.state.output
    return output if isinstance(output, dict) else {"loss": float("nan")}


def _scores(engine: Engine) -> dict[str, str]:
    return {str(name): f"{value:.4f}" for name, value in engine.state.metrics.items()}
