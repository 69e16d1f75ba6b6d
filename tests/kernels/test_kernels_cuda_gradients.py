"""Sampling with gradients by the CUDA kernels, run on the host, against the reference in double precision."""

from __future__ import annotations

import shutil

import cuda_host
import numpy as np
import pytest
import torch

from medframe.kernels import Knots, cuda, pull, push, reference, sample, spatial_transform
from medframe.kernels.stages import BORDERS

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")

SHAPES = {  # output, input, coarse knots; with axes of size 1
    1: (((7,), (5,), (3,)), ((3,), (1,), (1,))),
    2: (((6, 5), (4, 7), (3, 4)), ((1, 6), (5, 1), (2, 1))),
    3: (((4, 5, 6), (5, 4, 6), (3, 2, 4)), ((5, 1, 4), (1, 4, 5), (1, 3, 2))),
}
NAMES = ("volume", "matrix", "displacement")


@pytest.fixture
def on_host():
    with cuda_host.host() as library:
        yield library


def drawn(rank, shape, in_shape, knots, seed=0):
    """A volume, matrices, a displacement (dense without knots) and the matrix that leads to its knots."""
    generator = torch.Generator().manual_seed(seed)
    volume = torch.randn(2, 2, *in_shape, generator=generator)
    matrix = torch.eye(rank + 1, dtype=torch.float64).repeat(2, 1, 1)
    matrix[:, :-1] += 0.2 * torch.randn(2, rank, rank + 1, dtype=torch.float64, generator=generator)
    displacement = torch.randn(2, rank, *(knots or shape), generator=generator)
    to_knots = torch.eye(rank + 1, dtype=torch.float64)
    if knots:
        to_knots[:-1, :-1] = 0.4 * torch.eye(rank) + 0.1 * torch.randn(rank, rank, generator=generator)
        to_knots[:-1, -1] = 0.3
    return volume, matrix, displacement, to_knots


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_values_and_gradients_are_the_references(on_host, rank, border, order):
    for i, (shape, in_shape, coarse) in enumerate(SHAPES[rank]):
        fields = ((None, 0), (None, 1), (coarse, 1), (coarse, 3))
        for knots, knot_order in fields if i == BORDERS.index(border) % 2 else fields[1::2]:
            volume, matrix, displacement, to_knots = drawn(rank, shape, in_shape, knots)
            moved = displacement if knot_order else None
            rest = (torch.eye(rank + 1, dtype=torch.float64), to_knots)
            given = (volume, matrix, moved, *rest)
            wide = (volume.double(), matrix, None if moved is None else moved.double(), *rest)
            how = {"order": order, "knot_order": knot_order or 1, "border": border, "fill": 1.5}
            assert cuda.declines_sample(volume, matrix, moved, shape) is None
            found, due = cuda.sample(*given, shape, **how), reference.sample(*wide, shape, **how)
            torch.testing.assert_close(found.double(), due, atol=2e-5, rtol=0)
            grad = torch.randn(due.shape, generator=torch.Generator().manual_seed(1))
            needs = [True, True, moved is not None]
            found = cuda.sample_backward(grad, *given, **how, needs=needs)
            due = reference.sample_backward(grad.double(), *wide, **how, needs=needs)
            for name, one, other in zip(NAMES, found, due, strict=True):
                assert (one is None) == (other is None), name
                if one is not None:
                    torch.testing.assert_close(one.double(), other, atol=2e-4, rtol=1e-4, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize("knot_order", [1, 3])
def test_knots_gather_from_afar(on_host, knot_order):
    """Few knots for many voxels, turned and partly outside, and one map that loses a dimension: whole blocks look."""
    volume, matrix, _, to_knots = drawn(3, (17, 18, 40), (9, 8, 7), (3, 2, 4))
    to_knots[:-1] *= 0.2
    flat = to_knots.clone()
    flat[0] = flat[1]
    displacement = torch.randn(2, 3, 3, 2, 4, generator=torch.Generator().manual_seed(3))
    grad = torch.randn(2, 2, 17, 18, 40, generator=torch.Generator().manual_seed(4))
    how = {"order": 1, "knot_order": knot_order, "border": "border", "fill": 0.0, "needs": [False, False, True]}
    for onto in (to_knots, flat):
        rest = (torch.eye(4, dtype=torch.float64), onto)
        _, _, found = cuda.sample_backward(grad, volume, matrix, displacement, *rest, **how)
        _, _, due = reference.sample_backward(
            grad.double(), volume.double(), matrix, displacement.double(), *rest, **how
        )
        torch.testing.assert_close(found.double(), due, atol=1e-3, rtol=1e-4)


def test_only_what_is_needed_is_made(on_host):
    volume, matrix, displacement, to_knots = drawn(2, (6, 5), (4, 7), (3, 4))
    how = {"order": 1, "knot_order": 3, "border": "zero", "fill": 0.0}
    given = (torch.randn(2, 2, 6, 5), volume, matrix, displacement, torch.eye(3, dtype=torch.float64), to_knots)
    whole = cuda.sample_backward(*given, **how, needs=[True, True, True])
    for k in range(3):
        needs = [k == one for one in range(3)]
        found = cuda.sample_backward(*given, **how, needs=needs)
        assert [f is not None for f in found] == needs
        torch.testing.assert_close(found[k], whole[k])


def test_the_ops_train_through_the_kernels(on_host):
    """`sample`, `spatial_transform` and a `pull` that needs a gradient, as users call them."""
    generator = torch.Generator().manual_seed(5)
    image = torch.randn(2, 1, 6, 7, generator=generator).requires_grad_()
    moves = torch.randn(2, 2, 6, 7, generator=generator).requires_grad_()
    turned = (torch.eye(3).repeat(2, 1, 1) + 0.1 * torch.randn(2, 3, 3, generator=generator)).requires_grad_()
    knots = Knots(torch.randn(2, 3, 3, generator=generator).requires_grad_(), np.diag([0.3, 0.3, 1.0]))
    calls = (
        (lambda: spatial_transform(image, moves), (image, moves)),
        (lambda: sample(image, turned, order=3, border="reflect"), (image, turned)),
        (lambda: pull(image[0], [np.eye(3), knots, np.diag([0.9, 0.8, 1.0])], (5, 6)), (image, knots.values)),
    )
    for call, inputs in calls:
        on_host.ran.clear()
        found = torch.autograd.grad(call().square().sum(), inputs)
        assert {"medframe::sample_backward" in k.name for k in on_host.ran} == {True, False}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MEDFRAME_KERNELS", "reference")
            due = torch.autograd.grad(call().square().sum(), inputs)
        for one, other in zip(found, due, strict=True):
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_where_torch_is_to_be_deterministic_the_reference_adds_up(on_host):
    volume, matrix, displacement, _ = drawn(2, (6, 5), (4, 7), None)
    torch.use_deterministic_algorithms(True)
    try:
        assert "deterministic" in cuda.declines_sample_backward(volume, matrix, displacement, (6, 5))
        assert "deterministic" in cuda.declines_push(volume[0], [np.eye(3)], (6, 5), order=1, border="zero")
        assert cuda.declines_sample(volume, matrix, displacement, (6, 5)) is None
        on_host.ran.clear()
        push(volume[0], [np.eye(3)], (6, 5))
        assert not on_host.ran
    finally:
        torch.use_deterministic_algorithms(False)
    assert "float64" in cuda.declines_sample(volume.double(), matrix, displacement, (6, 5))
