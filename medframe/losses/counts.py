"""Soft voxel counts from a label map, without a one-hot copy of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

EXCLUDED = -1
"""The label of voxels that do not count."""


def label_counts(
    log_p: Tensor, labels: Tensor, power: int = 1, share: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """How much of each class is predicted where it is, is predicted at all, and is there.

    With p = exp(log_p): sum of p over the voxels of the class, sum of p^power over all voxels, number of voxels of the
    class. Each class is summed by itself, so that nothing of the size of `log_p` is made on the way forward, and the
    way back needs only `log_p` and `labels`. Summed class by class rather than scattered, the sums do not depend on
    the order of CUDA's atomic additions and do not lose voxels to a long float32 accumulation.

    Args:
        log_p: (B, C, N) log-probabilities.
        labels: (B, N) int64, 0 to C - 1 or EXCLUDED.
        power: of the probabilities in the second sum.
        share: (B, N) what each voxel counts for; 1 by default.

    Returns:
        Three tensors (B, C).
    """
    both, predicted, there = _LabelCounts.apply(log_p, labels, power, share)  # type: ignore[no-untyped-call]  # torch's own
    return both, predicted, there


class _LabelCounts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, log_p: Tensor, labels: Tensor, power: int, share: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        excluded = labels == EXCLUDED
        both, predicted, there = (log_p.new_zeros(log_p.shape[:2]) for _ in range(3))
        for c in range(log_p.shape[1]):
            p = log_p[:, c].exp().masked_fill_(excluded, 0)
            here = labels == c
            if share is None:
                both[:, c] = torch.where(here, p, 0).sum(-1)
                predicted[:, c] = p.pow(power).sum(-1)
                there[:, c] = here.sum(-1)
            else:
                both[:, c] = torch.where(here, p * share, 0).sum(-1)
                predicted[:, c] = p.pow(power).mul_(share).sum(-1)
                there[:, c] = torch.where(here, share, 0).sum(-1)
        ctx.save_for_backward(log_p, labels, share)
        ctx.power = power
        ctx.mark_non_differentiable(there)
        return both, predicted, there

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_both: Tensor, grad_predicted: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        log_p, labels, share = ctx.saved_tensors
        excluded = labels == EXCLUDED
        grad = torch.empty_like(log_p)
        for c in range(log_p.shape[1]):
            p = log_p[:, c].exp().masked_fill_(excluded, 0)  # d p^k / d log p = k p^k
            slope = p.pow(ctx.power).mul_(ctx.power * grad_predicted[:, c, None])
            slope.add_(torch.where(labels == c, p, 0).mul_(grad_both[:, c, None]))
            grad[:, c] = slope if share is None else slope.mul_(share)
        return grad, None, None, None
