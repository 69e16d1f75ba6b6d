"""What surfaces need of distances and labels: distances at some voxels only, and the box around each label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medframe.base.errors import BadArgument, BadLabel
from medframe.kernels import native, reference
from medframe.kernels.dispatch import Backend, choose, never
from medframe.kernels.ops.regions import check_spacing, distance_transform

DISTANCES_AT = (
    Backend("native", native.declines_distances_at, native.distances_at),
    Backend("reference", never, reference.distances_at),
)

BOXES = (
    Backend("native", native.declines_boxes, native.label_boxes),
    Backend("reference", never, reference.label_boxes),
)


def distances_at(mask: Tensor, at: Tensor, spacing: Sequence[float] | float = 1.0) -> Tensor:
    """The exact Euclidean distance to the nearest voxel of `mask`, at some voxels: `distance_transform(mask)[at]`.

    Much quicker than the whole transform where the two lie near each other, as two segmentations' surfaces do.

    Example:
        >>> distances_at(torch.tensor([True, False, False]), torch.tensor([True, False, True]), (2.5,))
        tensor([0., 5.], dtype=torch.float64)

    Args:
        mask: (*spatial) bool, one to three axes.
        at: (*spatial) bool, where the distance is wanted.
        spacing: how far neighbours are apart along each axis, in mm; one number for all.

    Returns:
        (n,) float64 in the spacing's unit, for the voxels of `at` in their order; infinite where the mask is empty. On
        a GPU they are made in single precision, with relative errors below 1e-6.

    Raises:
        BadArgument: not two masks of one shape and device, or a spacing that is not positive.
    """
    if mask.shape != at.shape or mask.device != at.device or mask.dtype != torch.bool or at.dtype != torch.bool:
        found = f"{mask.dtype} {tuple(mask.shape)} on {mask.device}, {at.dtype} {tuple(at.shape)} on {at.device}"
        raise BadArgument("two masks on one lattice", found=found, due="bool, one shape, one device")
    steps = check_spacing(mask[None], spacing)
    if mask.device.type != "cpu":
        return distance_transform(mask[None], steps)[0][at].double()
    result: Tensor = choose("distances_at", DISTANCES_AT, mask, at, steps).run(mask, at, steps)
    return result


def label_boxes(labels: Tensor, count: int) -> Tensor:
    """The box around each of the labels 1, ..., `count`.

    Example:
        >>> label_boxes(torch.tensor([[0, 2, 2], [0, 0, 2]]), 2).tolist()
        [[[0, 0], [0, 0]], [[0, 1], [2, 3]]]

    Args:
        labels: (*spatial) integers, one to three axes; others than 1 to `count` are ignored.
        count: how many labels.

    Returns:
        (count, 2, d) int64 on the host: the least index along each axis, and the greatest plus one; all 0 for a label
        that does not occur.

    Raises:
        BadLabel: the labels are no integers.
        BadArgument: not one to three axes, or a negative count.
    """
    if labels.is_floating_point() or labels.is_complex():
        raise BadLabel("label maps are integers", found=str(labels.dtype), due="integers")
    if not 1 <= labels.ndim <= 3 or count < 0:
        found = f"{tuple(labels.shape)}, {count} labels"
        raise BadArgument("a label map, and how many labels", found=found, due="one to three axes, 0 or more labels")
    plain = labels.cpu()
    result: Tensor = choose("label_boxes", BOXES, plain, count).run(plain, count)
    return result
