"""The learning-rate range test: what it finds on a bowl whose best rate is known, and that it leaves no trace."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from medframe.base.errors import BadArgument, BadDataset
from medframe.engines import LearningRateCurve, TrainStep, find_learning_rate


def bowl(curvature=1.0, accumulate=1, dtype=torch.float32, **options):
    """(w - 3)^2 * curvature / 2: plain gradient descent is fastest at 1 / curvature and diverges from 2 / curvature."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1, bias=False, dtype=dtype)
    model.weight.data.fill_(-2.0)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    step = TrainStep(
        model, lambda y, t: curvature / 2 * (y - t).square().mean(), optimiser, accumulate=accumulate, **options
    )
    return step, [{"image": torch.ones(1, 1), "label": torch.full((1, 1), 3.0)}]


@pytest.mark.parametrize("curvature", [1.0, 100.0])
def test_the_suggestion_lies_below_the_rate_that_diverges(curvature):
    step, data = bowl(curvature)
    curve = find_learning_rate(step, data, low=1e-5 / curvature, high=1e3 / curvature, steps=60, smoothing=0.0)
    assert 0.01 / curvature < curve.suggestion() < 2 / curvature
    assert curve.rates[-1] < 1e3 / curvature  # ended early
    assert curve.losses[0] == pytest.approx(curvature * 12.5)
    np.testing.assert_allclose(np.diff(np.log(curve.rates)), math.log(1e8) / 59, rtol=1e-6)


def test_the_losses_are_those_of_gradient_descent_by_hand():
    step, data = bowl()
    curve = find_learning_rate(step, data, low=0.01, high=0.1, steps=5, smoothing=0.5)
    w, mean = -2.0, 0.0
    for i, rate in enumerate(0.01 * 10 ** (np.arange(5) / 4)):
        loss = (w - 3) ** 2 / 2
        mean = 0.5 * mean + 0.5 * loss
        assert curve.losses[i] == pytest.approx(loss, rel=1e-5)
        assert curve.smooth[i] == pytest.approx(mean / (1 - 0.5 ** (i + 1)), rel=1e-5)
        w -= rate * (w - 3)


@pytest.mark.parametrize("options", [{}, {"accumulate": 3, "ema": 0.9, "clip": 1.0}])
def test_leaves_no_trace(options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Conv1d(4, 1, 1))
    parts = [{"params": model[0].parameters(), "lr": 1e-3}, {"params": model[3].parameters(), "lr": 1e-2}]
    step = TrainStep(model, lambda y, t: (y - t).square().mean(), torch.optim.Adam(parts), **options)
    data = [{"image": torch.randn(2, 1, 8), "label": torch.randn(2, 1, 6)} for _ in range(3)]
    for _ in range(options.get("accumulate", 1)):
        step(None, data[0])
    before = copy.deepcopy(step.state_dict())
    find_learning_rate(step, data, low=1e-4, high=1e4, steps=30)  # into values that are not finite
    after = step.state_dict()
    flat_before, flat_after = flat(before), flat(after)
    assert flat_before.keys() == flat_after.keys()
    for name, value in flat_before.items():
        same = torch.equal(value, flat_after[name]) if isinstance(value, torch.Tensor) else value == flat_after[name]
        assert same, name
    assert [group["lr"] for group in step.optimiser.param_groups] == [1e-3, 1e-2]


def flat(state, path=""):
    if isinstance(state, dict):
        return {n: v for key, value in state.items() for n, v in flat(value, f"{path}/{key}").items()}
    if isinstance(state, list):
        return flat(dict(enumerate(state)), path)
    return {path: state}


def test_a_loss_that_is_not_finite_ends_the_test():
    step, data = bowl()
    finite, calls = step.loss, []

    def loss(y, t):
        calls.append(1)
        return finite(y, t) / (len(calls) <= 7)

    step.loss = loss
    curve = find_learning_rate(step, data, low=1e-3, high=1.0, steps=60)
    assert len(curve.rates) == len(curve.losses) == len(curve.smooth) == 7
    assert step.model.weight.item() == -2
    with pytest.raises(BadArgument, match="lowest rate"):
        find_learning_rate(step, data)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"low": 0.0}, "out of range"), ({"low": 1.0, "high": 0.1}, "out of range"), ({"steps": 2}, "three steps")],
)
def test_refuses_numbers_out_of_range(options, message):
    step, data = bowl()
    with pytest.raises(BadArgument, match=message):
        find_learning_rate(step, data, **options)


def test_refuses_no_data_a_half_group_and_a_loss_that_never_fell():
    step, data = bowl(accumulate=2)
    with pytest.raises(BadDataset, match="no batch"):
        find_learning_rate(step, [])
    step(None, data[0])
    with pytest.raises(BadArgument, match="amid a group"):
        find_learning_rate(step, data)
    with pytest.raises(BadArgument, match="fell nowhere"):
        LearningRateCurve((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), (1.0, 2.0, 3.0)).suggestion()
