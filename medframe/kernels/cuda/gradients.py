"""Sampling with gradients on the GPU; see `reference.gradients` for its meaning.

Places are in double precision, values and gradients in single. Gradients of matrices and displacements are summed in an
order that is always the same; that of the volume by atomic additions, whose last bits may differ from run to run: where
`torch.use_deterministic_algorithms` is on, the reference serves. Besides its results, a backward pass allocates a few
thousand doubles for a matrix's gradient, one float32 field on the output's lattice for that of a displacement on coarse
knots, and for order 3 one float32 volume of coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.kernels.cuda import launch
from medframe.kernels.cuda.chains import as_3d, declines_lattices
from medframe.kernels.cuda.sampling import adjoint_coefficients, coefficients
from medframe.kernels.cuda.sources import Kernel, kernel
from medframe.kernels.stages import BORDERS, Border

STILL, DENSE, COARSE = 0, 1, 2  # as in sample.cu
SAMPLING = np.dtype(
    [
        ("lead", np.float64, (3, 4)),
        ("to_knots", np.float64, (3, 4)),
        ("row", np.int32, 3),
        ("rank", np.int32),
        ("in", np.int32, 3),
        ("out", np.int32, 3),
        ("knots", np.int32, 3),
        ("knot_order", np.int32),
        ("border", np.int32),
        ("fill", np.float32),
    ],
    align=True,
)
GATHERING = np.dtype(
    [
        ("to_knots", np.float64, (3, 4)),
        ("back", np.float64, (3, 3)),
        ("least", np.float64, 3),
        ("most", np.float64, 3),
        ("out", np.int32, 3),
        ("knots", np.int32, 3),
        ("rank", np.int32),
        ("whole", np.int32),
    ],
    align=True,
)
_BLOCKS = 512  # that share a sample: as many partial sums of a matrix's gradient
_MANY = 4096  # output voxels around a knot, from which a whole block looks at them and not one warp


def declines_sample(volume: Tensor, matrix: Tensor, displacement: Tensor | None, shape: Sequence[int]) -> str | None:
    """Why this back end cannot serve a sampling, or None."""
    moved = [] if displacement is None else [displacement]
    with torch.no_grad():
        reason = launch.declines(volume, *(t for t in (matrix, *moved) if t.device.type != "cpu"))
    if reason is None and volume.dtype != torch.float32:
        return f"voxels of type {volume.dtype}"
    return reason or declines_lattices(volume.shape[2:], shape, *(t.shape[2:] for t in moved))


def declines_sample_backward(
    volume: Tensor, matrix: Tensor, displacement: Tensor | None, shape: Sequence[int]
) -> str | None:
    """Why this back end cannot serve the gradients of a sampling, or None."""
    if torch.are_deterministic_algorithms_enabled():
        return "it adds up in any order, and torch is to be deterministic"
    return declines_sample(volume, matrix, displacement, shape)


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
    """Serve a sampling, all samples in one launch."""
    call = _Call.of(volume, matrix, displacement, lead, knot_matrix, shape, knot_order, border, fill)
    out = torch.empty((*volume.shape[:2], *shape), dtype=torch.float32, device=volume.device)
    source = call.source(volume, order, border)
    which = kernel("sample.cu", "sample", order, call.field)
    call.launch(which, call.tiles(), source, out, call.matrices, call.values)
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
    shape, device = tuple(grad.shape[2:]), volume.device
    samples, channels = volume.shape[:2]
    call = _Call.of(volume, matrix, displacement, lead, knot_matrix, shape, knot_order, border, fill)
    turned = needs[1] or (needs[2] and displacement is not None)
    source = call.source(volume, order, border) if turned else volume.detach().contiguous()
    blocks = min(call.tiles(), _BLOCKS)
    by_volume = torch.zeros(volume.shape, dtype=torch.float32, device=device) if needs[0] else None
    partial = torch.empty((samples, blocks, 12), dtype=torch.float64, device=device) if needs[1] else None
    by_place = None
    if needs[2] and displacement is not None:
        by_place = torch.empty((samples, len(shape), *shape), dtype=torch.float32, device=device)
    upstream = grad.detach().to(torch.float32).contiguous()
    which = kernel("sample.cu", "sample_backward", order, call.field)
    call.launch(which, blocks, upstream, source, call.matrices, call.values, by_volume, partial, by_place)
    if by_volume is not None and order == 3:
        flat = by_volume.reshape(samples * channels, *call.in_shape)
        by_volume = adjoint_coefficients(flat, periodic=border == "wrap").reshape(volume.shape)
    by_matrix = None if partial is None else call.matrix_gradient(partial).to(matrix)
    if by_place is not None and displacement is not None:
        if call.field == COARSE:
            by_place = call.gathered(by_place)
        by_place = by_place.to(displacement)
    return by_volume, by_matrix, by_place


@dataclass(frozen=True)
class _Call:
    """What the kernels are told of one call.

    Args:
        job: a SAMPLING.
        field: STILL, DENSE or COARSE.
        matrices: (B, d + 1, d + 1) float64 on the volume's device.
        values: the displacements (B, d, *knots) float32 there, if any.
        in_axes: where the input's axes stand among three.
        counts: samples and channels.
        in_shape: the input's three sizes.
        out_shape: the output's three sizes.
    """

    job: NDArray[np.void]
    field: int
    matrices: Tensor
    values: Tensor | None
    in_axes: tuple[int, ...]
    counts: tuple[int, int]
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]

    @classmethod
    def of(  # noqa: PLR0917
        cls,
        volume: Tensor,
        matrix: Tensor,
        displacement: Tensor | None,
        lead: Tensor,
        knot_matrix: Tensor,
        shape: Sequence[int],
        knot_order: int,
        border: Border,
        fill: float,
    ) -> _Call:
        rank, device = len(shape), volume.device
        in_axes, in_shape = as_3d(volume.shape[2:])
        out_axes, out_shape = as_3d(shape)
        plain = list(range(3 - rank, 3))
        enter = np.zeros((4, 4))
        enter[[*plain, 3], [*out_axes, 3]] = 1
        onto = _embedded(lead, plain) @ enter
        to_knots = _embedded(knot_matrix, plain) @ onto
        job = np.zeros((), SAMPLING)
        job["lead"], job["to_knots"], job["rank"] = onto[:3], to_knots[:3], rank
        job["row"] = [in_axes.index(a) if a in in_axes else -1 for a in range(3)]
        job["in"], job["out"], job["border"], job["fill"] = in_shape, out_shape, BORDERS.index(border), fill
        job["knots"], job["knot_order"], field, values = (1, 1, 1), knot_order, STILL, None
        if displacement is not None:
            values = displacement.detach().to(device=device, dtype=torch.float32).contiguous()
            job["knots"] = (1,) * (3 - rank) + tuple(values.shape[2:])
            same = tuple(values.shape[2:]) == tuple(shape) and knot_order == 1
            still = all(_is_identity(m) for m in (lead, knot_matrix))
            field = DENSE if same and still else COARSE
        given = matrix.detach().to(torch.float64).contiguous()
        matrices = given if given.device == device else launch.stage(given.numpy(), device)
        samples, channels = volume.shape[:2]
        return cls(job, field, matrices, values, tuple(in_axes), (samples, channels), in_shape, out_shape)

    def source(self, volume: Tensor, order: int, border: Border) -> Tensor:
        """What the kernels read: the volume or its spline's coefficients."""
        given = volume.detach().contiguous()
        if order != 3:
            return given
        return coefficients(given.reshape(-1, *self.in_shape), periodic=border == "wrap")

    def block(self) -> tuple[int, int, int]:
        return (32, 8, 1) if self.out_shape[1] > 1 else (launch.THREADS, 1, 1)

    def tiles(self) -> int:
        (across, down, _), (n0, n1, n2) = self.block(), self.out_shape
        return -(-n2 // across) * -(-n1 // down) * n0

    def launch(self, which: Kernel, blocks: int, *tensors: Tensor | None) -> None:
        """Start one of sample.cu's kernels over the output's tiles; tensors left out are null pointers."""
        pointers = [np.uint64(0) if t is None else t for t in tensors]
        samples, channels = (np.int32(self.counts[0]), np.int64(self.counts[1]))
        launch.launch(
            which, (blocks, self.counts[0], 1), self.block(), *pointers, self.job.reshape(1)[0], samples, channels
        )

    def matrix_gradient(self, partial: Tensor) -> Tensor:
        """The gradient of (B, d + 1, d + 1), its last row 0, from the blocks' sums."""
        rank = len(self.in_axes)
        sums = partial.sum(1).reshape(-1, 3, 4)
        out = sums.new_zeros(sums.shape[0], rank + 1, rank + 1)
        for row, stands in enumerate(self.in_axes):
            out[:, row] = sums[:, stands, 3 - rank :]
        return out

    def gathered(self, by_place: Tensor) -> Tensor:
        """The gradient of the knots from that of the displacement of every output voxel."""
        assert self.values is not None  # the displacement's gradient was asked for
        out = torch.empty_like(self.values)
        job = np.zeros((), GATHERING)
        to_knots = self.job["to_knots"]
        job["to_knots"], job["out"], job["knots"] = to_knots, self.out_shape, self.job["knots"]
        job["rank"] = self.job["rank"]
        ends = np.array(self.out_shape) - 1.0
        linear = to_knots[:, :3] * (ends > 0)
        job["least"] = to_knots[:, 3] + np.minimum(linear * ends, 0).sum(1)
        job["most"] = to_knots[:, 3] + np.maximum(linear * ends, 0).sum(1)
        job["back"] = np.linalg.pinv(linear, rcond=1e-9)
        job["whole"] = not np.allclose(job["back"] @ linear, np.diag((ends > 0) * 1.0), atol=1e-9)
        knots, reach = math.prod(self.values.shape[2:]), 4 if self.job["knot_order"] == 3 else 2
        around = reach ** len(self.in_axes) * math.prod(self.out_shape) / knots
        block = (32, 8, 1) if around >= _MANY else (32, 1, 1)
        which = kernel("sample.cu", "gather_knots", int(self.job["knot_order"]))
        launch.launch(
            which, (knots, self.counts[0], 1), block, by_place, out, job.reshape(1)[0], np.int32(self.counts[0])
        )
        return out


def _embedded(matrix: Tensor, axes: Sequence[int]) -> NDArray[np.float64]:
    """A (d + 1, d + 1) matrix among 4 x 4 ones, its axes where `axes` says; the others stay at 0."""
    out = np.zeros((4, 4))
    out[3, 3] = 1
    out[np.ix_(axes, [*axes, 3])] = matrix.detach().to("cpu", torch.float64).numpy()[:-1]
    return out


def _is_identity(matrix: Tensor) -> bool:
    return bool(np.array_equal(matrix.detach().cpu().numpy(), np.eye(len(matrix))))


def kernels() -> list[Kernel]:
    """Every kernel this module may ask for."""
    orders, fields = (0, 1, 3), (STILL, DENSE, COARSE)
    out = [kernel("sample.cu", name, o, f) for name in ("sample", "sample_backward") for o in orders for f in fields]
    return out + [kernel("sample.cu", "gather_knots", order) for order in (1, 3)]
