"""Calls of the ops as users make them, for every op that CUDA serves: what the shim's tests and the GPU's tests run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from medframe import kernels
from medframe.kernels import Knots

SHAPE = (6, 9, 8)
TURNED = np.array([[0.9, 0.3, 0, -1], [-0.2, 1.1, 0.1, 0.5], [0.1, 0, 0.8, 0.7], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Call:
    """One call.

    Args:
        run: the call.
        kernel: the kernel that has to have run.
        tolerance: by how much values may differ from the reference's.
        share: of voxels may differ by more, where two classes are equal to within rounding.
        waits: whether the host may wait for the device.
    """

    run: Callable[[], torch.Tensor]
    kernel: str
    tolerance: float = 0.0
    share: float = 0.0
    waits: bool = False


def volume() -> torch.Tensor:
    return torch.randn(2, 7, 8, 9, generator=torch.Generator().manual_seed(0)) * 30


def calls(device: torch.device) -> dict[str, Call]:
    """The calls with their inputs on a device."""
    generator = torch.Generator().manual_seed(1)
    given = volume().to(device)
    labels = torch.randint(0, 5, (2, 7, 8, 9), generator=generator, dtype=torch.uint8).to(device)
    blobs = torch.nn.functional.avg_pool3d(torch.randn(2, 12, 11, 13, generator=generator), 3, 1, 1) > 0.05
    blobs = blobs.to(device)
    bend = Knots(torch.randn(3, 3, 4, 3, generator=generator), np.diag([0.3, 0.3, 0.3, 1]))
    there = Knots(bend.values.to(device), bend.matrix, 1)
    bent = [bend, TURNED]
    target = torch.full((2, *SHAPE), 9.0, device=device)
    matrices = torch.from_numpy(TURNED).repeat(2, 1, 1).to(device)
    moves = torch.randn(2, 3, 4, 3, 5, generator=generator).to(device)
    upstream = torch.randn(2, 1, *SHAPE, generator=generator).to(device)
    to_knots = np.diag([0.5, 0.3, 0.6, 1.0])

    def trained(which: int, **how: object) -> torch.Tensor:
        leaves = [t.detach().clone().requires_grad_() for t in (given[:, None], matrices, moves)]
        where = {"displacement": leaves[2], "knot_matrix": to_knots, "knot_order": 3}
        out = kernels.sample(leaves[0], leaves[1], SHAPE, **where, **how)
        return torch.autograd.grad(out, leaves[which], upstream)[0]

    def warped() -> torch.Tensor:
        dense = (given[:, None, :6, :, :8] / 30).expand(2, 3, 6, 8, 8).clone().requires_grad_()
        out = kernels.spatial_transform(given[:, None, :6, :, :8], dense, border="border")
        return torch.autograd.grad(out.square().mean(), dense)[0]

    return {
        "pull": Call(lambda: kernels.pull(given, [TURNED], SHAPE), "pull", 1e-3),
        "pull, out": Call(lambda: kernels.pull(given, bent, SHAPE, order=3, out=target), "pull", 2e-3),
        "pull, knots there": Call(lambda: kernels.pull(given, [there, TURNED], SHAPE, border="wrap"), "pull", 1e-3),
        "pull, not contiguous": Call(
            lambda: kernels.pull(given.permute(0, 3, 1, 2)[:, ::2], [TURNED], SHAPE), "pull", 1e-3
        ),
        "pull_batch": Call(
            lambda: kernels.pull_batch(given[:, None], [[TURNED], bent], SHAPE, border="reflect"), "pull", 1e-3
        ),
        "push": Call(lambda: kernels.push(given, [TURNED], SHAPE, order=3, border="border"), "push", 2e-3),
        "sample": Call(lambda: kernels.sample(given[:, None], matrices, SHAPE, order=3), "sample", 2e-3),
        "gradient of voxels": Call(lambda: trained(0, order=3, border="reflect"), "sample_backward", 1e-3),
        "gradient of matrices": Call(lambda: trained(1, border="border"), "sample_backward", 0.5),
        "gradient of knots": Call(lambda: trained(2, fill=3.0), "gather_knots", 1e-2),
        "gradient of a dense field": Call(warped, "sample_backward", 1e-3),
        "gaussian": Call(lambda: kernels.gaussian(given, (1.0, 0.0, 2.0)), "filter_axis", 1e-4),
        "box": Call(lambda: kernels.box(given, (3, 1, 7)), "filter_axis", 1e-4),
        "box of labels": Call(lambda: kernels.box(labels, (3, 5, 3)), "filter_axis", 1.0),
        "median": Call(lambda: kernels.median(given, 3), "median_of_27"),
        "wide median": Call(lambda: kernels.median(labels, 5), "median_of_125"),
        "distance": Call(lambda: kernels.distance_transform(blobs, (1.0, 2.0, 0.5)), "distance_axis", 1e-5),
        "signed distance": Call(lambda: kernels.signed_distance(blobs, 1.5), "distance_axis", 1e-5),
        "components": Call(lambda: kernels.components(labels, 18), "components_join"),
        "joint counts": Call(lambda: kernels.joint_counts(labels, labels.flip(1), 5, 4), "joint_counts"),
        "erosion": Call(lambda: kernels.erode(blobs, 18, iterations=2), "grow"),
        "dilation": Call(lambda: kernels.dilate(blobs[:, 4], 4), "grow"),
        "holes": Call(lambda: kernels.fill_holes(blobs), "holes_fill"),
        "arg-max": Call(lambda: kernels.logit_argmax(given, bent, SHAPE), "logit_argmax", share=0.005),
        "cubic arg-max": Call(
            lambda: kernels.logit_argmax(given, [TURNED], SHAPE, order=3, dtype=torch.int16), "pull", share=0.005
        ),
        "sigmoid": Call(lambda: kernels.logit_argmax(given[:1], [TURNED], SHAPE), "pull", share=0.005),
        "nearest arg-max": Call(
            lambda: kernels.logit_argmax(given, [TURNED], SHAPE, order=0), "pull_nearest", share=0.005
        ),
        "fills that differ": Call(
            lambda: kernels.logit_argmax(given, [TURNED], SHAPE, border="zero", fill=(0.0, 5.0)), "pull", share=0.005
        ),
        "probabilities": Call(
            lambda: kernels.logit_argmax(given / 30, [TURNED], SHAPE, probabilities=(1, 0, 1)), "pull", 1e-5
        ),
        "vote": Call(lambda: kernels.label_vote(labels, bent, SHAPE, border="wrap"), "label_vote", share=0.005),
        "vote on a mask": Call(lambda: kernels.label_vote(blobs, [TURNED], SHAPE, fill=1.0), "label_vote", share=0.005),
        "cubic vote": Call(
            lambda: kernels.label_vote(labels, [TURNED], SHAPE, order=3, border="border"),
            "pull",
            share=0.005,
            waits=True,
        ),
        "blurred vote": Call(
            lambda: kernels.label_vote(labels, bent, SHAPE, smooth=(1.0, 0.0, 0.7)), "pull", share=0.005, waits=True
        ),
    }
