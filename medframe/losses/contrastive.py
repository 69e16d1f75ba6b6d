"""Losses for learning without labels, from two views of each image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medframe.base.errors import BadArgument, BadGeometry
from medframe.losses.tensors import full_precision, wide


@dataclass(frozen=True)
class ContrastiveLoss:
    """Each of 2 B embeddings must find its other view among all the others: the NT-Xent loss of SimCLR.

    Called with two tensors (B, F), row i of both from the same image. Computed in float32 at least; safe under
    autocast.

    T. Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020,
    arXiv:2002.05709.

    Args:
        temperature: by which cosine similarities are divided, above 0.

    Raises:
        BadArgument: the temperature is out of its domain.
        BadGeometry: not two tensors (B, F) of one shape.

    Example:
        >>> x = torch.eye(2)
        >>> round(ContrastiveLoss(temperature=1.0)(x, x).item(), 4)  # log(e + 2) - 1
        0.5514
    """

    temperature: float = 0.5

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise BadArgument("not a temperature", where="temperature", found=self.temperature, due="above 0")

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = _views(first, second, 1)
        with full_precision(a):
            both = F.normalize(torch.cat([a, b]), dim=1)
            alike = both @ both.T / self.temperature
            alike = alike.masked_fill(torch.eye(len(both), dtype=torch.bool, device=a.device), -torch.inf)
            other = torch.arange(len(both), device=a.device).roll(len(a))
            return F.cross_entropy(alike, other)


@dataclass(frozen=True)
class BarlowTwinsLoss:
    """Features of two views must correlate with themselves and with no other.

    The sum over the cross-correlation matrix of (C_ii - 1)^2 and `lambd` C_ij^2. Called with two tensors (B, F), row i
    of both from the same image, B at least 2. Features are standardised over the batch with B - 1 below, the products
    divided by B. Computed in float32 at least; safe under autocast.

    J. Zbontar et al., "Barlow Twins: self-supervised learning via redundancy reduction", ICML 2021, arXiv:2103.03230.

    Args:
        lambd: the weight of the off-diagonal part, zero or more.

    Raises:
        BadArgument: the weight is negative.
        BadGeometry: not two tensors (B, F) of one shape with two rows or more.

    Example:
        >>> x = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
        >>> round(BarlowTwinsLoss()(x, x).item(), 4)  # two features that do not correlate: 2 (3/4 - 1)^2
        0.125
    """

    lambd: float = 5e-3

    def __post_init__(self) -> None:
        if not self.lambd >= 0:
            raise BadArgument("the weight is negative", where="lambd", found=self.lambd, due="0 or more")

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = (_standard(x) for x in _views(first, second, 2))
        with full_precision(a):
            correlation = a.T @ b / len(a)
        own = torch.eye(len(correlation), dtype=torch.bool, device=a.device)
        squares = (correlation - own.to(a.dtype)) ** 2
        return torch.where(own, squares, self.lambd * squares).sum()


def _standard(x: Tensor) -> Tensor:
    x = x - x.mean(0)
    # the root of a variance with a hair added: a feature that never changes has no infinite slope
    deviation = (x.pow(2).sum(0) / (len(x) - 1) + _HAIR**2).sqrt()
    return x / (deviation + _HAIR)


_HAIR = 1e-6


def _views(first: Tensor, second: Tensor, least: int) -> tuple[Tensor, Tensor]:
    if first.shape != second.shape or first.dim() != 2 or len(first) < least:
        raise BadGeometry(
            "not two views of a batch",
            found=f"{tuple(first.shape)} and {tuple(second.shape)}",
            due=f"one shape (B, F), B at least {least}",
        )
    return wide(first), wide(second)
