"""A learning rate from a short run in which it rises until the loss does."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from medframe.base.errors import BadArgument, BadDataset, NotFinite
from medframe.engines.steps import TrainStep


@dataclass(frozen=True)
class LearningRateCurve:
    """The loss at each learning rate of a range test.

    Attributes:
        rates: rising by a constant factor.
        losses: of the batches at each rate.
        smooth: running means of the losses.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]

    def suggestion(self) -> float:
        """The rate at which the smoothed loss falls fastest with the logarithm of the rate, before its minimum.

        A highest rate for a schedule. It is a hint, not an optimum: an optimiser with momentum often bears less for
        long.

        Raises:
            BadArgument: the loss fell nowhere.
        """
        lowest = int(np.argmin(self.smooth))
        if lowest < 2:
            raise BadArgument(
                "the loss fell nowhere on the way",
                found=f"the lowest loss at {self.rates[lowest]:.3g}, near the start",
                due="a loss that falls before it rises",
                mend="Begin with a lower rate, or look whether the network learns at all.",
            )
        # the loss at a rate is taken before the update at that rate: its effect is the fall to the next one
        return self.rates[int(np.argmin(np.diff(self.smooth[: lowest + 1])))]


def find_learning_rate(
    step: TrainStep,
    data: Iterable[Any],
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    smoothing: float = 0.9,
) -> LearningRateCurve:
    """Train for a few updates with a rate that rises from `low` to `high` by a constant factor; then undo it all.

    The network, the optimiser, the running mean and all counts are afterwards what they were before. Groups keep the
    ratio of their rates; the rates of the curve are those of the fastest group. The test ends early where the smoothed
    loss has risen above its first value by as much as it had fallen (and by a tenth of it at least), or where the loss
    is not finite.

    L. N. Smith, "Cyclical learning rates for training neural networks", WACV 2017, doi:10.1109/WACV.2017.58.

    Args:
        step: the training step, between two updates.
        data: batches; they begin anew where they end.
        low: the first rate.
        high: the last rate.
        steps: updates, each with the next rate and `step.accumulate` batches.
        smoothing: of the running mean of losses, 0 to less than 1.

    Raises:
        BadArgument: numbers out of range, or a step amid a group of batches.
        BadDataset: no batch.

    Example:
        >>> import torch
        >>> from medframe.losses import DiceCELoss
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Conv2d(1, 2, 1)
        >>> step = TrainStep(network, DiceCELoss(), torch.optim.SGD(network.parameters(), 0.1))
        >>> image = torch.rand(4, 1, 8, 8)
        >>> batch = {"image": image, "label": (image > 0.5).long()}
        >>> curve = find_learning_rate(step, [batch], low=1e-4, high=100.0, steps=60)
        >>> 1e-2 < curve.suggestion() < 100
        True
    """
    if not (0 < low < high < math.inf and steps >= 3 and 0 <= smoothing < 1):
        raise BadArgument(
            "the range test's numbers are out of range",
            found=f"low={low}, high={high}, steps={steps}, smoothing={smoothing}",
            due="0 < low < high, three steps or more, smoothing from 0 to less than 1",
        )
    if step.pending:
        raise BadArgument(
            "the step stands amid a group of batches", found=f"{step.pending} batches that wait for their update", due=0
        )
    state = copy.deepcopy(step.state_dict())
    groups = step.optimiser.param_groups
    largest = max(float(group["lr"]) for group in groups)
    shares = [float(group["lr"]) / largest if largest else 1.0 for group in groups]
    rates, losses, smooth, mean = [], [], [], 0.0
    batches = _endless(data)
    try:
        for i in range(steps):
            rate = low * (high / low) ** (i / (steps - 1))
            for group, share in zip(groups, shares, strict=True):
                group["lr"] = rate * share
            try:
                loss = sum(step(None, next(batches))["loss"] for _ in range(step.accumulate)) / step.accumulate
            except NotFinite:
                break
            mean = smoothing * mean + (1 - smoothing) * loss
            rates.append(rate)
            losses.append(loss)
            smooth.append(mean / (1 - smoothing ** (i + 1)))
            if smooth[-1] > smooth[0] + max(smooth[0] - min(smooth), 0.1 * abs(smooth[0])):
                break
    finally:
        step.load_state_dict(state)
    if not rates:
        raise BadArgument("the loss is not finite at the lowest rate", found=f"low={low}", due="a lower one")
    return LearningRateCurve(tuple(rates), tuple(losses), tuple(smooth))


def _endless(data: Iterable[Any]) -> Iterator[Any]:
    while True:
        none = True
        for batch in data:
            none = False
            yield batch
        if none:
            raise BadDataset("the data gave no batch", due="at least one batch, that can be iterated again")
