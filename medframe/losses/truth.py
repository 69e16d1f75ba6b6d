"""What a loss compares with: label maps or class probabilities, read, checked and masked in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from medframe.base.errors import BadArgument, BadGeometry, BadLabel
from medframe.losses.counts import EXCLUDED, label_counts
from medframe.losses.weights import or_one

Activation: TypeAlias = Literal["softmax", "sigmoid"]


class Counts(NamedTuple):
    """Soft voxel counts, each (B, C): where both agree, what is predicted, what is there."""

    both: Tensor
    predicted: Tensor
    there: Tensor


@dataclass(frozen=True)
class Labels:
    """One class a voxel, under softmax. labels: (B, N) int64, EXCLUDED where a voxel does not count."""

    labels: Tensor

    def counts(self, log_p: Tensor, power: int) -> Counts:
        return Counts(*label_counts(log_p, self.labels, power))

    def cross_entropy(self, log_p: Tensor, logits: Tensor, weight: Tensor) -> Tensor:
        # summed by hand, since the fused sum is not deterministic on CUDA and its mean of no voxels is NaN
        loss = F.nll_loss(log_p, self.labels, weight, ignore_index=EXCLUDED, reduction="none").sum()
        there = F.pad(weight, (0, 1))[self.labels].sum()  # label EXCLUDED, -1, picks the padded zero
        return loss / or_one(there)


@dataclass(frozen=True)
class Probabilities:
    """Any probability for each class. target: (B, C, N); keep: (B, 1, N), False where a voxel does not count."""

    target: Tensor
    keep: Tensor | None
    activation: Activation

    def counts(self, log_p: Tensor, power: int) -> Counts:
        p, t = self._kept(log_p.exp()), self._kept(self.target)
        return Counts((p * t).sum(-1), (p**power).sum(-1), (t**power).sum(-1))

    def cross_entropy(self, log_p: Tensor, logits: Tensor, weight: Tensor) -> Tensor:
        weights = weight[:, None]  # C, 1
        if self.activation == "softmax":
            loss, share = -self.target * log_p, self.target
        else:
            loss = F.binary_cross_entropy_with_logits(logits, self.target, reduction="none")
            share = torch.ones_like(self.target)
        return (self._kept(loss) * weights).sum() / or_one((self._kept(share) * weights).sum())

    def _kept(self, values: Tensor) -> Tensor:
        return values if self.keep is None else torch.where(self.keep, values, 0)


def check_activation(activation: str) -> None:
    """Raise BadArgument unless the activation is one we know."""
    if activation not in ("softmax", "sigmoid"):
        raise BadArgument("activation is not known", found=repr(activation), due="softmax or sigmoid")


def read_logits(logits: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    """Logits and their log-probabilities as (B, C, N), in float32 at least, whatever autocast made of them."""
    if logits.dim() < 3:
        raise BadGeometry("logits have no spatial axes", found=f"shape {tuple(logits.shape)}", due="(B, C, *spatial)")
    if activation == "softmax" and logits.shape[1] == 1:
        raise BadArgument(
            "softmax over one channel is always one",
            found=f"logits of shape {tuple(logits.shape)}",
            due="two channels or more",
            mend='Let the network answer with one channel for each class, or use activation="sigmoid".',
        )
    flat = logits.flatten(2)
    if flat.dtype in (torch.float16, torch.bfloat16):
        flat = flat.float()
    return flat, F.log_softmax(flat, 1) if activation == "softmax" else F.logsigmoid(flat)


def read_target(logits: Tensor, target: Tensor, activation: Activation, ignore: int | None) -> Labels | Probabilities:
    """The target in the form that suits it.

    Integers (B, 1, *spatial) or (B, *spatial) are labels 0 to C - 1; with a single sigmoid channel they are 0 and 1.
    Floats (B, C, *spatial) are probabilities.

    On a CPU a label outside that range raises. On CUDA that would make the host wait for the device at every step, so
    a check is left on the device instead: there a bad label stops the process with torch's own error, which holds the
    same sentence.

    Args:
        logits: (B, C, *spatial).
        target: see above.
        activation: how the logits are read.
        ignore: voxels of this label do not count.

    Raises:
        BadGeometry: the target's shape is not that of the logits.
        BadLabel: a label outside the classes, or floats that are not one channel for each class.
        BadArgument: `ignore` with probabilities, which hold no label.
    """
    batch, classes, *spatial = logits.shape
    if target.is_floating_point():
        if target.shape != logits.shape:
            raise BadLabel(
                "a floating target does not hold a probability for each class",
                found=f"{target.dtype} of shape {tuple(target.shape)}",
                due=f"shape {tuple(logits.shape)}, or integer labels of shape {(batch, 1, *spatial)}",
                mend="If it holds labels, convert it: target.long().",
            )
        if ignore is not None:
            raise BadArgument("probabilities have no label to ignore", found=f"ignore={ignore}", due="integer labels")
        return Probabilities(target.flatten(2).to(torch.promote_types(logits.dtype, torch.float32)), None, activation)
    if tuple(target.shape) not in ((batch, 1, *spatial), (batch, *spatial)):
        raise BadGeometry(
            "the label map does not lie on the lattice of the logits",
            found=f"labels of shape {tuple(target.shape)}",
            due=f"{(batch, 1, *spatial)} or {(batch, *spatial)}",
        )
    labels = target.reshape(batch, -1).long()  # widened first: uint8 cannot be compared with -1
    labels = _checked(labels, max(classes, 2), ignore)
    if activation == "softmax":
        return Labels(labels)
    first = 1 if classes == 1 else 0  # a single sigmoid channel stands for label 1
    one_hot = torch.stack([labels == first + c for c in range(classes)], 1)
    keep = None if ignore is None else (labels != EXCLUDED)[:, None]
    return Probabilities(one_hot.to(torch.promote_types(logits.dtype, torch.float32)), keep, activation)


def _checked(labels: Tensor, classes: int, ignore: int | None) -> Tensor:
    """Labels with EXCLUDED for `ignore`, and nothing else outside 0 to classes - 1: the one masking rule."""
    excluded = None if ignore is None else labels == ignore
    real = labels if excluded is None else labels.masked_fill(excluded, 0)
    sentence = f"a label is not among the {classes} classes"
    if real.is_cuda:
        torch._assert_async(((real >= 0) & (real < classes)).all(), sentence)
    elif real.numel():
        low, high = (int(v) for v in torch.aminmax(real))
        if low < 0 or high >= classes:
            raise BadLabel(
                sentence,
                found=f"labels from {low} to {high}",
                due=f"0 to {classes - 1}" + ("" if ignore is None else f", or {ignore}, which is ignored"),
                mend="Map the labels to 0, 1, 2, ..., give the network more classes, or set ignore to the extra label.",
            )
    return labels if excluded is None else labels.masked_fill(excluded, EXCLUDED)
