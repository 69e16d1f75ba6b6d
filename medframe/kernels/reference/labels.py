"""The meaning of the ops that decide on classes while they resample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from medframe.kernels.reference.filters import gaussian
from medframe.kernels.reference.sampling import outside, pull
from medframe.kernels.stages import Border, Stages

SAME_SHARE = 1e-6  # shares of classes that differ by no more than this are equal


def label_vote(
    labels: Tensor,
    stages: Stages,
    shape: Sequence[int],
    *,
    order: int,
    border: Border,
    fill: float,
    smooth: Sequence[float],
    read: Callable[..., Tensor] = pull,
) -> Tensor:
    """Resample labels (C, *in) as if every class were a volume of zeros and ones; the largest share wins.

    Shares are float64. Classes are asked in rising order, and one takes the lead when its share passes the leader's
    by more than 1e-6: of equal shares the lowest class wins, also where rounding made them a little unequal. With
    border "zero" all beyond the edge is of class `fill`. `read` pulls each class's share.
    """
    beyond = int(outside(fill, labels.dtype))
    classes = sorted({int(v) for v in torch.unique(labels)} | ({beyond} if border == "zero" else set()))
    out = torch.full((labels.shape[0], *shape), classes[0], dtype=labels.dtype, device=labels.device)
    best: Tensor | None = None
    for value in classes:
        share = (labels == value).to(torch.float64)
        if any(smooth):
            share = gaussian(share, smooth, truncate=3.0)
        share = read(
            share,
            stages,
            shape,
            order=order,
            border=border,
            fill=float(value == beyond),
            dtype=torch.float64,
        )
        if best is None:
            best = share
            continue
        wins = share > best + SAME_SHARE
        out = torch.where(wins, torch.tensor(value, dtype=out.dtype, device=out.device), out)
        best = torch.where(wins, share, best)
    return out


def logit_argmax(
    logits: Tensor,
    stages: Stages,
    shape: Sequence[int],
    *,
    order: int,
    border: Border,
    fill: Sequence[float],
    dtype: torch.dtype,
    probabilities: Sequence[int] | None,
    read: Callable[..., Tensor] = pull,
) -> Tensor:
    """Resample logits (C, *in) and decide: the class of the highest, or the softmax of some classes.

    Of equal logits the lowest class wins, and NaN never takes the lead. One channel is the logit of class 1 against
    class 0: class 1 wins where it is positive. Each class is read and dropped again, so that memory holds as many
    volumes as are returned and three more. Values between voxels are float32 (float64 for float64 logits).
    """
    work = torch.float64 if logits.dtype == torch.float64 else torch.float32

    def one(k: int) -> Tensor:
        return read(logits[k : k + 1], stages, shape, order=order, border=border, fill=fill[k], dtype=work)

    classes = logits.shape[0]
    if probabilities is not None:
        if classes == 1:
            likely = torch.sigmoid(one(0))
            return torch.cat([likely if c == 1 else 1 - likely for c in probabilities])
        most = one(0)
        for k in range(1, classes):
            most = torch.maximum(most, one(k))
        kept: dict[int, Tensor] = {}
        total = torch.zeros_like(most)
        for k in range(classes):
            share = torch.exp(one(k) - most)
            total += share
            if k in probabilities:
                kept[k] = share
        return torch.cat([kept[k] / total for k in probabilities])
    if classes == 1:
        return (one(0) > 0).to(dtype)
    best = one(0)
    winner = torch.zeros(best.shape, dtype=dtype, device=logits.device)
    for k in range(1, classes):
        value = one(k)
        wins = value > best
        winner.masked_fill_(wins, k)
        best = torch.where(wins, value, best)
    return winner
