"""Decisions on classes in C++; see `reference.labels` for their meaning.

Equal to the reference but where the shares of two classes differ by 1e-6 to within rounding (behind a displacement,
which is float32 here, to within 1e-6 of its voxels).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medframe.kernels import reference
from medframe.kernels.native import library, memory
from medframe.kernels.native.sampling import as_3d, as_numpy, declines_walk, pull, route
from medframe.kernels.stages import BORDERS, Border, Stages

_LABELS = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32, torch.int64, torch.bool)


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
    if labels.dtype not in _LABELS:
        return f"labels of type {labels.dtype}"
    return declines_walk(labels, stages, shape)


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
    """Serve a vote. Taps vote where the order is 1; splines and blurred classes go class by class."""
    native = library.core()
    assert native is not None  # declines_label_vote was asked
    if order != 1 or any(smooth):
        options = {"order": order, "border": border, "fill": fill, "smooth": smooth}
        return reference.label_vote(labels, stages, shape, **options, read=pull)  # type: ignore[arg-type]
    out = memory.empty((labels.shape[0], *shape), labels.dtype)
    in_axes, in_shape = as_3d(labels.shape[1:])
    out_shape, lead, knots = route(stages, shape, in_axes)
    given, taken = labels.detach().contiguous(), out
    if labels.dtype == torch.bool:
        given, taken = given.view(torch.uint8), taken.view(torch.uint8)
    native.label_vote(
        given.numpy().reshape(-1, *in_shape),
        taken.numpy().reshape(-1, *out_shape),
        lead,
        knots,
        BORDERS.index(border),
        int(reference.outside(fill, labels.dtype)),
        torch.get_num_threads(),
    )
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
    """Why this back end cannot serve a decision between logits, or None."""
    if logits.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"logits of type {logits.dtype}"
    return declines_walk(logits, stages, shape)


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
    """Serve a decision; order 1 in one pass, a block of a row at a time, other orders class by class."""
    native = library.core()
    assert native is not None  # declines_logit_argmax was asked
    if order != 1:
        options = {"order": order, "border": border, "fill": fill, "dtype": dtype, "probabilities": probabilities}
        return reference.logit_argmax(logits, stages, shape, **options, read=pull)  # type: ignore[arg-type]
    channels = 1 if probabilities is None else len(probabilities)
    out = memory.empty((channels, *shape), dtype if probabilities is None else torch.float32)
    in_axes, in_shape = as_3d(logits.shape[1:])
    out_shape, lead, knots = route(stages, shape, in_axes)
    native.logit_argmax(
        as_numpy(logits.detach().contiguous()).reshape(-1, *in_shape),
        out.numpy().reshape(-1, *out_shape),
        lead,
        knots,
        BORDERS.index(border),
        [float(f) for f in fill],
        list(probabilities or ()),
        torch.get_num_threads(),
    )
    return out
