"""Sampling with gradients in C++; see `reference.gradients` for its meaning.

Without a displacement, and through a float32 one on coarse knots, values are those of `native.pull`. Gradients are
summed in an order that does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.kernels.native import library, memory
from medframe.kernels.native import sampling as pulling
from medframe.kernels.stages import BORDERS, Border, Knots, Matrix, Stages

Array = NDArray[np.float64]


def declines_sample(volume: Tensor, matrix: Tensor, displacement: Tensor | None, shape: Sequence[int]) -> str | None:
    """Why this back end cannot serve a sampling or its gradients, or None."""
    if volume.dtype not in (torch.float32, torch.float64):
        return f"voxels of type {volume.dtype}"
    with torch.no_grad():
        for tensor in (matrix, displacement):
            if tensor is not None and (tensor.device.type != "cpu" or tensor.layout != torch.strided):
                return "a tensor is not a plain one on the CPU"
        return pulling.declines_walk(volume[0], [], shape)


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
    """Serve a sampling, sample by sample."""
    native = library.core()
    assert native is not None  # declines_sample was asked
    out = memory.empty((*volume.shape[:2], *shape), volume.dtype)
    exact = displacement is not None and (volume.dtype == torch.float64 or displacement.shape[2:] == tuple(shape))
    for b in range(volume.shape[0]):
        onward = matrix[b].detach().double().numpy()
        if not exact:
            stages: list[Matrix | Knots] = [lead.double().numpy(), onward]
            if displacement is not None:
                stages.insert(1, Knots(displacement[b], knot_matrix.double().numpy(), knot_order))
            with torch.no_grad():
                pulling.pull(
                    volume[b], stages, shape, order=order, border=border, fill=fill, dtype=volume.dtype, out=out[b]
                )
            continue
        ends = _Ends(volume.shape[2:], shape, lead, onward)
        native.sample(
            ends.volume(_coefficients(volume[b], order, border)),
            ends.out(out[b]),
            ends.lead,
            ends.last,
            ends.field(displacement, b, knot_matrix, knot_order, volume.dtype),
            order,
            BORDERS.index(border),
            fill,
            torch.get_num_threads(),
        )
    return out


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
    """The gradients of `sample`."""
    native = library.core()
    assert native is not None  # declines_sample was asked
    shape = grad.shape[2:]
    by_volume = memory.empty(volume.shape, volume.dtype).zero_() if needs[0] else None
    by_matrix = torch.zeros(matrix.shape, dtype=torch.float64) if needs[1] else None
    by_field: list[NDArray[Any]] = []
    for b in range(volume.shape[0]):
        ends = _Ends(volume.shape[2:], shape, lead, matrix[b].detach().double().numpy())
        needs_places = needs[1] or needs[2]
        read = _coefficients(volume[b], order, border) if needs_places else volume[b].detach().contiguous()
        field = ends.field(displacement, b, knot_matrix, knot_order, volume.dtype)
        grad_last = np.zeros((3, 4)) if needs[1] else None
        if needs[2] and field is not None:
            by_field.append(np.zeros_like(field[0]))
        native.sample_backward(
            ends.volume(read),
            ends.out(grad[b].detach().to(volume.dtype).contiguous()),
            ends.lead,
            ends.last,
            field,
            [],
            order,
            BORDERS.index(border),
            fill,
            None if by_volume is None else ends.volume(by_volume[b]),
            grad_last,
            by_field[-1] if by_field else None,
            torch.get_num_threads(),
        )
        if by_volume is not None and order == 3:
            adjoint_prefilter(by_volume[b], border)
        if by_matrix is not None and grad_last is not None:
            by_matrix[b, :-1] = torch.from_numpy(ends.own(grad_last))
    moved: Tensor | None = None
    if by_field and displacement is not None:
        d = displacement.shape[1]
        moved = torch.stack([torch.from_numpy(f[3 - d :].reshape(displacement.shape[1:])) for f in by_field])
        moved = moved.to(displacement.dtype)
    return by_volume, None if by_matrix is None else by_matrix.to(matrix.dtype), moved


def push(values: Tensor, stages: Stages, shape: Sequence[int], *, order: int, border: Border) -> Tensor:
    """Serve a push; see `reference.push`."""
    native = library.core()
    assert native is not None  # declines_push was asked
    out = memory.empty((values.shape[0], *shape), values.dtype).zero_()
    in_axes, in_shape = pulling.as_3d(shape)
    out_shape, lead, knots = pulling.route(stages, values.shape[1:], in_axes)
    target = out.numpy().reshape(-1, *in_shape)
    native.sample_backward(
        target,  # not read: no gradient with respect to places is asked for
        values.detach().contiguous().numpy().reshape(-1, *out_shape),
        lead,
        np.eye(4),
        None,
        knots,
        order,
        BORDERS.index(border),
        0.0,
        target,
        None,
        None,
        torch.get_num_threads(),
    )
    if order == 3:
        adjoint_prefilter(out, border)
    return out


def declines_push(values: Tensor, stages: Stages, shape: Sequence[int], *, order: int, border: Border) -> str | None:
    """Why this back end cannot serve a push, or None."""
    if values.dtype not in (torch.float32, torch.float64):
        return f"values of type {values.dtype}"
    if values.dtype == torch.float64 and any(isinstance(stage, Knots) for stage in stages):
        return "float64 values and a displacement, which is float32 here"
    return pulling.declines_walk(values, stages, shape)


def adjoint_prefilter(volume: Tensor, border: Border) -> None:
    """Apply the transpose of the spline prefilter to a contiguous (C, *in), in place.

    Mirrored at the edge voxels' centres, interpolation B is not symmetric, but D B is, where D halves the first and the
    last of a line; hence the transpose of its inverse is D B^-1 D^-1. Periodic, B is symmetric.
    """
    native = library.core()
    assert native is not None
    if border != "wrap":
        _scale_ends(volume, 2.0)
    native.prefilter(
        volume.numpy().reshape(-1, *pulling.as_3d(volume.shape[1:])[1]), border == "wrap", torch.get_num_threads()
    )
    if border != "wrap":
        _scale_ends(volume, 0.5)


def _scale_ends(volume: Tensor, factor: float) -> None:
    for axis in range(1, volume.ndim):
        if volume.shape[axis] > 1:
            volume.select(axis, 0).mul_(factor)
            volume.select(axis, -1).mul_(factor)


def _coefficients(volume: Tensor, order: int, border: Border) -> Tensor:
    given = volume.detach().contiguous()
    if order != 3:
        return given
    native = library.core()
    assert native is not None
    given = memory.empty(given.shape, given.dtype).copy_(given)
    native.prefilter(
        given.numpy().reshape(-1, *pulling.as_3d(given.shape[1:])[1]), border == "wrap", torch.get_num_threads()
    )
    return given


class _Ends:
    """How the lattices and matrices of any rank stand among three axes."""

    def __init__(self, in_shape: Sequence[int], shape: Sequence[int], lead: Tensor, onward: Matrix) -> None:
        rank = len(in_shape)
        self.plain = list(range(3 - rank, 3))
        self.in_axes, self.in_shape = pulling.as_3d(in_shape)
        out_axes, self.out_shape = pulling.as_3d(shape)
        enter, leave = np.zeros((4, 4)), np.zeros((4, 4))
        enter[[*self.plain, 3], [*out_axes, 3]] = 1
        leave[[*self.in_axes, 3], [*self.plain, 3]] = 1
        self.lead = self._embed(lead.double().numpy()) @ enter
        self.last = leave @ self._embed(onward)

    def volume(self, tensor: Tensor) -> NDArray[Any]:
        """(C, *in) as the kernel takes it, the same memory."""
        return tensor.numpy().reshape(-1, *self.in_shape)

    def out(self, tensor: Tensor) -> NDArray[Any]:
        """(C, *shape) as the kernel takes it, the same memory."""
        return tensor.numpy().reshape(-1, *self.out_shape)

    def own(self, grad_last: Array) -> Array:
        """The gradient of the matrix of this rank, without its last row, from that of the kernel's."""
        return grad_last[np.ix_(self.in_axes, [*self.plain, 3])]

    def field(
        self, displacement: Tensor | None, b: int, knot_matrix: Tensor, order: int, dtype: torch.dtype
    ) -> tuple[NDArray[Any], int, Array] | None:
        """A sample's displacement as the kernel takes it."""
        if displacement is None:
            return None
        values = displacement[b].detach().to(dtype).contiguous().numpy()
        rank = values.shape[0]
        if rank < 3:
            full = np.zeros((3, *(1,) * (3 - rank), *values.shape[1:]), values.dtype)
            full[3 - rank :] = values.reshape(rank, *full.shape[1:])
            values = full
        return values, order, self._embed(knot_matrix.double().numpy())

    def _embed(self, matrix: Matrix) -> Array:
        return pulling.embed(matrix, self.plain, self.plain)
