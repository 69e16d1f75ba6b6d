"""Validation, the best model and early stopping."""

import math

import pytest
import torch

from medframe.base import BadArgument, NotFinite
from medframe.engines import EvalStep, evaluator, ignite_engine, read_weights, train, trainer
from medframe.handlers import BestModel, EarlyStop, Validate
from medframe.inferers import WholeImage

Events = ignite_engine().Events


class Scores:
    """Gives the scores we say, one a validation, and remembers when it was asked."""

    def __init__(self, *values, name="dice"):
        self.values, self.name, self.asked = list(values), name, 0

    def __call__(self):
        self.asked += 1
        return {self.name: self.values[self.asked - 1]}


def run(step, stream, scores, *handlers, steps=None, every=2):
    engine = trainer(step)
    Validate(every, scores).attach(engine)
    for handler in handlers:
        handler.attach(engine)
    train(engine, stream(step.samples), steps=steps or every * len(scores.values), epoch_length=3)
    return engine


def test_validation_comes_every_so_often_and_at_the_end(make_step, stream):
    seen = []
    for at_end, due in ((True, [3, 6, 7]), (False, [3, 6])):
        step = make_step()
        engine = trainer(step)
        Validate(3, lambda: {"dice": 0.5}, at_end=at_end).attach(engine)
        engine.add_event_handler("validated", lambda e: seen.append((e.state.iteration, e.state.metrics["dice"])))
        train(engine, stream(), steps=7, epoch_length=4)
        assert seen == [(i, 0.5) for i in due]
        seen.clear()


@pytest.mark.parametrize(
    ("share", "due"),
    [
        (None, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
        (0.5, [2, 12, 18, 20]),  # each takes six seconds and an iteration one: with the one after 12, 12 of 24
        (0.25, [2, 20]),
        (0.9, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
    ],
)
def test_validations_take_no_more_than_their_share_of_the_time(make_step, stream, share, due):
    step, now, seen = make_step(), [0.0], []

    def scores():
        now[0] += 6
        seen.append(step.iterations)
        return {"dice": 0.5}

    def tick(_):
        now[0] += 1

    engine = trainer(step)
    engine.add_event_handler(Events.ITERATION_STARTED, tick)
    Validate(2, scores, share=share, clock=lambda: now[0]).attach(engine)
    train(engine, stream(), steps=20, epoch_length=4)
    assert seen == due


def test_validation_may_use_the_model_in_evaluation_mode(make_step, stream):
    step = make_step()
    judged = []

    def validate():
        judge = evaluator(EvalStep(step.eval_model, WholeImage()))
        judge.add_event_handler(Events.ITERATION_COMPLETED, lambda e: judged.append(e.state.output["output"].shape))
        judge.run([next(iter(stream(100)))])
        step.model.eval()  # as careless validation code leaves it
        return {"dice": 1.0}

    engine = trainer(step)
    Validate(2, validate).attach(engine)
    modes = []
    step.model.register_forward_pre_hook(lambda m, i: modes.append(m.training))
    train(engine, stream(), steps=5, epoch_length=5)
    assert len(judged) == 3
    assert modes == [True, True, False, True, True, False, True, False]


@pytest.mark.parametrize(("larger", "best"), [(True, 4), (False, 2)])
def test_the_best_weights_are_kept(tmp_path, make_step, stream, larger, best):
    step = make_step(ema=0.9)
    scores, kept = Scores(0.3, 0.1, math.nan, 0.5, 0.5, math.inf if larger else -math.inf), {}
    engine = trainer(step)
    Validate(2, scores).attach(engine)
    BestModel(tmp_path, step, "dice", larger, extra={"who": "us"}).attach(engine)
    engine.add_event_handler(
        "validated",
        lambda: kept.update({scores.asked: {k: v.clone() for k, v in step.eval_model.state_dict().items()}}),
    )
    train(engine, stream(), steps=12, epoch_length=12)
    net = make_step().model
    about = read_weights(tmp_path / "best.safetensors", net)
    value = {4: 0.5, 2: 0.1}[best]
    due = {"score": value, "name": "dice", "iteration": 2 * best, "precision": "float32", "who": "us"}
    assert about == due
    assert all(torch.equal(v, kept[best][k]) for k, v in net.state_dict().items())


def test_weights_that_are_not_finite_are_never_best(tmp_path, make_step, stream):
    step = make_step()
    engine = trainer(step)

    def spoil():
        step.model.head.bias.data[0] = math.nan
        return {"dice": 0.9}

    Validate(2, lambda: spoil() if step.iterations > 2 else {"dice": 0.5}).attach(engine)
    BestModel(tmp_path, step, "dice").attach(engine)
    with pytest.raises(NotFinite, match=r"head\.bias"):
        train(engine, stream(), steps=4, epoch_length=4)
    assert read_weights(tmp_path / "best.safetensors", make_step().model)["score"] == 0.5


@pytest.mark.parametrize(
    ("values", "settings", "due"),
    [
        ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), {}, 6),
        ((0.5, 0.4, 0.4, 0.6, 0.1, 0.6), {}, 6),
        ((0.5, 0.4, 0.5, 0.6, 0.1, 0.6), {"patience": 2}, 3),
        ((0.5, math.nan, math.inf, math.nan, 0.9), {}, 4),
        ((0.5, 0.51, 0.52, 0.53, 0.54), {"least": 0.1}, 4),
        ((0.5, 0.4, 0.3, 0.2, 0.1, 0.0), {"larger": False}, 6),
        ((0.5, 0.6, 0.7, 0.8, 0.9), {"larger": False}, 4),
    ],
)
def test_patience(make_step, stream, values, settings, due):
    scores = Scores(*values)
    engine = run(make_step(), stream, scores, EarlyStop("dice", **{"patience": 3, **settings}))
    assert scores.asked == due
    assert engine.state.iteration == 2 * due


def test_a_stopped_run_stays_stopped(make_step, stream):
    step, stop = make_step(), EarlyStop("dice", patience=1)
    engine = run(step, stream, Scores(0.5, 0.4), stop, steps=20)
    assert step.iterations == 4
    train(engine, stream(step.samples), steps=20)
    assert step.iterations == 4


@pytest.mark.parametrize("make", [lambda step, at: BestModel(at, step, "dise"), lambda step, at: EarlyStop("dise", 2)])
def test_an_unknown_score_is_named(tmp_path, make_step, stream, make):
    step = make_step()
    with pytest.raises(BadArgument, match=r"dise.*expected dice"):
        run(step, stream, Scores(0.5), make(step, tmp_path))


def test_bad_settings_are_refused():
    with pytest.raises(BadArgument):
        Validate(0, dict)
    for share in (0, 1.5):
        with pytest.raises(BadArgument, match="share"):
            Validate(1, dict, share=share)
    with pytest.raises(BadArgument):
        EarlyStop("dice", 0)
