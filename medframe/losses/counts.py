"""Soft voxel counts from a label map, without a one-hot copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medframe.losses.tensors import full_precision

EXCLUDED = -1
"""The label of voxels that do not count."""

CHUNK = {"cpu": 2**17, "cuda": 2**22}
"""Numbers worked on at a time: on a CPU they stay in its cache, on a GPU they are enough to fill it."""


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


def label_sums(logits: Tensor, labels: Tensor, share: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `label_counts` gives for power 1, and for each class the sum of -log p over its voxels.

    From logits rather than log-probabilities, which are computed in chunks of voxels, on the way forward and once more
    on the way back: beyond the gradient nothing of the size of the logits is made or kept.

    Args:
        logits: (B, C, N), of any floating type; computed in float32 at least.
        labels: (B, N) int64, 0 to C - 1 or EXCLUDED.
        share: (B, N) what each voxel counts for; 1 by default.

    Returns:
        Four tensors (B, C): predicted where it is, predicted at all, there, and -log p where it is.
    """
    both, predicted, there, surprise = _LabelSums.apply(logits, labels, share)  # type: ignore[no-untyped-call]  # torch's own
    return both, predicted, there, surprise


class _LabelSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, share: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        sums = []
        norm = logits.new_empty(labels.shape, dtype=_wide(logits))  # log of the sum of exponentials
        with full_precision(logits):
            for z, y, w, part in _chunks(logits, labels, share):
                top = z.amax(1, keepdim=True)
                p = (z - top).exp_()
                total = p.sum(1, keepdim=True)
                p.div_(total)
                norm[:, None, part] = total.log_().add_(top)
                surprise = total.sub_(z.gather(1, _true(y, w)))  # -log p of the true class
                here = (y == _classes(z)).to(z.dtype)
                rows = torch.cat([surprise.neg().exp_(), torch.ones_like(surprise), surprise], 1)
                both, there, missed = _sums(here, rows if w is None else rows.mul_(w)).unbind(-1)
                predicted = p.sum(-1) if w is None else _sums(p, w)[..., 0]
                sums.append(torch.stack([both, predicted, there, missed]))
        ctx.save_for_backward(logits, labels, share, norm)
        whole = torch.stack(sums).sum(0) if sums else norm.new_zeros((4, *logits.shape[:2]))
        both, predicted, there, missed = whole.unbind()
        ctx.mark_non_differentiable(there)
        return both, predicted, there, missed

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_both: Tensor, grad_predicted: Tensor, _: Tensor, grad_missed: Tensor
    ) -> tuple[Tensor, None, None]:
        logits, labels, share, norm = ctx.saved_tensors
        grad = torch.empty_like(logits)
        with full_precision(logits):
            for z, y, w, part in _chunks(logits, labels, share):
                slope = grad[:, :, part] if grad.dtype == z.dtype else torch.empty_like(z)
                p = torch.sub(z, norm[:, None, part], out=slope).exp_()
                true = _true(y, w)
                own = p.gather(1, true).mul_(grad_both.gather(1, true[:, 0])[:, None])
                missed = grad_missed.gather(1, true[:, 0])[:, None]
                mean = _sums(p.mT, grad_predicted[:, None]).mT  # B, 1, n
                # d p_c / d z_k = p_c ([c = k] - p_k), and d -log p_y / d z_k = p_k - [k = y]
                shift, at_true = (missed - own).sub_(mean), own.sub_(missed)
                if w is None:
                    p.mul_(shift.add(grad_predicted[..., None]))
                else:
                    p.mul_(torch.addcmul(shift.mul_(w), grad_predicted[..., None], w))
                    at_true.mul_(w)
                _add_at(p, y, true, at_true)
                if slope.dtype != grad.dtype:
                    grad[:, :, part] = slope
        return grad, None, None


def _chunks(
    logits: Tensor, labels: Tensor, share: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor | None, slice]]:
    """Logits (B, C, n), labels and shares (B, 1, n) of some voxels, and which they are; no shares where all count 1."""
    batch, classes, voxels = logits.shape
    size = max(1, CHUNK.get(logits.device.type, 2**22) // max(1, batch * classes))
    # on a GPU the host would have to wait for the answer
    on_host = logits.device.type == "cpu" and not torch.compiler.is_compiling()
    alike = on_host and share is None and bool(voxels) and int(labels.min()) >= 0
    if torch.compiler.is_compiling():
        size = max(1, voxels)  # a loop would be written out step by step
    for start in range(0, voxels, size):
        part = slice(start, start + size)
        z, y = logits[:, :, part].to(_wide(logits)), labels[:, None, part]
        if alike:
            yield z, y, None, part
            continue
        counted = y != EXCLUDED
        yield z, y, counted.to(z.dtype) if share is None else share[:, None, part] * counted, part


def _true(y: Tensor, w: Tensor | None) -> Tensor:
    """A class to look up for every voxel: excluded ones, which weigh nothing, take the first."""
    return y if w is None else y.clamp(min=0)


def _wide(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _classes(z: Tensor) -> Tensor:
    return torch.arange(z.shape[1], device=z.device)[:, None]


def _sums(rows: Tensor, weights: Tensor) -> Tensor:
    """Sums of (B, K, n) rows by (B, J, n) weights, (B, K, J): by the quick product where it keeps all digits."""
    if rows.device.type == "cpu":
        return torch.matmul(rows, weights.mT)
    return torch.stack([(rows * w[:, None]).sum(-1) for w in weights.unbind(1)], -1)


def _add_at(slope: Tensor, labels: Tensor, true: Tensor, values: Tensor) -> Tensor:
    """Adds (B, 1, n) values to the class of each voxel; on CUDA without scattering, which is not deterministic."""
    if slope.device.type == "cpu":
        return slope.scatter_add_(1, true, values)
    return slope.add_(torch.where(labels == _classes(slope), values, 0))
