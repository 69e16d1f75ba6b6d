"""Engines are plain ignite engines, and what this version of ignite does is what we count on."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from medframe.base import BadArgument, BadDataset
from medframe.engines import (
    EvalStep,
    TrainingState,
    TrainStep,
    evaluator,
    ignite_engine,
    notes,
    set_total_steps,
    total_steps,
    train,
    trainer,
)
from medframe.inferers import WholeImage

Engine, Events = ignite_engine().Engine, ignite_engine().Events


class Stream:
    """Batches without an end, from sample `start` on; counts how often it is asked for an iterator."""

    def __init__(self, batch_at, start=0, size=2, stop=None):
        self.batch_at, self.start, self.size, self.stop = batch_at, start, size, stop
        self.asked = 0

    def __iter__(self):
        self.asked += 1
        k = self.start // self.size
        while self.stop is None or k < self.stop:
            yield self.batch_at(k, self.size)
            k += 1


@pytest.fixture
def make_step(tiny_net):
    def make():
        net = tiny_net()
        return TrainStep(net, nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), 0.1, momentum=0.9))

    return make


def record(engine):
    seen = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(tuple(e.state.output["cases"])))
    return seen


def cases(first, last):
    return [(f"case-{2 * k}", f"case-{2 * k + 1}") for k in range(first, last)]


def test_a_trainer_is_a_plain_engine_that_keeps_one_iterator_over_epochs(make_step, batch_at):
    engine = trainer(make_step())
    assert type(engine) is Engine
    seen, data = record(engine), Stream(batch_at)
    epochs = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: epochs.append(e.state.iteration))
    engine.run(data, max_epochs=3, epoch_length=4)
    assert seen == cases(0, 12)
    assert data.asked == 1
    assert epochs == [4, 8, 12]


@pytest.mark.parametrize("mode", ["iterations", "epochs"])
@pytest.mark.parametrize("stop", [1, 3, 4, 5, 8, 11])
def test_a_resumed_engine_goes_on_at_the_next_batch(make_step, batch_at, stop, mode):
    limits = {"max_iters": 12} if mode == "iterations" else {"max_epochs": 3}
    first = make_step()
    begun = trainer(first)
    begun.add_event_handler(Events.ITERATION_COMPLETED(once=stop), begun.terminate)
    begun.run(Stream(batch_at), epoch_length=4, **limits)
    assert first.iterations == stop
    second = make_step()
    second.load_state_dict(first.state_dict())
    engine = trainer(second, TrainingState(stop, first.samples, 4, **limits))
    seen, data = record(engine), Stream(batch_at, first.samples)
    epochs = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: epochs.append((e.state.epoch, e.state.iteration)))
    engine.run(data, epoch_length=4, **limits)
    assert seen == cases(stop, 12)
    assert data.asked == 1
    assert epochs == [(e, 4 * e) for e in (1, 2, 3) if 4 * e > stop]
    assert second.iterations == 12


def test_a_finite_loader_is_begun_again_when_it_ends(make_step, batch_at):
    engine, data = trainer(make_step()), Stream(batch_at, stop=3)
    seen = record(engine)
    engine.run(data, max_iters=7, epoch_length=5)
    assert seen == cases(0, 3) + cases(0, 3) + cases(0, 1)
    assert data.asked == 3


@pytest.mark.parametrize("limits", [{"max_epochs": 2}, {"max_iters": 7}])
@pytest.mark.parametrize("batches", [0, 3])
@pytest.mark.timeout(20)
@pytest.mark.filterwarnings("ignore:Data iterator can not provide data")
def test_data_that_ends_is_an_error_and_no_endless_loop(make_step, batch_at, limits, batches):
    step = make_step()
    once = iter(Stream(batch_at, stop=batches))  # cannot be begun again
    with pytest.raises(BadDataset, match=f"nothing more after iteration {batches}"):
        trainer(step).run(once, epoch_length=5, **limits)
    assert step.iterations == batches


def test_an_empty_list_is_an_error(make_step):
    with pytest.raises(ValueError, match=r"zero size"):
        trainer(make_step()).run([], max_epochs=2)
    with pytest.raises(BadDataset):
        trainer(make_step()).run(iter(()), max_epochs=2)


def test_a_torch_loader_over_an_endless_sampler(make_step, batch_at):
    class Numbers(torch.utils.data.Dataset):
        def __getitem__(self, k):
            return batch_at(k)

    class Endless(torch.utils.data.Sampler):
        def __init__(self, start):
            self.start = start

        def __iter__(self):
            k = self.start
            while True:
                yield k
                k += 1

    def loader(start, workers):
        return DataLoader(Numbers(), batch_size=None, sampler=Endless(start), num_workers=workers)

    engine = trainer(make_step())
    seen = record(engine)
    engine.run(loader(0, 2), max_iters=7, epoch_length=3)
    assert seen == cases(0, 7)


class TestTrain:
    def test_new_then_longer_then_complete(self, make_step, batch_at):
        step = make_step()
        engine = trainer(step)
        seen = record(engine)
        train(engine, Stream(batch_at), steps=5, epoch_length=2)
        assert step.iterations == 5
        train(engine, Stream(batch_at, step.samples), steps=8)
        assert step.iterations == 8
        assert seen == cases(0, 8)
        train(engine, Stream(batch_at, step.samples), steps=8)
        train(engine, Stream(batch_at, step.samples))
        assert step.iterations == 8  # ignite alone would begin anew

    def test_resumed_with_another_epoch_length(self, make_step, batch_at):
        step = make_step()
        train(trainer(step), Stream(batch_at), steps=5, epoch_length=2)
        engine = trainer(step, TrainingState(5, step.samples, 2, 9))
        epochs = []
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: epochs.append((e.state.epoch, e.state.iteration)))
        train(engine, Stream(batch_at, step.samples), epoch_length=3)
        assert epochs == [(2, 6), (3, 9)]
        assert step.iterations == 9

    def test_an_end_is_needed(self, make_step, batch_at):
        with pytest.raises(BadArgument, match="needs an end"):
            train(trainer(make_step()), Stream(batch_at))

    def test_a_used_step_is_not_begun_anew(self, make_step, batch_at):
        step = make_step()
        step(None, batch_at(0))
        with pytest.raises(BadArgument, match="different iterations"):
            train(trainer(step), Stream(batch_at), steps=3)


def test_the_length_can_change_while_running(make_step, batch_at):
    step = make_step()
    engine = trainer(step)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda e: set_total_steps(e, 9))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=5), lambda e: set_total_steps(e, 6))
    engine.run(Stream(batch_at), max_epochs=1, epoch_length=4)
    assert step.iterations == 6
    assert total_steps(engine) == 6
    assert total_steps(None) is None
    with pytest.raises(BadArgument, match="longer already"):
        set_total_steps(engine, 5)


def test_notes_live_on_the_engine(make_step):
    engine = trainer(make_step(), TrainingState(0, 0, notes={"Best": {"score": 0.5}}))
    assert notes(engine, "Best") == {"score": 0.5}
    notes(engine, "Best")["score"] = 0.7
    assert notes(engine, "Best")["score"] == 0.7
    assert notes(trainer(make_step()), "Best") == {}


def test_an_error_is_raised_once_and_not_printed(make_step, batch_at, capsys):
    step = make_step()
    engine = trainer(step)

    def fail():
        raise RuntimeError("from a handler")

    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), fail)
    with pytest.raises(RuntimeError, match="from a handler"):
        engine.run(Stream(batch_at), max_iters=3)
    assert capsys.readouterr().err == ""


def test_an_evaluator_gives_each_batch(tiny_net, batch_at):
    engine = evaluator(EvalStep(tiny_net(), WholeImage()))
    shapes, seen = [], record(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: shapes.append(tuple(e.state.output["output"].shape)))
    engine.run([batch_at(0), batch_at(1)])
    assert seen == cases(0, 2)
    assert shapes == [(2, 2, 8, 8, 8)] * 2
