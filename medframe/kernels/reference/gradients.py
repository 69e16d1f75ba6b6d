"""The meaning of sampling with gradients: plain torch, differentiated by torch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from medframe.kernels.reference.sampling import field, read_at, spline_prefilter, transform, unravel, walk
from medframe.kernels.stages import Border, Knots, Stages


def sample(  # noqa: PLR0917
    volume: Tensor,
    matrix: Tensor,
    displacement: Tensor | None,
    lead: Tensor,
    knot_matrix: Tensor,
    shape: Sequence[int],
    *,
    order: int,
    knot_order: int,
    border: Border,
    fill: float,
) -> Tensor:
    """Read each `volume` (B, C, *in) at matrix(x + f(x)), x = lead(o) for each index o of `shape`; (B, C, *shape).

    f is the sample's `displacement` (B, d, *knots), read at knot_matrix(x) as `Knots` are. Values between voxels are
    those of `reference.pull`. Where a derivative jumps, as that of order 1 does at whole places, it is the one towards
    higher indices.
    """
    shape = tuple(shape)
    total = 1
    for n in shape:
        total *= n
    start = unravel(torch.arange(total, device=volume.device), shape)
    start = transform(lead.detach().cpu().numpy(), start)
    made = []
    for b in range(volume.shape[0]):
        x = start
        if displacement is not None:
            x = x + field(Knots(displacement[b], knot_matrix.detach().cpu().numpy(), knot_order), x)
        m = matrix[b].to(torch.float64)
        source = spline_prefilter(volume[b], border) if order == 3 else volume[b]
        made.append(read_at(source, x @ m[:-1, :-1].T + m[:-1, -1], order, border, fill))
    return torch.stack(made).reshape(*volume.shape[:2], *shape)


def sample_backward(  # noqa: PLR0917
    grad: Tensor,
    volume: Tensor,
    matrix: Tensor,
    displacement: Tensor | None,
    lead: Tensor,
    knot_matrix: Tensor,
    *,
    order: int,
    knot_order: int,
    border: Border,
    fill: float,
    needs: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of `sample` for those of volume, matrix and displacement that `needs` names."""
    tensors = (volume, matrix, displacement)
    given = [None if t is None else t.detach().requires_grad_(n) for t, n in zip(tensors, needs, strict=True)]
    wanted = [t for t in given if t is not None and t.requires_grad]

    def run() -> list[Tensor]:
        v, m, f = given
        assert v is not None
        assert m is not None
        how = {"order": order, "knot_order": knot_order, "border": border, "fill": fill}
        out = sample(v, m, f, lead, knot_matrix, grad.shape[2:], **how)  # type: ignore[arg-type]
        return list(torch.autograd.grad(out, wanted, grad.detach(), allow_unused=True, materialize_grads=True))

    # inside of an op that is registered with torch, autograd is off; in a thread of its own it is on
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(run).result() if wanted else []
    result = [found.pop(0) if t is not None and t.requires_grad else None for t in given]
    return result[0], result[1], result[2]


def push(values: Tensor, stages: Stages, shape: Sequence[int], *, order: int, border: Border) -> Tensor:
    """The adjoint of `pull` from `shape` with a fill of 0: sum(push(y) * x) = sum(y * pull(x)) for all x and y.

    Each value of `values` (C, *out) is added to the voxels of (C, *shape) from which `pull` would have read it, with
    the same weights; for order 3 the adjoint of the prefilter follows.
    """
    volume = torch.zeros((values.shape[0], *shape), dtype=values.dtype, device=values.device, requires_grad=True)
    total = values[0].numel()
    with torch.enable_grad():
        source = spline_prefilter(volume, border) if order == 3 else volume
        points = walk(stages, unravel(torch.arange(total, device=values.device), values.shape[1:]))
        out = read_at(source, points, order, border, 0.0)
        (result,) = torch.autograd.grad(out, [volume], values.detach().flatten(1))
    return result
