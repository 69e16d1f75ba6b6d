"""One training on one or several ranks; `torchrun rank_script.py FOLDER` or by child_server.py."""

import io
import json
import math
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from medframe.engines import TrainStep, ignite_engine, join_ranks, leave_ranks, train, trainer, wrap
from medframe.handlers import (
    BestModel,
    Checkpoint,
    CSVLog,
    EarlyStop,
    ProgressBar,
    Schedule,
    Signals,
    TimeBudget,
    Validate,
    WarmupStableDecay,
    resume,
)

BATCH = 4  # over all ranks


class Share:
    """This rank's part of every batch."""

    def __init__(self, start, ranks, bad=None):
        self.start, self.ranks, self.bad = start, ranks, bad

    def __iter__(self):
        k, size = self.start // BATCH, BATCH // self.ranks.world
        while True:
            generator = torch.Generator().manual_seed(k)
            images = torch.randn(BATCH, 1, 8, 8, 8, generator=generator)
            labels = torch.randint(0, 2, (BATCH, 8, 8, 8), generator=generator)
            if k == self.bad:
                images[-1] = math.nan  # the last rank's
            mine = slice(self.ranks.rank * size, (self.ranks.rank + 1) * size)
            cases = [f"case-{BATCH * k + i}" for i in range(BATCH)]
            yield {"image": images[mine], "label": labels[mine], "case": cases[mine]}
            k += 1


def run(folder, *, steps=9, tell=None, bad=None, minutes=None, patience=100):
    """Train with every handler there is and write what this rank saw to result-RANK.json."""
    ranks = join_ranks("cpu")
    written = []
    sys.addaudithook(lambda name, args: written.append([name, str(args[0])]) if _writes(name, args, folder) else None)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv3d(4, 2, 1))
    optimiser = torch.optim.AdamW(net.parameters(), 0.02)
    step = TrainStep(wrap(net), nn.CrossEntropyLoss(), optimiser, accumulate=2, clip=0.5, ema=0.9)
    state = resume(folder, step)
    engine = trainer(step, state)
    events = ignite_engine().Events
    curve = WarmupStableDecay(warmup=2, decay=0.5)
    now = [0.0]

    def pass_time():
        now[0] += 0.5 + ranks.rank  # another pace on every rank

    engine.add_event_handler(events.ITERATION_STARTED, pass_time)
    handlers = [
        Signals(),
        Schedule(step, curve),
        Validate(3, lambda: {"score": (1.0 if ranks.rank == 0 else -1.0) * step.iterations}),
        BestModel(folder, step, "score"),
        EarlyStop("score", patience, larger=False),
        CSVLog(os.path.join(folder, "log.csv"), step),
        ProgressBar(io.StringIO()),
        Checkpoint(folder, step, 4),
    ]
    if minutes is not None:
        handlers.append(TimeBudget(minutes, curve, reserve=0.0, clock=lambda: now[0]))
    for handler in handlers:
        handler.attach(engine)
    losses = []
    engine.add_event_handler(events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output["loss"]))
    if tell is not None and ranks.rank == ranks.world - 1:
        engine.add_event_handler(events.ITERATION_STARTED(once=tell), lambda: os.kill(os.getpid(), signal.SIGTERM))
    error = ""
    try:
        data = Share(step.samples, ranks, bad)
        train(engine, data, steps=steps if minutes is None else None, epoch_length=5)
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
    finally:
        result = {
            "losses": losses,
            "from": state.iteration if state else 0,
            "iterations": step.iterations,
            "samples": step.samples,
            "metrics": engine.state.metrics,
            "weights": [float(p.detach().double().square().sum()) for p in step.eval_model.parameters()],
            "written": list(written),
            "error": error,
        }
        Path(f"{folder}-result-{ranks.rank}.json").write_text(json.dumps(result))
        leave_ranks()


def _writes(name, args, folder):
    if name == "open":
        path, mode = str(args[0]), args[1]
        return path.startswith(folder) and isinstance(mode, str) and any(m in mode for m in "wax+")
    return name in ("os.rename", "os.remove", "os.mkdir") and str(args[0]).startswith(folder)


if __name__ == "__main__":
    run(sys.argv[1])
