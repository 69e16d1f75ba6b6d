"""Tables, bars and curves of a training."""

import io
import math

import pytest

from medframe.base import BadArgument, BadFile
from medframe.engines import ignite_engine, train, trainer
from medframe.handlers import Checkpoint, CSVLog, ProgressBar, TensorBoardLog, Validate, resume
from medframe.handlers.csv_log import read_log

Events = ignite_engine().Events


def recorded(engine):
    losses = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output["loss"]))
    return losses


@pytest.mark.parametrize("log_first", [False, True])
def test_rows_follow_validation(tmp_path, make_step, stream, log_first):
    step = make_step(rate=0.125)
    engine = trainer(step)
    losses = recorded(engine)
    scores = iter([{"dice": 0.5}, {"dice": math.nan}, {"dice": 1.0, "a, b": 0.1}])
    handlers = [Validate(2, lambda: next(scores)), CSVLog(tmp_path / "deep" / "log.csv", step)]
    for handler in reversed(handlers) if log_first else handlers:
        handler.attach(engine)
    train(engine, stream(), steps=5, epoch_length=3)
    rows = read_log(tmp_path / "deep" / "log.csv")
    assert [(r["iteration"], r["epoch"]) for r in rows] == [(2, 1), (4, 2), (5, 2)]
    assert [r["loss"] for r in rows] == pytest.approx([sum(losses[:2]) / 2, sum(losses[2:4]) / 2, losses[4]], abs=0)
    assert [r["learning_rate"] for r in rows] == [0.125] * 3
    assert str([r["dice"] for r in rows]) == "[0.5, nan, 1.0]"
    assert str([r["a, b"] for r in rows]) == "[nan, nan, 0.1]"
    assert 0 <= rows[0]["seconds"] <= rows[1]["seconds"] <= rows[2]["seconds"]
    header = (tmp_path / "deep" / "log.csv").read_text().splitlines()[0]
    assert header == 'iteration,epoch,loss,learning_rate,seconds,dice,"a, b"'


def test_without_validation_rows_follow_epochs(tmp_path, make_step, stream):
    step = make_step()
    engine = trainer(step)
    losses = recorded(engine)
    CSVLog(tmp_path / "log.csv", step).attach(engine)
    train(engine, stream(), steps=8, epoch_length=3)
    rows = read_log(tmp_path / "log.csv")
    assert [r["iteration"] for r in rows] == [3, 6, 8]
    assert rows[1]["loss"] == pytest.approx(sum(losses[3:6]) / 3, abs=0)


@pytest.mark.parametrize("tail", ["", "4,2,0.5,0.1,2", "6,3,0.5,0.1,2.0\n8,4,0.4,0.1,2.", "\n\n", "x,y\n"])
def test_a_resumed_log_drops_what_lies_beyond_and_what_was_cut(tmp_path, make_step, stream, tail):
    step = make_step()
    engine = trainer(step)
    for handler in (Checkpoint(tmp_path, step, 100), CSVLog(tmp_path / "log.csv", step)):
        handler.attach(engine)
    train(engine, stream(), steps=4, epoch_length=2)
    with open(tmp_path / "log.csv", "a", encoding="utf-8") as file:
        file.write(tail)
    before = read_log(tmp_path / "log.csv")
    again = make_step()
    engine = trainer(again, resume(tmp_path, again))
    CSVLog(tmp_path / "log.csv", again).attach(engine)
    train(engine, stream(again.samples), steps=6)
    rows = read_log(tmp_path / "log.csv")
    assert [r["iteration"] for r in rows] == [2, 4, 6]
    assert rows[:2] == before[:2]
    assert rows[2]["seconds"] >= rows[1]["seconds"]


def test_what_is_no_log_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("other.csv", "bytes.csv", "missing.csv"):
        with pytest.raises(BadFile, match=name):
            read_log(tmp_path / name)
    (tmp_path / "empty.csv").write_text("")
    assert read_log(tmp_path / "empty.csv") == []


def test_lines_where_there_is_no_terminal(make_step, stream):
    screen, step = io.StringIO(), make_step()
    engine = trainer(step)
    losses = recorded(engine)
    ProgressBar(screen).attach(engine)
    Validate(2, lambda: {"dice": 0.25}).attach(engine)
    train(engine, stream(), steps=5, epoch_length=2)
    lines = screen.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 2/5", "step 4/5", "step 5/5"]
    assert f"loss {sum(losses[:2]) / 2:.4f}  dice 0.2500" in lines[0]
    assert "s/step" in lines[0]
    assert lines[-1].endswith("0.0 min left")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal(make_step, stream):
    screen, step = Terminal(), make_step()
    engine = trainer(step)
    ProgressBar(screen).attach(engine)
    Validate(2, lambda: {"dice": 0.25}).attach(engine)
    train(engine, stream(), steps=4, epoch_length=4)
    last = screen.getvalue().split("\r")[-1]
    assert "4/4" in last
    assert "loss=" in last
    assert "dice=0.2500" in last
    assert screen.getvalue().count("\n") == 1


def test_tensorboard_holds_the_numbers(tmp_path, make_step, stream):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    step = make_step(rate=0.125)
    engine = trainer(step)
    losses = recorded(engine)
    TensorBoardLog(tmp_path, step, every=2).attach(engine)
    Validate(3, lambda: {"dice": 0.25}).attach(engine)
    train(engine, stream(), steps=6, epoch_length=6)
    found = event_accumulator.EventAccumulator(str(tmp_path))
    found.Reload()
    points = [(p.step, p.value) for p in found.Scalars("train/loss")]
    assert points == [(i, pytest.approx(losses[i - 1])) for i in (2, 4, 6)]
    assert [p.value for p in found.Scalars("train/learning_rate")] == [0.125] * 3
    assert [(p.step, p.value) for p in found.Scalars("validation/dice")] == [(3, 0.25), (6, 0.25)]
    with pytest.raises(BadArgument):
        TensorBoardLog(tmp_path, step, every=0)
