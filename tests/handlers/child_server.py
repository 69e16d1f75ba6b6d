"""Starts children for tests of killed processes: imports once, then forks for every line on stdin.

A line is JSON: {"call": name, "args": {...}}. The answers are "pid N" when the child was forked and "exit CODE" when it
ended (128 + n for signal n, as a shell tells it). Run by path, with the repository on PYTHONPATH.
"""

import ctypes
import json
import os
import socket
import sys
import warnings
from pathlib import Path

import rank_script
import torch
from torch import nn

from medframe.engines import TrainStep, ignite_engine, train, trainer
from medframe.handlers import BestModel, Checkpoint, CSVLog, Signals, Validate, resume

torch.set_num_threads(1)  # before anything runs in parallel: forked children must not wait for lost threads
ignite_engine()


class Numbered(torch.utils.data.Dataset):
    """Batch k as a function of k."""

    def __getitem__(self, k):
        generator = torch.Generator().manual_seed(k)
        images = torch.randn(2, 1, 8, 8, 8, generator=generator)
        labels = torch.randint(0, 2, (2, 8, 8, 8), generator=generator)
        return {"image": images, "label": labels, "case": [f"case-{2 * k}", f"case-{2 * k + 1}"]}


class From(torch.utils.data.Sampler):
    """start, start + 1, ... without an end."""

    def __init__(self, start):
        self.start = start

    def __iter__(self):
        k = self.start
        while True:
            yield k
            k += 1


def make_step(ballast):
    """A small network whose state is `ballast` numbers larger, twice, so that writing it takes time."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.1), nn.Conv3d(4, 2, 1))
    net.register_buffer("ballast", torch.ones(ballast))
    return TrainStep(net, nn.CrossEntropyLoss(), torch.optim.AdamW(net.parameters(), 1e-2), ema=0.9)


def run(folder, *, steps=10**6, every=1, workers=0, ballast=1, signals=False):
    """Train; acknowledge every checkpoint by a line in the file `acknowledged`."""
    step = make_step(ballast)
    state = resume(folder, step)
    engine = trainer(step, state)
    events = ignite_engine().Events
    Validate(10, lambda: {"score": float(step.iterations)}).attach(engine)
    BestModel(folder, step, "score").attach(engine)
    CSVLog(os.path.join(folder, "log.csv"), step).attach(engine)
    if signals:
        Signals().attach(engine)
    saver = Checkpoint(folder, step, every)
    saver.attach(engine)
    note = os.open(os.path.join(folder, "acknowledged"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def acknowledge():
        if saver.step.iterations == getattr(engine.state, "saved_iteration", None):
            os.write(note, f"saved {step.iterations}\n".encode())

    def done():
        os.write(note, f"done {step.iterations}\n".encode())

    engine.add_event_handler(events.GET_BATCH_STARTED, acknowledge)
    engine.add_event_handler(events.ITERATION_COMPLETED, done)
    start = step.samples // 2
    data = torch.utils.data.DataLoader(Numbered(), batch_size=None, sampler=From(start), num_workers=workers)
    train(engine, data, steps=steps, epoch_length=20)


def ranks(folder, world=2, **order):
    """Ranks of one training, as torchrun would start them; their exit codes go to codes.json."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(world):
        pid = os.fork()
        if pid == 0:
            end_with_parent()
            mine = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
            os.environ.update({k: str(v) for k, v in mine.items()})
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            leave(rank_script.run, folder=folder, **order)
        started.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
    Path(folder, "codes.json").write_text(json.dumps(codes))


def leave(call, **args):
    """Call and end the process, without what a fork inherited being ended too."""
    code = 1
    try:
        warnings.simplefilter("ignore")
        call(**args)
        code = 0
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        print(f"error {error!r}".replace("\n", " "), file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def warm_up():
    """What torch imports at the first update, once for all children."""
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.ones(1)
    torch.optim.AdamW([weight]).step()


def end_with_parent():
    """Ask Linux for SIGKILL when the parent dies, so that a test run that is killed leaves nothing behind."""
    ctypes.CDLL(None).prctl(1, 9)


def main():
    end_with_parent()
    warm_up()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            end_with_parent()
            os.setsid()
            leave(globals()[order["call"]], **order["args"])
        print(f"pid {pid}", flush=True)
        status = os.waitpid(pid, 0)[1]
        code = os.waitstatus_to_exitcode(status)
        print(f"exit {code if code >= 0 else 128 - code}", flush=True)


if __name__ == "__main__":
    main()
