"""Sampling that can be trained through: gradients for the voxels, the matrices and the displacements.

The ops are registered with torch.library, so that torch.compile and torch.export take them as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry
from medframe.base.sizes import check_size
from medframe.kernels import cuda, native, reference
from medframe.kernels.dispatch import Backend, choose, never
from medframe.kernels.stages import BORDERS, ORDERS, Border

SAMPLE = (
    Backend("cuda", cuda.declines_sample, cuda.sample),
    Backend("native", native.declines_sample, native.sample),
    Backend("reference", never, reference.sample),
)
SAMPLE_BACKWARD = (
    Backend("cuda", cuda.declines_sample_backward, cuda.sample_backward),
    Backend("native", native.declines_sample, native.sample_backward),
    Backend("reference", never, reference.sample_backward),
)


def sample(
    volume: Tensor,
    matrix: Tensor,
    shape: Sequence[int] | None = None,
    *,
    displacement: Tensor | None = None,
    knot_matrix: NDArray[np.float64] | Tensor | None = None,
    knot_order: int = 1,
    order: int = 1,
    border: Border = "zero",
    fill: float = 0.0,
) -> Tensor:
    """Resample a batch, differentiable with respect to `volume`, `matrix` and `displacement`.

    The index o of an output voxel is read at matrix(o + f(o)), with f the displacement: `pull` through a `Knots` and
    then a matrix. Second derivatives are not offered.

    Args:
        volume: (B, C, *in) with two or three spatial axes (one is served, too); floating point.
        matrix: (B, d + 1, d + 1), output index to input index; its last row is taken to be (0, ..., 0, 1).
        shape: the output's spatial sizes; default those of `volume`.
        displacement: (B, d, *knots), in voxels of the output lattice.
        knot_matrix: (d + 1, d + 1), takes an output index to a knot's index; the same for all samples, and without
            gradient; an array, or a tensor on the CPU. Without it knots are the output's voxels: a dense field.
        knot_order: 1 reads the displacement linearly between knots, 3 as coefficients of a cubic B-spline.
        order: 0 nearest, 1 linear, 3 cubic B-spline. Where the derivative of order 1 jumps, at whole places, it is the
            one towards higher indices.
        border: what lies beyond the edge; see `reference.pull`.
        fill: the value outside for border "zero"; finite.

    Returns:
        (B, C, *shape) of the volume's dtype; types of 16 bits are computed as float32.

    Raises:
        BadArgument: an option is unknown or a shape does not fit.
        BadGeometry: a matrix or a displacement on the CPU is not finite. On a GPU nobody looks, since the host would
            have to wait: places that are no numbers read the fill or an edge.
        TooLarge: the output passes the image limit.
    """
    rank = volume.ndim - 2
    shape = tuple(volume.shape[2:]) if shape is None else tuple(int(n) for n in shape)
    if not 1 <= rank <= 3 or len(shape) != rank or min(volume.shape) < 1 or min(shape) < 1:
        raise BadArgument(
            "sample takes (B, C, *spatial) and as many sizes, none of them 0",
            found=f"{tuple(volume.shape)} and {shape}",
        )
    if not volume.dtype.is_floating_point:
        raise BadArgument("sample takes floating point", found=volume.dtype, mend="Use pull for integers.")
    if tuple(matrix.shape) != (volume.shape[0], rank + 1, rank + 1) or not matrix.dtype.is_floating_point:
        raise BadArgument(
            "one matrix for each sample",
            found=f"{tuple(matrix.shape)} of {matrix.dtype}",
            due=f"{(volume.shape[0], rank + 1, rank + 1)}, floating point",
        )
    if order not in ORDERS or border not in BORDERS or knot_order not in (1, 3):
        raise BadArgument(
            "unknown order or border",
            found=f"order {order}, knot_order {knot_order}, border {border!r}",
            due=f"order 0, 1 or 3; knot_order 1 or 3; border {', '.join(BORDERS)}",
        )
    if not -float("inf") < fill < float("inf"):
        raise BadArgument("the fill value must be finite", found=fill)
    eye = torch.eye(rank + 1, dtype=torch.float64)
    to_knots = eye if knot_matrix is None else torch.as_tensor(knot_matrix, dtype=torch.float64)
    if displacement is not None:
        dense = knot_matrix is not None or tuple(displacement.shape[2:]) == shape
        if displacement.ndim != rank + 2 or displacement.shape[:2] != (volume.shape[0], rank) or not dense:
            raise BadArgument(
                "the displacement does not fit",
                found=tuple(displacement.shape),
                due=f"{(volume.shape[0], rank, *shape)}, or a knot_matrix",
            )
    if tuple(to_knots.shape) != (rank + 1, rank + 1):
        raise BadArgument("the knot_matrix does not fit", found=tuple(to_knots.shape), due=(rank + 1, rank + 1))
    return sampled(
        volume,
        matrix,
        displacement,
        eye,
        to_knots,
        shape,
        order=order,
        knot_order=knot_order,
        border=border,
        fill=float(fill),
    )


def spatial_transform(
    image: Tensor, displacement: Tensor, *, order: int = 1, border: Border = "zero", fill: float = 0.0
) -> Tensor:
    """Warp a batch by dense displacements, as networks for registration do; see `sample`.

    This is the transformer of Jaderberg et al., "Spatial transformer networks", NeurIPS 2015, arXiv:1506.02025, as
    Balakrishnan et al. use it in "VoxelMorph: a learning framework for deformable medical image registration", IEEE
    Trans. Med. Imaging 2019, doi:10.1109/TMI.2019.2897538, with displacements in voxels along the axes in their order.

    Args:
        image: (B, C, *spatial).
        displacement: (B, d, *spatial), in voxels: output voxel o is read at o + displacement(o).
        order: 0 nearest, 1 linear, 3 cubic B-spline.
        border: what lies beyond the edge.
        fill: the value outside for border "zero".

    Returns:
        (B, C, *spatial).

    Raises:
        BadArgument: as `sample`.
        BadGeometry: a displacement is not finite.
        TooLarge: as `sample`.
    """
    rank = image.ndim - 2
    matrix = torch.eye(rank + 1, dtype=torch.float64, device=image.device).repeat(image.shape[0], 1, 1)
    shape = displacement.shape[2:]
    return sample(image, matrix, shape, displacement=displacement, order=order, border=border, fill=fill)


def sampled(  # noqa: PLR0917
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
    """The op behind `sample`, with a matrix in front of the displacement, too; arguments are taken as they are."""
    work = volume.dtype if volume.dtype in (torch.float32, torch.float64) else torch.float32
    out: Tensor = _sample(
        volume.to(work), matrix, displacement, lead, knot_matrix, list(shape), order, knot_order, border, fill
    )
    return out.to(volume.dtype)


@torch.library.custom_op("medframe::sample", mutates_args=())
def _sample(  # noqa: PLR0917
    volume: Tensor,
    matrix: Tensor,
    displacement: Tensor | None,
    lead: Tensor,
    knot_matrix: Tensor,
    shape: Sequence[int],
    order: int,
    knot_order: int,
    border: str,
    fill: float,
) -> Tensor:
    # here and not in `sample`: while a program is exported, the batch has no size yet
    check_size((*volume.shape[:2], *shape), volume.dtype.itemsize, where="a resampled batch")
    for name, tensor in (("matrix", matrix), ("displacement", displacement), ("knot_matrix", knot_matrix)):
        if tensor is not None and tensor.device.type == "cpu" and not bool(torch.isfinite(tensor).all()):
            raise BadGeometry(f"the {name} is not finite", where="sample")
    options: dict[str, Any] = {"order": order, "knot_order": knot_order, "border": border, "fill": fill}
    backend = choose("sample", SAMPLE, volume, matrix, displacement, shape)
    out: Tensor = backend.run(volume, matrix, displacement, lead, knot_matrix, shape, **options)
    return out


@_sample.register_fake
def _(  # noqa: PLR0917
    volume: Tensor,
    matrix: Tensor,
    displacement: Tensor | None,
    lead: Tensor,
    knot_matrix: Tensor,
    shape: Sequence[int],
    order: int,
    knot_order: int,
    border: str,
    fill: float,
) -> Tensor:
    return volume.new_empty((*volume.shape[:2], *shape))


@torch.library.custom_op("medframe::sample_backward", mutates_args=())
def _sample_backward(  # noqa: PLR0917
    grad: Tensor,
    volume: Tensor,
    matrix: Tensor,
    displacement: Tensor | None,
    lead: Tensor,
    knot_matrix: Tensor,
    order: int,
    knot_order: int,
    border: str,
    fill: float,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    options: dict[str, Any] = {"order": order, "knot_order": knot_order, "border": border, "fill": fill}
    backend = choose("the gradient of sample", SAMPLE_BACKWARD, volume, matrix, displacement, grad.shape[2:])
    found = backend.run(grad, volume, matrix, displacement, lead, knot_matrix, **options, needs=needs)
    like = (volume, matrix, volume if displacement is None else displacement)
    made = [t.new_empty(0) if g is None else g for g, t in zip(found, like, strict=True)]
    return made[0], made[1], made[2]


@_sample_backward.register_fake
def _(  # noqa: PLR0917
    grad: Tensor,
    volume: Tensor,
    matrix: Tensor,
    displacement: Tensor | None,
    lead: Tensor,
    knot_matrix: Tensor,
    order: int,
    knot_order: int,
    border: str,
    fill: float,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    like = (volume, matrix, volume if displacement is None else displacement)
    made = [
        torch.empty_like(t, memory_format=torch.contiguous_format) if n else t.new_empty(0)
        for t, n in zip(like, needs, strict=True)
    ]
    return made[0], made[1], made[2]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    volume, matrix, displacement, lead, knot_matrix, _, *options = inputs
    ctx.save_for_backward(volume, matrix, displacement, lead, knot_matrix)
    ctx.options = options


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needs = [bool(n) for n in ctx.needs_input_grad[:3]]
    found = _sample_backward(grad, *ctx.saved_tensors, *ctx.options, needs)
    return (*(g if n else None for g, n in zip(found, needs, strict=True)), *(None,) * 7)


_sample.register_autograd(_gradients, setup_context=_remember)
