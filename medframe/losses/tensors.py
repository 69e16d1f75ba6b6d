"""What losses that compare two tensors share: precision, shapes and reductions."""

from __future__ import annotations

import torch
from torch import Tensor

from medframe.base.errors import BadGeometry
from medframe.losses.weights import Reduction


def wide(x: Tensor) -> Tensor:
    """A tensor in float32 at least."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def full_precision(x: Tensor) -> torch.autocast:
    """A context in which autocast does not narrow convolutions and products again."""
    return torch.autocast(x.device.type, enabled=False)


def pair(prediction: Tensor, target: Tensor, *, spatial: tuple[int, ...] = (1, 2, 3)) -> tuple[Tensor, Tensor]:
    """Two tensors (B, C, *spatial) of one shape, in float32 at least.

    Raises:
        BadGeometry: the shapes differ, or the number of spatial axes is not among `spatial`.
    """
    if prediction.shape != target.shape:
        raise BadGeometry(
            "the two tensors differ in shape",
            found=f"{tuple(prediction.shape)} and {tuple(target.shape)}",
            due="one shape (B, C, *spatial)",
        )
    check_axes(prediction, spatial)
    dtype = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    return prediction.to(dtype), target.to(dtype)


def check_axes(x: Tensor, spatial: tuple[int, ...] = (1, 2, 3)) -> None:
    """Raise BadGeometry unless the tensor is (B, C, *spatial) with that many spatial axes."""
    if x.dim() - 2 not in spatial:
        due = f"(B, C, *spatial) with {' or '.join(map(str, spatial))} spatial axes"
        raise BadGeometry("not a batch of images", found=f"shape {tuple(x.shape)}", due=due)


def reduce(values: Tensor, reduction: Reduction) -> Tensor:
    """The mean, the sum, or the values as they are."""
    return values.mean() if reduction == "mean" else values.sum() if reduction == "sum" else values
