"""The CUDA kernels on a GPU: equal to the reference, which is computed on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medframe.kernels import Knots, cuda, gaussian, logit_argmax, pull, reference
from medframe.kernels.cuda.sources import CXX
from medframe.kernels.ops.filters import GAUSSIAN
from medframe.kernels.ops.sampling import PULL
from medframe.kernels.stages import BORDERS

pytestmark = pytest.mark.gpu

DTYPES = list(CXX)
LATTICES = [((37, 41, 70), (33, 50, 67)), ((65, 90), (71, 40)), ((1, 50, 1), (3, 4, 2)), ((300,), (1000,))]


def turned(rng, shape, in_shape):
    rank = len(shape)
    linear = np.eye(rank) * rng.uniform(0.6, 1.4) + rng.normal(size=(rank, rank)) * 0.3
    matrix = np.eye(rank + 1)
    matrix[:-1, :-1] = linear
    matrix[:-1, -1] = (np.array(in_shape) - 1) / 2 - linear @ ((np.array(shape) - 1) / 2) + rng.normal(size=rank)
    return matrix


def knots(rng, shape, order):
    rank = len(shape)
    values = torch.from_numpy(rng.normal(size=(rank, *rng.integers(2, 7, rank))).astype(np.float32)) * 2
    matrix = turned(rng, shape, values.shape[1:])
    matrix[:-1] *= 0.3
    return Knots(values, matrix, order)


def chains(rng, shape, in_shape):
    last = turned(rng, shape, in_shape)
    yield [last]
    yield [knots(rng, shape, 3), last]
    yield [turned(rng, shape, shape), knots(rng, shape, 1), last, knots(rng, in_shape, 3)]


def agree(got, due, tolerance=2e-3):
    got = got.cpu()
    assert got.dtype == due.dtype
    assert got.shape == due.shape
    off = (got.double() - due.double()).abs()
    if due.dtype == torch.float32:
        assert float(off.max()) < tolerance
        return
    step = 1.0 if not due.dtype.is_floating_point else float(torch.finfo(due.dtype).eps)
    size = due.double().abs().clamp(min=1) if due.dtype.is_floating_point else 1
    assert float((off / size).max()) <= step
    assert int((off > tolerance).sum()) <= 2 + 0.01 * off.numel()


@pytest.mark.parametrize("lattices", LATTICES)
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("order", [0, 1, 3])
def test_pull(device, order, border, lattices):
    in_shape, shape = lattices
    rng = np.random.default_rng(order)
    for i, stages in enumerate(chains(rng, shape, in_shape)):
        for j, dtype in enumerate(DTYPES):
            volume = torch.from_numpy(rng.uniform(0, 200, (2, *in_shape))).to(dtype)
            options = {"order": order, "border": border, "fill": 7.0}
            options["dtype"] = torch.float32 if (i + j) % 3 == 0 else dtype
            assert PULL[0].declines(volume.to(device), stages, shape, **options) is None
            due = reference.pull(volume, stages, shape, **options)
            got = pull(volume.to(device), stages, shape, **options)
            if order:
                agree(got, due)
            else:  # a place within 1e-6 of half way may go either way
                assert float((got.cpu() != due).double().mean()) < 1e-3


def test_knots_may_lie_on_the_device(device):
    rng = np.random.default_rng(0)
    volume = torch.from_numpy(rng.normal(size=(1, 20, 21, 22))).float()
    for order in (1, 3):
        bend = knots(rng, (20, 21, 22), order)
        there = Knots(bend.values.to(device), bend.matrix, order)
        stages = [np.eye(4), there, np.eye(4)]
        due = pull(volume, [np.eye(4), bend, np.eye(4)], (20, 21, 22), border="reflect")
        agree(pull(volume.to(device), stages, (20, 21, 22), border="reflect"), due)


def test_a_batch(device):
    rng = np.random.default_rng(1)
    shape, in_shape = (20, 30, 40), (24, 25, 26)
    batch = list(chains(rng, shape, in_shape))
    volumes = torch.from_numpy(rng.normal(size=(3, 2, *in_shape))).float()
    options = {"order": 1, "border": "border", "fill": 0.0, "dtype": torch.float32}
    got = cuda.pull_batch(volumes.to(device), batch, shape, **options)
    for sample, stages in enumerate(batch):
        agree(got[sample], reference.pull(volumes[sample], stages, shape, **options), 1e-4)


@pytest.mark.parametrize("size", [1e9, 1e13, 1e300])
@pytest.mark.parametrize("border", BORDERS)
def test_no_place_reads_out_of_bounds(device, border, size):
    rng = np.random.default_rng(0)
    torn = torch.full((3, 2, 2, 2), float("nan"))
    for order in (0, 1, 3):
        matrix = np.eye(4)
        matrix[:3] = rng.normal(size=(3, 4)) * size
        for stages in ([matrix], [np.eye(4), Knots(torn, np.eye(4), 1), np.eye(4)]):
            options = {"order": order, "border": border, "fill": 1.0, "dtype": torch.float32}
            out = cuda.pull(torch.ones(1, 9, 8, 7, device=device), stages, (30, 40, 60), **options)
            assert float((out - 1).abs().max()) < 1e-4


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("order", [0, 1, 3])
def test_push_is_the_adjoint(device, order, border):
    rng = np.random.default_rng(order)
    in_shape, shape = LATTICES[0]
    for stages in chains(rng, shape, in_shape):
        volume, values = (torch.from_numpy(rng.normal(size=(2, *s))).float() for s in (in_shape, shape))
        options = {"order": order, "border": border}
        pulled = reference.pull(volume, stages, shape, fill=0.0, dtype=torch.float32, **options).double()
        pushed = cuda.push(values.to(device), stages, in_shape, **options).cpu().double()
        assert abs(float((pulled * values).sum() - (volume * pushed).sum())) < 1e-5 * float(pulled.abs().sum())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("border", BORDERS)
def test_label_vote(device, border, dtype):
    rng = np.random.default_rng(2)
    in_shape, shape = LATTICES[0]
    for stages in chains(rng, shape, in_shape):
        labels = torch.from_numpy(rng.integers(0, 5, (2, *in_shape))).to(dtype)
        options = {"order": 1, "border": border, "fill": 2.0, "smooth": (0.0, 0.0, 0.0)}
        got = cuda.label_vote(labels.to(device), stages, shape, **options).cpu().long()
        shares = torch.stack(
            [
                reference.pull(
                    (labels == c).double(), stages, shape, order=1, border=border, fill=c == 2, dtype=torch.float64
                )
                for c in range(5)
            ]
        )
        assert float((shares.amax(0) - shares.gather(0, got[None])[0]).max()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_logit_argmax(device, dtype):
    rng = np.random.default_rng(3)
    in_shape, shape = LATTICES[0]
    for stages in chains(rng, shape, in_shape):
        logits = torch.from_numpy(rng.normal(size=(7, *in_shape))).to(dtype)
        got = logit_argmax(logits.to(device), stages, shape, border="border")[0].cpu().long()
        options = {"order": 1, "border": "border", "fill": 0.0, "dtype": torch.float64}
        values = reference.pull(logits.double(), stages, shape, **options)
        assert float((values.amax(0) - values.gather(0, got[None])[0]).max()) < 1e-4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sigma", [(1.0, 0.4, 2.5), (0.0, 9.0, 0.0)])
def test_gaussian(device, dtype, sigma):
    volume = torch.from_numpy(np.random.default_rng(4).uniform(0, 200, (2, 40, 41, 42))).to(dtype)
    assert GAUSSIAN[0].declines(volume.to(device), sigma, 3.0) is None
    agree(gaussian(volume.to(device), sigma), reference.gaussian(volume, sigma, 3.0))


@pytest.mark.parametrize("share", [0.2, 1e-3])
def test_distance(device, share):
    target = torch.from_numpy(np.random.default_rng(5).random((2, 60, 70, 90)) < share)
    got = cuda.distance(target.to(device), (3.0, 0.5, 1.3)).cpu().numpy()
    for made, channel in zip(got, target.numpy(), strict=True):
        due = ndimage.distance_transform_edt(~channel, (3.0, 0.5, 1.3))
        assert np.abs(made - due).max() <= 1e-5 * due.max()
    assert torch.isinf(cuda.distance(torch.zeros(1, 4, 4, 4, dtype=torch.bool, device=device), (1.0, 1.0, 1.0))).all()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_components(device, steps):
    """At a share of 0.3 components are long and winding: what makes threads meet."""
    labels = torch.from_numpy(np.random.default_rng(6).random((2, 80, 90, 100)) < 0.3)
    structure = ndimage.generate_binary_structure(3, steps)
    got = cuda.components(labels.to(device), steps).cpu().numpy()
    for made, channel in zip(got, labels.numpy(), strict=True):
        due, count = ndimage.label(channel, structure)
        assert made.max() == count
        pairs = np.unique(np.stack([made.ravel(), due.ravel()]), axis=1)
        assert pairs.shape[1] == count + 1  # one to one, background included
        first = np.unique(made[made > 0], return_index=True)[1]
        assert (np.diff(first) > 0).all()


def test_joint_counts(device):
    rng = np.random.default_rng(7)
    a, b = (torch.from_numpy(rng.integers(0, 100, 1 << 20)).to(torch.int16) for _ in range(2))
    for rows, columns in ((100, 100), (60, 7)):
        got = cuda.joint_counts(a.to(device), b.to(device), rows, columns).cpu()
        keep = (a < rows) & (b < columns)
        due = torch.bincount(a[keep].long() * columns + b[keep].long(), minlength=rows * columns)
        assert torch.equal(got.reshape(-1), due)


def test_noise(device):
    got = cuda.normal((1 << 20,), 7, device).cpu().double()
    assert abs(float(got.mean())) < 5e-3
    assert abs(float(got.std()) - 1) < 5e-3
    assert torch.equal(cuda.normal((100,), 7, device).cpu().double(), got[:100])
    assert not torch.equal(cuda.normal((100,), 8, device).cpu().double(), got[:100])
