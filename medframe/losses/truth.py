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
    """One class a voxel, under softmax.

    Args:
        labels: (B, N) int64, EXCLUDED where a voxel does not count.
        share: (B, N) what each voxel counts for, 0 where it does not; None for 1.
        cases: (B,) what each case counts for; None for 1.
    """

    labels: Tensor
    share: Tensor | None = None
    cases: Tensor | None = None

    def counts(self, log_p: Tensor, power: int) -> Counts:
        return Counts(*label_counts(log_p, self.labels, power, self.share))

    def cross_entropy(self, log_p: Tensor, logits: Tensor, weight: Tensor) -> Tensor:
        # summed by hand, since the fused sum is not deterministic on CUDA and its mean of no voxels is NaN
        loss = F.nll_loss(log_p, self.labels, weight, ignore_index=EXCLUDED, reduction="none")
        there = F.pad(weight, (0, 1))[self.labels]  # label EXCLUDED, -1, picks the padded zero
        by = self.shares(log_p)
        if by is not None:
            loss, there = loss * by[:, 0], there * by[:, 0]
        return loss.sum() / or_one(there.sum())

    def channels(self, like: Tensor) -> Tensor:
        """One channel for each class, (B, C, N) of 0 and 1; all 0 where a voxel does not count."""
        classes = torch.arange(like.shape[1], device=like.device)[:, None]
        return (self.labels[:, None] == classes).to(like.dtype)

    def shares(self, like: Tensor) -> Tensor | None:
        """What each voxel counts for, its case's weight included: (B, 1, N), (B, 1, 1), or None for 1 everywhere."""
        return _times(self.share, self.cases)

    def kept(self, values: Tensor) -> Tensor:
        """Values (B, C, N), 0 where a voxel does not count, else times what it counts for (its case's weight apart)."""
        values = torch.where((self.labels != EXCLUDED)[:, None], values, 0)
        return values if self.share is None else values * self.share[:, None]


@dataclass(frozen=True)
class Probabilities:
    """Any probability for each class.

    Args:
        target: (B, C, N).
        keep: (B, 1, N), False where a voxel does not count; None where all do.
        activation: how the logits are read.
        share: (B, N) what each voxel counts for; None for 1.
        cases: (B,) what each case counts for; None for 1.
    """

    target: Tensor
    keep: Tensor | None
    activation: Activation
    share: Tensor | None = None
    cases: Tensor | None = None

    def counts(self, log_p: Tensor, power: int) -> Counts:
        p, t = log_p.exp(), self.target
        return Counts(*(self.kept(v).sum(-1) for v in (p * t, p**power, t**power)))

    def cross_entropy(self, log_p: Tensor, logits: Tensor, weight: Tensor) -> Tensor:
        weights = weight[:, None]  # C, 1
        if self.activation == "softmax":
            loss, share = -self.target * log_p, self.target
        else:
            loss = F.binary_cross_entropy_with_logits(logits, self.target, reduction="none")
            share = torch.ones_like(self.target)
        loss, share = (self.kept(v) * weights for v in (loss, share))
        if self.cases is not None:
            loss, share = (v * self.cases[:, None, None] for v in (loss, share))
        return loss.sum() / or_one(share.sum())

    def channels(self, like: Tensor) -> Tensor:
        """The target as it is, (B, C, N); 0 where a voxel does not count."""
        return self.target if self.keep is None else torch.where(self.keep, self.target, 0)

    def shares(self, like: Tensor) -> Tensor | None:
        """See `Labels.shares`."""
        return _times(self.share, self.cases)

    def kept(self, values: Tensor) -> Tensor:
        """See `Labels.kept`."""
        values = values if self.keep is None else torch.where(self.keep, values, 0)
        return values if self.share is None else values * self.share[:, None]


Truth: TypeAlias = Labels | Probabilities


def _times(share: Tensor | None, cases: Tensor | None) -> Tensor | None:
    if share is None:
        return None if cases is None else cases[:, None, None]
    return share[:, None] if cases is None else share[:, None] * cases[:, None, None]


def check_activation(activation: str) -> None:
    """Raise BadArgument unless the activation is one we know."""
    if activation not in ("softmax", "sigmoid"):
        raise BadArgument("activation is not known", found=repr(activation), due="softmax or sigmoid")


def flat_logits(logits: Tensor, activation: Activation) -> Tensor:
    """Logits as (B, C, N).

    Raises:
        BadGeometry: no spatial axes.
        BadArgument: softmax over a single channel.
    """
    if logits.dim() < 3:
        raise BadGeometry("logits have no spatial axes", found=f"shape {tuple(logits.shape)}", due="(B, C, *spatial)")
    if activation == "softmax" and logits.shape[1] == 1:
        raise BadArgument(
            "softmax over one channel is always one",
            found=f"logits of shape {tuple(logits.shape)}",
            due="two channels or more",
            mend='Let the network answer with one channel for each class, or use activation="sigmoid".',
        )
    return logits.flatten(2)


def read_logits(logits: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    """Logits and their log-probabilities as (B, C, N), in float32 at least, whatever autocast made of them."""
    flat = flat_logits(logits, activation)
    if flat.dtype in (torch.float16, torch.bfloat16):
        flat = flat.float()
    return flat, F.log_softmax(flat, 1) if activation == "softmax" else F.logsigmoid(flat)


def read_target(
    logits: Tensor,
    target: Tensor,
    activation: Activation,
    ignore: int | None,
    *,
    voxel_weight: Tensor | None = None,
    case_weight: Tensor | None = None,
) -> Truth:
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
        voxel_weight: (B, 1, *spatial) or (B, *spatial), what each voxel counts for, zero or more; a bool mask keeps the
            voxels that are True. Voxels of weight 0 do not count at all.
        case_weight: (B,), what each case counts for, zero or more.

    Raises:
        BadGeometry: the target's shape, or that of the weights, is not that of the logits.
        BadLabel: a label outside the classes, or floats that are not one channel for each class.
        BadArgument: `ignore` with probabilities, which hold no label.
    """
    batch, classes, *spatial = logits.shape
    wide = torch.promote_types(logits.dtype, torch.float32)
    share, cases = _read_weights(logits, voxel_weight, case_weight, wide)
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
        truth = target.flatten(2).to(wide)
        return Probabilities(truth, None if share is None else (share > 0)[:, None], activation, share, cases)
    if tuple(target.shape) not in ((batch, 1, *spatial), (batch, *spatial)):
        raise BadGeometry(
            "the label map does not lie on the lattice of the logits",
            found=f"labels of shape {tuple(target.shape)}",
            due=f"{(batch, 1, *spatial)} or {(batch, *spatial)}",
        )
    labels = target.reshape(batch, -1).long()  # widened first: uint8 cannot be compared with -1
    labels = _checked(labels, max(classes, 2), ignore)
    if share is not None:
        labels = labels.masked_fill(share == 0, EXCLUDED)
    if activation == "softmax":
        return Labels(labels, share, cases)
    first = 1 if classes == 1 else 0  # a single sigmoid channel stands for label 1
    one_hot = torch.stack([labels == first + c for c in range(classes)], 1)
    keep = None if ignore is None and share is None else (labels != EXCLUDED)[:, None]
    return Probabilities(one_hot.to(wide), keep, activation, share, cases)


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


def _read_weights(
    logits: Tensor, voxel_weight: Tensor | None, case_weight: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor | None]:
    """Weights of voxels (B, N) and of cases (B,)."""
    batch, _, *spatial = logits.shape
    share = cases = None
    if voxel_weight is not None:
        if tuple(voxel_weight.shape) not in ((batch, 1, *spatial), (batch, *spatial)):
            raise BadGeometry(
                "the voxel weights do not lie on the lattice of the logits",
                found=f"shape {tuple(voxel_weight.shape)}",
                due=f"{(batch, 1, *spatial)} or {(batch, *spatial)}",
            )
        share = _not_negative(voxel_weight.detach().reshape(batch, -1).to(logits.device, dtype), "voxel_weight")
    if case_weight is not None:
        if tuple(case_weight.shape) != (batch,):
            raise BadGeometry(
                "not one weight for each case", found=f"shape {tuple(case_weight.shape)}", due=f"{(batch,)}"
            )
        cases = _not_negative(case_weight.detach().to(logits.device, dtype), "case_weight")
    return share, cases


def _not_negative(weight: Tensor, where: str) -> Tensor:
    sentence = "a weight is negative or not finite"
    fine = ((weight >= 0) & weight.isfinite()).all()
    if weight.is_cuda:
        torch._assert_async(fine, sentence)
    elif not bool(fine):
        raise BadArgument(sentence, where=where, due="zero or more")
    return weight
