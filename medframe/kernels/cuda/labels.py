"""Decisions on classes on the GPU: no volume of shares or resampled logits is ever stored.

Shares and logits are computed in single precision: results differ from the reference where two classes are equal to
within rounding. Nothing is allocated but the output.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medframe.kernels import reference
from medframe.kernels.cuda.chains import as_3d, pack
from medframe.kernels.cuda.sampling import declines_walk, walk
from medframe.kernels.cuda.sources import Kernel, kernel
from medframe.kernels.stages import Border, Stages

_LABELS = {
    torch.uint8: "unsigned char",
    torch.int16: "short",
    torch.int32: "int",
    torch.int64: "long long",
}
_LOGITS = (torch.float32, torch.float16, torch.bfloat16)
_CLASSES = {torch.uint8: 1 << 8, torch.int16: 1 << 15, torch.int32: 1 << 31}


def declines_label_vote(
    labels: Tensor,
    stages: Stages,
    shape: Sequence[int],
    *,
    order: int,
    border: Border,
    fill: float,
    smooth: Sequence[float],
) -> str | None:
    """Why this back end cannot serve a vote, or None."""
    reason = declines_walk(labels, stages, shape)
    if reason is not None:
        return reason
    if labels.dtype not in _LABELS:
        return f"labels of type {labels.dtype}"
    return "classes are to be blurred or read by splines" if order != 1 or any(smooth) else None


def label_vote(
    labels: Tensor,
    stages: Stages,
    shape: Sequence[int],
    *,
    order: int,
    border: Border,
    fill: float,
    smooth: Sequence[float],
) -> Tensor:
    """Resample labels (C, *in) by a vote of the taps of linear interpolation.

    The classes of the eight voxels around a place share its weights; what lies outside a "zero" border is of class
    `fill`. Classes are asked in rising order, and one takes the lead when its share passes the leader's by more than
    1e-6, so that of equal shares the lowest class wins.

    Returns:
        (C, *shape) of the labels' dtype.
    """
    channels, *in_sizes = labels.shape
    out = torch.empty((channels, *shape), dtype=labels.dtype, device=labels.device)
    chains = pack([stages], in_sizes, shape, labels.device)
    which = kernel("label_vote.cu", "label_vote", _LABELS[labels.dtype], chains.bent)
    fill_class = np.int64(int(reference.outside(fill, labels.dtype)))
    source, lattices = labels.detach().contiguous(), (as_3d(in_sizes)[1], as_3d(shape)[1])
    walk(which, source, out, chains, fill_class, counts=(1, channels), lattices=lattices, border=border)
    return out


def declines_logit_argmax(
    logits: Tensor,
    stages: Stages,
    shape: Sequence[int],
    *,
    order: int,
    border: Border,
    fill: Sequence[float],
    dtype: torch.dtype,
    probabilities: Sequence[int] | None,
) -> str | None:
    """Why this back end cannot serve an arg-max of resampled logits, or None."""
    reason = declines_walk(logits, stages, shape)
    if reason is not None:
        return reason
    if logits.dtype not in _LOGITS:
        return f"logits of type {logits.dtype}"
    if dtype not in _CLASSES or logits.shape[0] > _CLASSES[dtype]:
        return f"{logits.shape[0]} classes in an output of type {dtype}"
    if order != 1 or probabilities is not None or logits.shape[0] < 2:
        return "it decides between several linearly interpolated classes"
    return "fills that differ" if border == "zero" and len(set(fill)) > 1 else None


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
) -> Tensor:
    """The class with the largest linearly interpolated logit at every output voxel.

    Of equal logits the lowest class wins; a logit that is not a number wins over all, as in `torch.argmax`. Outside a
    "zero" border all logits are equal, so that the class is 0.

    Args:
        logits: (C, *in), one channel a class.
        stages: output index to input index.
        shape: the output's spatial sizes.
        order: 1.
        border: what lies beyond the edge.
        fill: one number, as often as there are classes.
        dtype: of the output: uint8, int16 or int32.
        probabilities: None.

    Returns:
        (1, *shape) of `dtype`.
    """
    classes, *in_sizes = logits.shape
    out = torch.empty((1, *shape), dtype=dtype, device=logits.device)
    chains = pack([stages], in_sizes, shape, logits.device)
    which = kernel("logit_argmax.cu", "logit_argmax", logits.dtype, dtype, chains.bent)
    source, lattices = logits.detach().contiguous(), (as_3d(in_sizes)[1], as_3d(shape)[1])
    walk(which, source, out, chains, counts=(1, classes), lattices=lattices, border=border)
    return out


def kernels() -> list[Kernel]:
    """Every kernel this module may ask for."""
    out = []
    for bent in (False, True):
        out += [kernel("label_vote.cu", "label_vote", t, bent) for t in _LABELS.values()]
        out += [kernel("logit_argmax.cu", "logit_argmax", t, to, bent) for t in _LOGITS for to in _CLASSES]
    return out
