"""A running mean of the weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument


class Ema:
    """The exponential moving average of a model's weights, itself a model in evaluation mode.

    After updates 1 to t it is the mean of the weights w_i, each weighted by decay^(t - i). It is exact from the first
    update on: the initial weights do not enter (the correction of D. P. Kingma and J. Ba, "Adam: a method for
    stochastic optimization", ICLR 2015, arXiv:1412.6980, section 3). Averaging weights: B. T. Polyak and A. B.
    Juditsky, SIAM J. Control Optim. 30, 1992, doi:10.1137/0330046; for networks A. Tarvainen and H. Valpola, "Mean
    teachers are better role models", NeurIPS 2017, arXiv:1703.01780.

    Buffers of floating-point numbers, such as the running statistics of batch normalisation, are averaged like
    weights; other buffers, such as its counter, are copied.

    Args:
        model: bare; it is copied.
        decay: 0 to below 1. The mean reaches back about 1 / (1 - decay) updates.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise BadArgument("the decay of a running mean is a share", where="ema", found=decay, due="0 to below 1")
        self.decay = decay
        self.updates = 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's present weights."""
        self.updates += 1
        share = (1 - self.decay) / (1 - self.decay**self.updates)
        mine, theirs = [], []
        for kept, new in zip(_tensors(self.model), _tensors(model), strict=True):
            if kept.is_floating_point():
                mine.append(kept)
                theirs.append(new.detach())
            else:
                kept.copy_(new)
        torch._foreach_lerp_(mine, theirs, share)  # one launch for all, as torch's own averaging does

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain numbers."""
        return {"updates": self.updates, "weights": self.model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.updates = int(state["updates"])
        self.model.load_state_dict(state["weights"])


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())
