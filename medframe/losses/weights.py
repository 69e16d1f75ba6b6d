"""Weights of classes or of resolutions, and the averages they make."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from medframe.base.errors import BadArgument

Reduction: TypeAlias = Literal["mean", "sum", "none"]


def check_reduction(reduction: str) -> None:
    """Raise BadArgument unless the reduction is one we know."""
    if reduction not in ("mean", "sum", "none"):
        raise BadArgument("reduction is not known", found=repr(reduction), due="mean, sum or none")


def check_weight(weight: tuple[float, ...] | None) -> None:
    """Raise BadArgument unless all weights are finite and zero or more, and one is more."""
    if weight is not None and not (all(0 <= w < math.inf for w in weight) and any(weight)):
        raise BadArgument("weights are not usable", found=weight, due="finite numbers of 0 or more, not all 0")


def read_weight(weight: tuple[float, ...] | None, like: Tensor) -> Tensor:
    """One weight for each class of `like`, (B, C, N); ones by default.

    Raises:
        BadArgument: another number of weights than classes.
    """
    classes = like.shape[1]
    if weight is None:
        return like.new_ones(classes)
    if len(weight) != classes:
        raise BadArgument("weight does not hold one number for each class", found=weight, due=f"{classes} numbers")
    return like.new_tensor(weight)


def weighted_mean(values: Tensor, weight: Tensor, cases: Tensor | None = None) -> Tensor:
    """The mean of (..., C) values, each class counted by its weight, and each case of (B, C) by its own."""
    if cases is not None and values.dim() > 1:
        weight = weight * cases[:, None]
    return (values * weight).sum() / or_one(weight.expand_as(values).sum())


def mean_over_cases(losses: Tensor, cases: Tensor | None) -> Tensor:
    """The mean of (B,) losses by the weights of their cases; a number stays what it is."""
    if cases is None or losses.dim() == 0:
        return losses.mean()
    return (losses * cases).sum() / or_one(cases.sum())


def over_cases(losses: Tensor, cases: Tensor | None, reduction: Reduction) -> Tensor:
    """Losses (B,) or a number, reduced over the cases."""
    if reduction == "mean":
        return mean_over_cases(losses, cases)
    losses = losses if cases is None or losses.dim() == 0 else losses * cases
    return losses.sum() if reduction == "sum" else losses


def or_one(total: Tensor) -> Tensor:
    """A divisor that is never zero: nothing over nothing is nothing."""
    return torch.where(total > 0, total, 1)
