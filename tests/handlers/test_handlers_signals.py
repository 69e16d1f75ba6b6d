"""Being told to stop, politely and not."""

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from medframe.base import BadArgument
from medframe.base.container import read_container
from medframe.engines import ignite_engine, train, trainer
from medframe.handlers import Checkpoint, Signals, Validate, resume
from medframe.handlers.checkpoint import checkpoints, iteration_of
from medframe.handlers.csv_log import read_log

Events = ignite_engine().Events
MOMENTS = [
    Events.STARTED,
    Events.GET_BATCH_STARTED(once=2),
    Events.GET_BATCH_COMPLETED(once=2),
    Events.ITERATION_STARTED(once=3),
    Events.ITERATION_COMPLETED(once=4),
    Events.EPOCH_STARTED(once=2),
    Events.EPOCH_COMPLETED(once=1),
]


@pytest.fixture
def parts(make_step, stream):
    return make_step, stream


@pytest.mark.parametrize(("number", "signals_first"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: m.name)
def test_a_signal_at_any_moment_saves_and_leaves(tmp_path, parts, moment, number, signals_first):
    make_step, stream = parts
    # SIGCHLD is another matter: where a loader had torch listen to it, it is silenced for the end that follows
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    step = make_step(accumulate=2)
    engine = trainer(step)
    handlers = [Signals(), Checkpoint(tmp_path, step, 1000), Validate(4, dict)]
    for handler in handlers if signals_first else reversed(handlers):
        handler.attach(engine)
    told = []

    def tell():
        os.kill(os.getpid(), number)
        told.append(step.iterations)

    engine.add_event_handler(moment, tell)
    with pytest.raises(SystemExit) as left:
        train(engine, stream(), steps=10, epoch_length=4)
    assert left.value.code == 128 + number
    assert step.iterations <= told[0] + 1
    assert {s: signal.getsignal(s) for s in before} == before
    again = make_step(accumulate=2)
    state = resume(tmp_path, again)
    assert (state.iteration if state else 0) == step.iterations
    engine = trainer(again, state)
    train(engine, stream(again.samples), steps=10, epoch_length=4)
    assert again.iterations == 10


def test_a_second_ctrl_c_does_not_wait(make_step, stream):
    before = signal.getsignal(signal.SIGINT)
    step = make_step()
    engine = trainer(step)
    Signals().attach(engine)

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    engine.add_event_handler(Events.ITERATION_STARTED(once=2), twice)
    with pytest.raises(KeyboardInterrupt):
        train(engine, stream(), steps=10, epoch_length=4)
    assert step.iterations == 1
    assert signal.getsignal(signal.SIGINT) == before


def test_handlers_are_back_after_an_error_and_after_a_good_end(make_step, stream):
    before = signal.getsignal(signal.SIGTERM)
    for fail in (True, False):
        engine = trainer(make_step())
        Signals((signal.SIGUSR1,)).attach(engine)
        if fail:
            engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                train(engine, stream(), steps=3)
        else:
            train(engine, stream(), steps=3, epoch_length=3)
        assert signal.getsignal(signal.SIGTERM) == before


def test_another_thread_is_refused(make_step, stream):
    errors = []

    def work():
        engine = trainer(make_step())
        Signals().attach(engine)
        try:
            train(engine, stream(), steps=2, epoch_length=2)
        except BadArgument as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert "main thread" in errors[0]


def wait_for(path, least, seconds=60):
    """The words of the child's acknowledgements, once there are enough."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        lines = Path(path).read_text().splitlines() if Path(path).exists() else []
        if len(lines) >= least:
            return lines
        time.sleep(0.01)
    raise AssertionError(f"the child did not start: {lines}")


def last(folder, word):
    lines = (folder / "acknowledged").read_text().splitlines()
    return max((int(line.split()[1]) for line in lines if line.startswith(word) and line[-1].isdigit()), default=0)


@pytest.mark.parametrize(
    ("number", "workers", "group"),
    [(signal.SIGTERM, 0, False), (signal.SIGINT, 0, False), (signal.SIGTERM, 2, True), (signal.SIGINT, 2, True)],
)
def test_a_job_that_is_told_to_stop_loses_nothing(tmp_path, children, number, workers, group):
    """With `group`, loader processes get the signal as well, as from a terminal or a job's end."""
    pid = children.start("run", folder=str(tmp_path), every=10**6, workers=workers, signals=True)
    wait_for(tmp_path / "acknowledged", 5)
    time.sleep(random.Random(number + workers).random() / 10)
    (os.killpg if group else os.kill)(pid, number)
    assert children.wait() == 128 + number
    assert last(tmp_path, "done") == iteration_of(checkpoints(tmp_path)[0])
    assert not list(tmp_path.glob(".medframe-part-*"))


def kill_at_random(folder, children, kills, every, seed=0):
    """Kill a training again and again; each time the newest file is readable and lost at most one interval."""
    chance = random.Random(seed)
    for n in range(kills):
        said = len((folder / "acknowledged").read_text().splitlines()) if n else 0
        pid = children.start("run", folder=str(folder), every=every, ballast=1_000_000)
        wait_for(folder / "acknowledged", said + 1)
        time.sleep(chance.random() * 0.3)
        os.kill(pid, signal.SIGKILL)
        assert children.wait() == 128 + signal.SIGKILL
        found = checkpoints(folder)
        acknowledged, done = last(folder, "saved"), last(folder, "done")
        newest = iteration_of(found[0]) if found else 0
        assert newest >= acknowledged
        assert done - newest <= every + 1  # every steps since the file, and one whose file was being written
        for path in found:
            read_container(path, "checkpoint")
        if (folder / "best.safetensors").exists():
            read_container(folder / "best.safetensors", "model")
        if (folder / "log.csv").exists():
            assert all(row["iteration"] <= done for row in read_log(folder / "log.csv"))
    pid = children.start("run", folder=str(folder), every=every, ballast=1_000_000, steps=last(folder, "done") + 20)
    assert children.wait() == 0
    assert not list(folder.glob(".medframe-part-*"))
    rows = [row["iteration"] for row in read_log(folder / "log.csv")]
    assert rows == sorted(set(rows))


@pytest.mark.parametrize("every", [1, 7])
def test_kill_at_any_moment_loses_at_most_one_interval(tmp_path, children, every):
    kill_at_random(tmp_path, children, kills=6, every=every, seed=every)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_kills(tmp_path, children):
    kill_at_random(tmp_path, children, kills=50, every=1, seed=50)
