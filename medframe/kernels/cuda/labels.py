"""Decisions on classes on the GPU: no volume of shares or resampled logits is ever stored.

Shares and logits are computed in single precision: results differ from the reference where two classes are equal to
within rounding. Linear votes and the arg-max of linear logits are one launch, and nothing is allocated but the output.
Splines, blurred classes and probabilities are read class by class, which takes a few volumes of the output's size; the
classes of a label map are then listed on the host, which waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medframe.kernels import reference
from medframe.kernels.cuda.chains import as_3d, pack, walked
from medframe.kernels.cuda.sampling import declines_walk, pull, walk
from medframe.kernels.cuda.sources import Kernel, kernel
from medframe.kernels.stages import Border, Stages

_LABELS = {
    torch.uint8: "unsigned char",
    torch.int16: "short",
    torch.int32: "int",
    torch.int64: "long long",
}
_LOGITS = (torch.float32, torch.float16, torch.bfloat16)
_DECISIONS = (torch.uint8, torch.int16)


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
    if labels.dtype not in _LABELS and labels.dtype != torch.bool:
        return f"labels of type {labels.dtype}"
    return None


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
    """Serve a vote; order 1 by the taps of linear interpolation.

    The classes of the eight voxels around a place share its weights; what lies outside a "zero" border is of class
    `fill`. Classes are asked in rising order, and one takes the lead when its share passes the leader's by more than
    1e-6, so that of equal shares the lowest class wins.

    Returns:
        (C, *shape) of the labels' dtype.
    """
    if order != 1 or any(smooth):
        options = {"order": order, "border": border, "fill": fill, "smooth": smooth}
        return reference.label_vote(labels, stages, shape, **options, read=_share)  # type: ignore[arg-type]
    if labels.dtype == torch.bool:
        options = {"order": 1, "border": border, "fill": float(reference.outside(fill, torch.bool)), "smooth": smooth}
        return label_vote(labels.view(torch.uint8), stages, shape, **options).view(torch.bool)  # type: ignore[arg-type]
    channels, *in_sizes = labels.shape
    out = torch.empty((channels, *shape), dtype=labels.dtype, device=labels.device)
    chains = pack([stages], in_sizes, shape, labels.device)
    which = kernel("label_vote.cu", "label_vote", _LABELS[labels.dtype], chains.bent)
    fill_class = np.int64(int(reference.outside(fill, labels.dtype)))
    source, lattices = labels.detach().contiguous(), (as_3d(in_sizes)[1], walked(shape)[1])
    walk(which, source, out, chains, fill_class, counts=(1, channels), lattices=lattices, border=border)
    return out


def _share(
    share: Tensor, stages: Stages, shape: Sequence[int], *, dtype: torch.dtype, order: int, border: Border, fill: float
) -> Tensor:
    """A class's share at every output voxel, computed in single precision."""
    read = pull(share.float(), stages, shape, order=order, border=border, fill=fill, dtype=torch.float32)
    return read.to(dtype)


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
    return None


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
    """Serve a decision between logits; see `reference.logit_argmax` for its meaning.

    Several linearly interpolated classes are decided in one launch, where all have one fill.
    """
    classes, *in_sizes = logits.shape
    if order != 1 or probabilities is not None or classes < 2 or (border == "zero" and len(set(fill)) > 1):
        options = {"order": order, "border": border, "fill": fill, "dtype": dtype, "probabilities": probabilities}
        return reference.logit_argmax(logits, stages, shape, **options, read=pull)  # type: ignore[arg-type]
    out = torch.empty((1, *shape), dtype=dtype, device=logits.device)
    chains = pack([stages], in_sizes, shape, logits.device)
    which = kernel("logit_argmax.cu", "logit_argmax", logits.dtype, dtype, chains.bent)
    source, lattices = logits.detach().contiguous(), (as_3d(in_sizes)[1], walked(shape)[1])
    walk(which, source, out, chains, counts=(1, classes), lattices=lattices, border=border)
    return out


def kernels() -> list[Kernel]:
    """Every kernel this module may ask for."""
    out = []
    for bent in (False, True):
        out += [kernel("label_vote.cu", "label_vote", t, bent) for t in _LABELS.values()]
        out += [kernel("logit_argmax.cu", "logit_argmax", t, to, bent) for t in _LOGITS for to in _DECISIONS]
    return out
