"""Sampling with gradients: native against the reference, finite differences, torch's own sampler and its op checks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from medframe.base.errors import BadArgument, BadGeometry
from medframe.kernels import native, pull, push, reference, sample, spatial_transform
from medframe.kernels.stages import BORDERS, Knots

SHAPES = {  # output, input, coarse knots; with axes of size 1
    1: (((7,), (5,), (3,)), ((3,), (1,), (1,))),
    2: (((6, 5), (4, 7), (3, 4)), ((1, 6), (5, 1), (2, 1))),
    3: (((4, 5, 6), (5, 4, 6), (3, 2, 4)), ((5, 1, 4), (1, 4, 5), (1, 3, 2))),
}


def drawn(rank, shape, in_shape, knots, seed=0):
    """A volume, matrices, a displacement (dense without knots) and the matrix that leads to its knots."""
    generator = torch.Generator().manual_seed(seed)
    volume = torch.randn(2, 2, *in_shape, dtype=torch.float64, generator=generator)
    matrix = torch.eye(rank + 1, dtype=torch.float64).repeat(2, 1, 1)
    matrix[:, :-1] += 0.2 * torch.randn(2, rank, rank + 1, dtype=torch.float64, generator=generator)
    displacement = torch.randn(2, rank, *(knots or shape), dtype=torch.float64, generator=generator)
    to_knots = torch.eye(rank + 1, dtype=torch.float64)
    if knots:
        to_knots[:-1, :-1] *= 0.4
        to_knots[:-1, -1] = 0.3
    return volume, matrix, displacement, to_knots


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_native_values_and_gradients_are_the_references(core, rank, border, order):
    for shape, in_shape, coarse in SHAPES[rank]:
        for knots, knot_order in ((None, 0), (None, 1), (coarse, 1), (coarse, 3)):
            volume, matrix, displacement, to_knots = drawn(rank, shape, in_shape, knots)
            moved = displacement if knot_order else None
            given = (volume, matrix, moved, torch.eye(rank + 1, dtype=torch.float64), to_knots)
            how = {"order": order, "knot_order": knot_order or 1, "border": border, "fill": 1.5}
            assert native.declines_sample(volume, matrix, moved, shape) is None
            found, due = native.sample(*given, shape, **how), reference.sample(*given, shape, **how)
            torch.testing.assert_close(found, due, atol=1e-9, rtol=0)
            grad = torch.randn(due.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            needs = [True, True, moved is not None]
            found = native.sample_backward(grad, *given, **how, needs=needs)
            due = reference.sample_backward(grad, *given, **how, needs=needs)
            for one, other in zip(found, due, strict=True):
                assert (one is None) == (other is None)
                if one is not None:
                    torch.testing.assert_close(one, other, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("order", "border", "knot_order"), [(1, "zero", 1), (1, "reflect", 3), (3, "zero", 3), (3, "border", 1)]
)
@pytest.mark.parametrize("rank", [2, 3])
def test_gradients_are_finite_differences(rank, order, border, knot_order):
    shape, in_shape = (4, 3, 2)[:rank], (3, 4, 3)[:rank]
    volume, matrix, displacement, to_knots = drawn(rank, shape, in_shape, (2, 3, 2)[:rank] if knot_order == 3 else None)
    inputs = [t[:1].clone().requires_grad_() for t in (volume, matrix, 0.3 * displacement)]

    def run(v, m, f):
        return sample(
            v, m, shape, displacement=f, knot_matrix=to_knots, knot_order=knot_order, order=order, border=border, fill=2
        )

    # the last row of a matrix is taken as it is, and has no gradient
    assert torch.autograd.gradcheck(run, inputs, eps=1e-6, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("border", "padding"), [("zero", "zeros"), ("border", "border"), ("reflect", "reflection")])
@pytest.mark.parametrize("rank", [2, 3])
def test_a_spatial_transform_is_torchs_sampler(rank, border, padding):
    """Also its gradients, in float32: inside, torch's sampler differs in no more than the units of its grid."""
    generator = torch.Generator().manual_seed(4)
    shape = (9, 8, 10)[:rank]
    image = torch.randn(2, 3, *shape, generator=generator).requires_grad_()
    moves = (2 * torch.randn(2, rank, *shape, generator=generator)).requires_grad_()
    found = spatial_transform(image, moves, border=border)
    index = torch.stack(torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij")).float()
    place = (index + moves).movedim(1, -1)
    grid = (2 * place / (torch.tensor(shape) - 1) - 1).flip(-1)
    due = functional.grid_sample(image, grid, padding_mode=padding, align_corners=True)
    torch.testing.assert_close(found, due, atol=2e-4, rtol=0)
    weight = torch.randn(found.shape, generator=generator)
    for one, other in zip(
        torch.autograd.grad(found, [image, moves], weight),
        torch.autograd.grad(due, [image, moves], weight),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_push_is_the_adjoint_of_pull(chain, kind, rank, border, order):
    rng = np.random.default_rng(rank)
    shape, in_shape, _ = SHAPES[rank][0]
    stages = chain(kind, rng, shape, in_shape)
    x, y = (torch.from_numpy(rng.normal(size=(2, *n)).astype(np.float32)) for n in (in_shape, shape))
    pulled = pull(x, stages, shape, order=order, border=border)
    pushed = push(y, stages, in_shape, order=order, border=border)
    scale = float(pulled.norm() * y.norm() + pushed.norm() * x.norm()) + 1e-3
    assert abs(float((pulled.double() * y).sum() - (pushed.double() * x).sum())) < 2e-6 * scale
    due = reference.push(y.double(), stages, in_shape, order=order, border=border)
    assert order == 0 or float((pushed - due).abs().max()) < 2e-4


@pytest.mark.parametrize("order", [1, 3])
def test_a_pull_that_needs_a_gradient_is_native_too(core, chain, kind, order, monkeypatch):
    rng = np.random.default_rng(6)
    shape, in_shape = (6, 7, 5), (5, 6, 7)
    stages = chain(kind, rng, shape, in_shape)
    weight = torch.from_numpy(rng.normal(size=(1, *shape)).astype(np.float32))
    volume = torch.from_numpy(rng.normal(size=(1, *in_shape)).astype(np.float32)).requires_grad_()
    values = [s.values.requires_grad_() for s in stages if isinstance(s, Knots)]

    def grads():
        out = pull(volume, stages, shape, order=order)
        return out, torch.autograd.grad(out, [volume, *values], weight)

    out, found = grads()
    monkeypatch.setenv("MEDFRAME_KERNELS", "reference")
    due, expected = grads()
    torch.testing.assert_close(out, due, atol=1e-4, rtol=0)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_the_number_of_threads_changes_no_bit_of_a_gradient(core):
    volume, matrix, displacement, to_knots = drawn(3, (41, 33, 35), (37, 39, 36), (5, 6, 4))
    inputs = [t.float().requires_grad_() for t in (volume, matrix, displacement)]
    found = []
    for threads in (1, 2, 3):  # the fixture sets it back
        torch.set_num_threads(threads)
        out = sample(inputs[0], inputs[1], (41, 33, 35), displacement=inputs[2], knot_matrix=to_knots, knot_order=3)
        found.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_torch_takes_the_ops_as_its_own():
    volume, matrix, displacement, to_knots = drawn(2, (5, 4), (4, 5), None)
    inputs = [t.requires_grad_() for t in (volume, matrix, displacement)]
    eye = torch.eye(3, dtype=torch.float64)
    for moved in (inputs[2], None):
        arguments = (inputs[0], inputs[1], moved, eye, to_knots, [5, 4], 1, 1, "zero", 0.5)
        torch.library.opcheck(torch.ops.medframe.sample.default, arguments)


class Warper(torch.nn.Module):
    def forward(self, image, moves):
        return spatial_transform(image, moves * 0.5, border="border").square()


@pytest.mark.parametrize("backend", ["eager", "aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_networks_sample(backend):
    image, moves = torch.randn(1, 1, 5, 6), torch.randn(1, 2, 5, 6)
    net = Warper()
    torch.compiler.reset()
    compiled = torch.compile(net, backend=backend, fullgraph=True)
    results = []
    for run in (net, compiled):
        leaf = moves.clone().requires_grad_()
        out = run(image, leaf)
        results.append((out, *torch.autograd.grad(out.sum(), leaf)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)
    torch.compiler.reset()


def test_exported_networks_sample():
    image, moves = torch.randn(1, 1, 5, 6), torch.randn(1, 2, 5, 6)
    exported = torch.export.export(Warper(), (image, moves))
    torch.testing.assert_close(exported.module()(image, moves), Warper()(image, moves))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_train(dtype):
    image = torch.randn(1, 1, 6, 5).to(dtype).requires_grad_()
    moves = torch.randn(1, 2, 6, 5).to(dtype).requires_grad_()
    out = spatial_transform(image, moves)
    assert out.dtype == dtype
    torch.testing.assert_close(out, spatial_transform(image.float(), moves.float()).to(dtype))
    for grad in torch.autograd.grad(out.float().square().sum(), [image, moves]):
        assert grad.dtype == dtype
        assert grad.isfinite().all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"volume": torch.zeros(1, 1, 4)}, BadArgument, "sizes"),
        ({"volume": torch.zeros(1, 1, 4, 4, dtype=torch.uint8)}, BadArgument, "pull"),
        ({"volume": torch.zeros(1, 1, 4, 0)}, BadArgument, "sizes"),
        ({"matrix": torch.eye(3)}, BadArgument, "matrix"),
        ({"matrix": torch.full((1, 3, 3), float("nan"))}, BadGeometry, "matrix is not finite"),
        ({"displacement": torch.zeros(1, 2, 3, 3)}, BadArgument, "displacement"),
        ({"displacement": torch.full((1, 2, 4, 4), float("inf"))}, BadGeometry, "displacement is not finite"),
        ({"knot_matrix": np.eye(2)}, BadArgument, "knot_matrix"),
        ({"order": 2}, BadArgument, "order"),
        ({"border": "mirror"}, BadArgument, "border"),
        ({"fill": float("nan")}, BadArgument, "finite"),
    ],
)
def test_bad_samplings_are_told(change, error, message):
    call = {"volume": torch.zeros(1, 1, 4, 4), "matrix": torch.eye(3)[None], "shape": (4, 4), **change}
    with pytest.raises(error, match=message):
        sample(call.pop("volume"), call.pop("matrix"), call.pop("shape"), **call)
