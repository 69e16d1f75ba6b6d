"""Learning rates by hand, and trainings that end in time by a clock of our own."""

import itertools
import math

import pytest
import torch
from torch import nn

from medframe.base import BadArgument, MedframeWarning
from medframe.engines import TrainStep, ignite_engine, train, trainer
from medframe.handlers import (
    Checkpoint,
    Constant,
    Cosine,
    Polynomial,
    Schedule,
    TimeBudget,
    Validate,
    WarmupStableDecay,
    resume,
)

Events = ignite_engine().Events

CURVES = [
    Constant(),
    Constant(warmup=4),
    Cosine(),
    Cosine(warmup=5, floor=0.1),
    Polynomial(),
    Polynomial(warmup=3, power=2.0, floor=0.05),
    WarmupStableDecay(warmup=4, decay=0.5),
    WarmupStableDecay(decay=1.0),
    WarmupStableDecay(decay=0.0, floor=0.3),
]


@pytest.mark.parametrize(
    ("curve", "total", "due"),
    [
        (Constant(warmup=4), 6, [0.25, 0.5, 0.75, 1, 1, 1]),
        (Cosine(), 4, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        (Cosine(warmup=1, floor=0.5), 3, [1, 1, 0.75]),
        (Polynomial(power=1.0), 4, [1, 0.75, 0.5, 0.25]),
        (Polynomial(), 1000, {0: 1.0, 500: 0.5**0.9, 999: 0.001**0.9}),
        (WarmupStableDecay(warmup=2, decay=0.5), 8, [0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
        (WarmupStableDecay(decay=0.2, floor=0.5), 10, {0: 1, 8: 1, 9: 0.75}),
    ],
)
def test_curves_by_hand(curve, total, due):
    pairs = due.items() if isinstance(due, dict) else enumerate(due)
    for iteration, factor in pairs:
        assert curve.factor(iteration, total) == pytest.approx(factor)


def test_polynomial_is_that_of_torch():
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    peer = torch.optim.lr_scheduler.PolynomialLR(optimiser, total_iters=50, power=0.9)
    for iteration in range(50):
        assert Polynomial().factor(iteration, 50) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        peer.step()


@pytest.mark.parametrize("curve", CURVES, ids=repr)
@pytest.mark.parametrize("total", [1, 2, 7, 40, 1000])
def test_laws_of_curves(curve, total):
    factors = [curve.factor(i, total) for i in range(total)]
    assert all(0 < f <= 1 for f in factors)
    start = curve.decay_start(total)
    later = factors[max(start, curve.warmup) :]
    assert all(a >= b for a, b in itertools.pairwise(later))
    # until the decay begins, nothing depends on the length
    longer = [t for t in (total, total + 1, 2 * total, 10**9) if curve.decay_start(t) >= start]
    assert all(curve.factor(i, t) == factors[i] for t in longer for i in range(min(start, total)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cosine(warmup=-1),
        lambda: Cosine(floor=1.5),
        lambda: Polynomial(power=0),
        lambda: WarmupStableDecay(decay=1.1),
        lambda: TimeBudget(0, Cosine()),
        lambda: TimeBudget(1, Cosine(), reserve=1.0),
        lambda: TimeBudget(1, Cosine(), warm=0),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(BadArgument):
        make()


@pytest.fixture
def parts(make_step, stream):
    return make_step, stream


class Clocked:
    """A training whose iterations take the seconds we say, on a clock that we move."""

    def __init__(self, folder, parts, minutes, seconds, **more):
        make_step, self.stream = parts
        self.now = 0.0
        self.curve = curve = more.pop("curve", WarmupStableDecay(warmup=5, decay=0.5))
        self.step = make_step()
        self.state = resume(folder, self.step)
        self.engine = trainer(self.step, self.state)
        self.rates = []

        def pass_time(engine):
            self.now += seconds(engine.state.iteration)

        self.engine.add_event_handler(Events.ITERATION_STARTED, pass_time)
        Schedule(self.step, curve).attach(self.engine)
        TimeBudget(minutes, curve, clock=lambda: self.now, **more).attach(self.engine)
        self.engine.add_event_handler(
            Events.ITERATION_COMPLETED, lambda: self.rates.append(self.step.optimiser.param_groups[0]["lr"])
        )
        Checkpoint(folder, self.step, 1000).attach(self.engine)

    def go(self, stop=None):
        if stop is not None:
            self.engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop), self.engine.terminate)
        train(self.engine, self.stream(self.step.samples), epoch_length=10)
        return self


def test_steady_iterations_fill_the_budget_and_the_decay_is_whole(tmp_path, parts):
    run = Clocked(tmp_path, parts, 1.0, lambda i: 0.5, reserve=0.0).go()
    assert run.step.iterations == 120
    assert run.now == 60.0
    due = [0.05 * run.curve.factor(i, 120) for i in range(120)]
    assert run.rates == pytest.approx(due)


def test_the_slow_start_is_not_measured_and_the_reserve_is_kept(tmp_path, parts):
    run = Clocked(tmp_path, parts, 1.0, lambda i: 6.0 if i == 1 else 0.5, reserve=0.1).go()
    assert run.step.iterations == 1 + (54 - 6) * 2
    assert run.now == 54.0


def test_a_change_of_pace_before_the_decay_is_taken_in_and_after_it_not(tmp_path, parts):
    run = Clocked(tmp_path, parts, 1.0, lambda i: 0.25 if i <= 40 else 0.5, reserve=0.0)
    fixed = []
    run.engine.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda e: fixed.append((e.state.notes["TimeBudget"]["fixed"], e.state.max_iters)),
    )
    with pytest.warns(MedframeWarning, match="is spent"):
        run.go()
    lengths = {total for done, total in fixed if done}
    first = next(i for i, (done, _) in enumerate(fixed) if done)
    assert 60 <= run.now <= 60.5
    assert len(lengths) == 2  # the chosen one, and the cut at the end
    assert fixed[first][1] // 2 <= first + 1  # fixed where the decay began
    assert run.step.pending == 0


def test_a_resumed_budget_carries_its_time_and_its_length_over(tmp_path, parts):
    whole = Clocked(tmp_path / "a", parts, 0.5, lambda i: 0.5, reserve=0.0).go()
    for stop in (3, 29, 30, 45):
        folder = tmp_path / str(stop)
        Clocked(folder, parts, 0.5, lambda i: 0.5, reserve=0.0).go(stop=stop)
        after = Clocked(folder, parts, 0.5, lambda i: 0.5, reserve=0.0)
        assert after.engine.state.notes["TimeBudget"] == {"elapsed": stop / 2, "fixed": stop >= 30}
        after.go()
        assert after.step.iterations == 60
        assert after.rates == pytest.approx(whole.rates[stop:])


def test_a_faster_machine_after_the_decay_began_changes_nothing(tmp_path, parts):
    Clocked(tmp_path, parts, 1.0, lambda i: 0.5, reserve=0.0).go(stop=70)
    after = Clocked(tmp_path, parts, 1.0, lambda i: 0.01, reserve=0.0)
    train(after.engine, after.stream(after.step.samples), steps=200)  # heeded no more
    assert after.step.iterations == 120


def test_a_curve_without_a_constant_part_is_fixed_once_measured(tmp_path, parts):
    run = Clocked(tmp_path, parts, 1.0, lambda i: 0.5, curve=Cosine(), reserve=0.0).go()
    assert run.step.iterations == 120
    assert run.rates[10:] == pytest.approx([0.05 * Cosine().factor(i, 120) for i in range(10, 120)])


def test_validation_counts_as_time(tmp_path, parts):
    run = Clocked(tmp_path, parts, 1.0, lambda i: 0.5, reserve=0.0)

    def scores():
        run.now += 5.0
        return {}

    Validate(10, scores, at_end=False).attach(run.engine)
    run.go()
    assert 50 <= run.now <= 61
    assert 48 <= run.step.iterations <= 61


def test_a_budget_spent_at_once_still_ends_well(tmp_path, parts):
    run = Clocked(tmp_path, parts, 0.01, lambda i: 0.5).go()
    assert run.step.iterations <= 6


def test_the_last_group_is_closed_by_the_chosen_end(tmp_path, stream):
    net = nn.Conv3d(1, 2, 1)
    step = TrainStep(net, nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), 0.1), accumulate=7)
    engine = trainer(step)
    now = [0.0]
    engine.add_event_handler(Events.ITERATION_STARTED, lambda: now.__setitem__(0, now[0] + 1.0))
    TimeBudget(0.5, WarmupStableDecay(), reserve=0.0, clock=lambda: now[0]).attach(engine)
    train(engine, stream(), epoch_length=10)
    assert (step.iterations, step.updates, step.pending) == (30, 5, 0)


def test_a_schedule_keeps_the_rates_of_groups_apart(stream):
    net = nn.Sequential(nn.Conv3d(1, 2, 1), nn.Conv3d(2, 2, 1))
    groups = [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[1].parameters(), "lr": 0.01}]
    step = TrainStep(net, nn.CrossEntropyLoss(), torch.optim.SGD(groups, 1.0))
    engine = trainer(step)
    Schedule(step, Polynomial(power=1.0)).attach(engine)
    seen = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: seen.append([g["lr"] for g in step.optimiser.param_groups])
    )
    train(engine, stream(), steps=2)
    assert seen == [[0.1, 0.01], [0.05, 0.005]]
