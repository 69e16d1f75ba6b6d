"""Deciding on classes while resampling: never a volume for each class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medframe.base.errors import BadArgument, BadLabel
from medframe.base.sizes import check_size
from medframe.kernels import cuda, native, reference
from medframe.kernels.dispatch import Backend, choose, never
from medframe.kernels.ops.sampling import check_call
from medframe.kernels.stages import Border, Stages

LABEL_VOTE = (
    Backend("cuda", cuda.declines_label_vote, cuda.label_vote),
    Backend("native", native.declines_label_vote, native.label_vote),
    Backend("reference", never, reference.label_vote),
)

LOGIT_ARGMAX = (
    Backend("cuda", cuda.declines_logit_argmax, cuda.logit_argmax),
    Backend("native", native.declines_logit_argmax, native.logit_argmax),
    Backend("reference", never, reference.logit_argmax),
)


def label_vote(
    labels: Tensor,
    stages: Stages,
    shape: Sequence[int],
    *,
    order: int = 1,
    border: Border = "zero",
    fill: float = 0.0,
    smooth: Sequence[float] | None = None,
) -> Tensor:
    """Resample a label map: every class is interpolated as a volume of zeros and ones, and the largest share wins.

    Shares within 1e-6 of each other are equal, and of equal shares the lowest class wins; see
    `reference.label_vote`. This is nnU-Net's way to resample labels (Isensee et al., "nnU-Net: a self-configuring
    method for deep learning-based biomedical image segmentation", Nature Methods 2021,
    doi:10.1038/s41592-020-01008-z).

    Args:
        labels: (C, *in) with one, two or three spatial axes; integers.
        stages: matrices (d + 1, d + 1) and `Knots`, applied in turn to an output index to give an input index.
        shape: the output's spatial sizes.
        order: 1 linear, 3 cubic B-spline.
        border: what lies beyond the edge; see `reference.pull`.
        fill: the class outside for border "zero", rounded and saturated into the labels' dtype.
        smooth: standard deviation per input axis, in voxels, of a Gaussian that blurs every class first.

    Returns:
        (C, *shape) of the labels' dtype.

    Raises:
        BadLabel: the labels are no integers.
        BadArgument: an option is unknown or the shape does not fit.
        BadGeometry: a stage is not finite or of another rank.
        TooLarge: the output passes the image limit.
    """
    if labels.dtype.is_floating_point or labels.dtype.is_complex:
        raise BadLabel("a label map holds integers", found=labels.dtype, due="an integer dtype")
    if order == 0:
        raise BadArgument("a vote needs shares", found="order 0", due="order 1 or 3", mend="Use pull for the nearest.")
    shape = check_call(labels, stages, shape, order=order, border=border, op="label_vote")
    smooth = (0.0,) * len(shape) if smooth is None else tuple(float(s) for s in smooth)
    if len(smooth) != len(shape) or any(not 0 <= s < float("inf") for s in smooth):
        raise BadArgument("one non-negative sigma per axis", found=smooth, due=f"{len(shape)} numbers, in voxels")
    check_size((labels.shape[0], *shape), labels.dtype.itemsize, where="a resampled label map")
    backend = choose(
        "label_vote", LABEL_VOTE, labels, stages, shape, order=order, border=border, fill=fill, smooth=smooth
    )
    result: Tensor = backend.run(labels, stages, shape, order=order, border=border, fill=fill, smooth=smooth)
    return result


def logit_argmax(
    logits: Tensor,
    stages: Stages,
    shape: Sequence[int],
    *,
    order: int = 1,
    border: Border = "border",
    fill: float | Sequence[float] = 0.0,
    dtype: torch.dtype = torch.uint8,
    probabilities: Sequence[int] | None = None,
) -> Tensor:
    """Bring logits to a lattice and decide there, without a resampled volume for each class.

    Several channels are classes of a softmax, 0 to C - 1: the highest logit wins, of equal ones the lowest class. One
    channel is the logit of class 1 against class 0 (a sigmoid): class 1 wins where it is above 0. Anything else that
    only has to be compared may be given, too: probabilities, or negative distances.

    Args:
        logits: (C, *in) with one, two or three spatial axes; floating point.
        stages: matrices (d + 1, d + 1) and `Knots`, applied in turn to an output index to give an input index.
        shape: the output's spatial sizes.
        order: 0 nearest, 1 linear, 3 cubic B-spline.
        border: what lies beyond the edge; see `reference.pull`.
        fill: the logit outside for border "zero": one for all, or one for each channel.
        dtype: of the labels: torch.uint8 or torch.int16.
        probabilities: classes whose probabilities are wanted in place of labels.

    Returns:
        labels (1, *shape), or probabilities (len(probabilities), *shape) of float32 (float64 for float64 logits).

    Raises:
        BadArgument: an option is unknown, the shape does not fit, or the dtype cannot hold all classes.
        BadGeometry: a stage is not finite or of another rank.
        TooLarge: the output passes the image limit.
    """
    if not logits.dtype.is_floating_point:
        raise BadArgument("logits are floating point", found=logits.dtype, due="float32, float16, bfloat16 or float64")
    shape = check_call(logits, stages, shape, order=order, border=border, op="logit_argmax")
    classes = max(logits.shape[0], 2)
    if dtype not in (torch.uint8, torch.int16) or classes > torch.iinfo(dtype).max + 1:
        raise BadArgument(
            "labels of this type cannot hold the classes", found=f"{classes} classes in {dtype}", due="uint8 or int16"
        )
    fills = [float(f) for f in ([fill] * logits.shape[0] if isinstance(fill, int | float) else fill)]
    if len(fills) != logits.shape[0]:
        raise BadArgument("one fill for each channel", found=len(fills), due=logits.shape[0])
    if probabilities is not None:
        probabilities = [int(c) for c in probabilities]
        if not probabilities or not all(0 <= c < classes for c in probabilities):
            raise BadArgument("there is no such class", found=probabilities, due=f"some of 0 to {classes - 1}")
    bytes_each = dtype.itemsize if probabilities is None else 4
    check_size((len(probabilities or (0,)), *shape), bytes_each, where="a decision between logits")
    options = {"order": order, "border": border, "fill": fills, "dtype": dtype, "probabilities": probabilities}
    backend = choose("logit_argmax", LOGIT_ARGMAX, logits, stages, shape, **options)
    result: Tensor = backend.run(logits, stages, shape, **options)
    return result
