"""The CUDA kernels without a GPU: the very same kernel bodies run on the host, against the reference.

What this cannot see: data races beyond what a random order of threads shows, contraction to fused multiply-adds,
alignment, speed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cuda_host
import numpy as np
import pytest
import torch

from medframe.base.errors import BadArgument
from medframe.kernels import cuda, reference
from medframe.kernels.cuda import launch
from medframe.kernels.cuda.sources import CXX, kernel
from medframe.kernels.stages import BORDERS, Knots

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")

DTYPES = list(CXX)
SIZES = [((6, 7, 9), (5, 8, 11)), ((7, 9), (11, 6)), ((1, 5, 1), (3, 4, 2)), ((13,), (40,)), ((1, 1, 1), (2, 1, 3))]


@pytest.fixture
def on_host():
    with cuda_host.host() as library:
        yield library


def volume_of(shape, dtype, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 200, shape)).to(dtype)


def agree(got, due, tolerance):
    """Equal within rounding: a value close to half way between two may be rounded either way."""
    assert got.dtype == due.dtype
    assert got.shape == due.shape
    assert torch.equal(torch.isnan(got), torch.isnan(due))
    off = (got.double() - due.double()).abs().nan_to_num(0)
    if due.dtype == torch.float32:
        assert float(off.max()) < tolerance
        return
    step = 1.0 if not due.dtype.is_floating_point else float(torch.finfo(due.dtype).eps)
    size = due.double().abs().clamp(min=1) if due.dtype.is_floating_point else 1
    assert float((off / size).nan_to_num(0).max()) <= step
    assert int((off > tolerance).sum()) <= 2 + 0.01 * off.numel()


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("order", [0, 1, 3])
def test_pull_is_the_references(on_host, chain, kind, order, border):
    rng = np.random.default_rng([order, BORDERS.index(border)])
    for i, (in_shape, shape) in enumerate(SIZES):
        stages = chain(kind, rng, shape, in_shape)
        for j, dtype in enumerate(DTYPES[(i + BORDERS.index(border)) % 2 :: 2]):  # across borders all of them
            volume = volume_of((2, *in_shape), dtype, i)
            options = {"order": order, "border": border, "fill": 7.0}
            options["dtype"] = torch.float32 if (i + j) % 3 == 0 else dtype
            due = reference.pull(volume, stages, shape, **options)
            agree(cuda.pull(volume, stages, shape, **options), due, 1e-3 if order else 1e-12)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_batch_is_its_samples(on_host, chain, order):
    rng = np.random.default_rng(order)
    shape = (4, 5, 6)
    batch = [chain(k, rng, shape, (6, 7, 5)) for k in ("general", "two knots", "knots", "dense knots")]
    volumes = volume_of((4, 2, 6, 7, 5), torch.float32)
    options = {"order": order, "border": "zero", "fill": 1.0, "dtype": torch.float32}
    got = cuda.pull_batch(volumes, batch, shape, **options)
    for sample, stages in enumerate(batch):
        assert torch.equal(got[sample], cuda.pull(volumes[sample], stages, shape, **options))
    with pytest.raises(BadArgument, match="one chain"):
        cuda.pull_batch(volumes, batch[:3], shape, **options)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.int64, torch.float64])
def test_order_0_moves_any_voxel(on_host, chain, dtype):
    rng = np.random.default_rng(4)
    stages = chain("general", rng, (5, 6, 7), (6, 5, 8))
    volume = volume_of((2, 6, 5, 8), torch.float32).sub(100).to(dtype)
    options = {"order": 0, "border": "zero", "fill": 1.0, "dtype": dtype}
    assert torch.equal(
        cuda.pull(volume, stages, (5, 6, 7), **options), reference.pull(volume, stages, (5, 6, 7), **options)
    )


def test_a_fill_of_nan_stays_outside(on_host):
    matrix = np.eye(4)
    matrix[0, 3] = -1
    volume = volume_of((1, 4, 4, 4), torch.float32)
    for order in (0, 1, 3):
        options = {"order": order, "border": "zero", "fill": float("nan"), "dtype": torch.float32}
        due = reference.pull(volume, [matrix], (5, 4, 4), **options)
        agree(cuda.pull(volume, [matrix], (5, 4, 4), **options), due, 1e-3)
        assert 0 < int(torch.isnan(due).sum()) < due.numel()


@pytest.mark.parametrize("size", [1e9, 1e13, 1e300, float("inf")])
@pytest.mark.parametrize("border", BORDERS)
def test_no_place_reads_out_of_bounds(on_host, border, size):
    volume = torch.ones(1, 4, 5, 3)
    rng = np.random.default_rng(0)
    torn = torch.full((3, 2, 2, 2), min(size, 3e38))
    torn[0] = float("nan")
    for order in (0, 1, 3):
        matrix = np.eye(4)
        matrix[:3] = rng.normal(size=(3, 4)) * min(size, 1e300)
        for stages in ([matrix], [np.eye(4), Knots(torn, np.eye(4), 1), np.eye(4)], [matrix, matrix, matrix]):
            options = {"order": order, "border": border, "fill": 1.0, "dtype": torch.float32}
            out = cuda.pull(volume, stages, (3, 4, 6), **options)
            assert float((out - 1).abs().max()) < 1e-4


def test_places_are_exact_far_along_an_axis(on_host):
    """2^-33 a step: over 3000 voxels less than 1e-6, where single precision would have lost 1e-4."""
    ramp = torch.arange(3100, dtype=torch.float32).reshape(1, 1, 1, -1) % 64
    step = np.diag([1.0, 1.0, 1.0127, 1.0])
    step[2, 3] = 0.3
    options = {"order": 1, "border": "zero", "fill": 0.0, "dtype": torch.float32}
    got = cuda.pull(ramp, [step], (1, 1, 3000), **options)
    due = reference.pull(ramp.double(), [step], (1, 1, 3000), **{**options, "dtype": torch.float64})
    places = 1.0127 * torch.arange(3000, dtype=torch.float64) + 0.3
    gentle = (places.floor() % 64 < 63).expand(
        due.shape
    )  # where the ramp's slope is 1, so that errors are of the place
    assert float((got - due).abs()[gentle].max()) < 1e-5


@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 3, 40), (70, 33, 65)])
@pytest.mark.parametrize("periodic", [False, True])
def test_coefficients_are_the_references(on_host, shape, periodic):
    volume = volume_of((2, *shape), torch.float32)
    due = reference.spline_prefilter(volume, "wrap" if periodic else "reflect")
    agree(cuda.sampling.coefficients(volume, periodic=periodic), due, 1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sigma", [(0.0, 0.0, 0.0), (1.0, 0.4, 2.5), (0.0, 9.0, 0.0)])
def test_gaussian_is_the_references(on_host, dtype, sigma):
    volume = volume_of((2, 9, 12, 1, 7)[: len(sigma) + 1], dtype)
    agree(cuda.gaussian(volume, sigma, 3.0), reference.gaussian(volume, sigma, 3.0), 1e-3)


def test_half_precision_is_torchs(on_host):
    """Every float16 is read right, and floats around every one of them are rounded right."""
    every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(torch.float16).reshape(1, -1)
    options = {"order": 0, "border": "zero", "fill": 0.0, "dtype": torch.float32}
    wide = cuda.pull(every, [np.eye(2)], every.shape[1:], **options)
    agree(wide, every.float(), 1e-30)
    beside = torch.cat([wide * (1 + s * 2.0**-12) for s in (-1.5, -1, 0, 1, 1.5)], 1).nan_to_num(0, 0, 0)
    beside = torch.cat([beside, torch.tensor([[65519.9, 65520.0, 1e30, -7e4]])], 1)
    for dtype in (torch.float16, torch.bfloat16):
        got, one = torch.empty(beside.shape, dtype=dtype), torch.ones(1)
        copy = kernel("gaussian.cu", "filter_axis", torch.float32, dtype)
        sizes = np.int32(0), np.int64(1), np.int32(beside.numel()), np.int64(1)
        launch.launch(copy, launch.line(beside.numel()), (launch.THREADS, 1, 1), beside, got, one, *sizes)
        assert torch.equal(got, beside.to(dtype))


def test_the_order_of_threads_does_not_matter(chain):
    stages = chain("knots", np.random.default_rng(0), (9, 10, 11), (8, 9, 7))
    volume = volume_of((1, 8, 9, 7), torch.float32)
    results = []
    for seed in (1, 2):
        with cuda_host.host(seed=seed):
            options = {"order": 3, "border": "reflect", "fill": 0.0, "dtype": torch.float32}
            results.append(cuda.pull(volume, stages, (9, 10, 11), **options))
    assert torch.equal(*results)


def test_declining_says_why(chain):
    volume = torch.zeros(1, 4, 4, 4)
    options = {"order": 1, "border": "zero", "fill": 0.0, "dtype": torch.float32}
    assert "not on a CUDA device" in cuda.declines_pull(volume, [np.eye(4)], (4, 4, 4), **options)
    assert "not on a CUDA device" in cuda.declines_gaussian(volume, (1.0, 1.0, 1.0), 3.0)
    with cuda_host.host():
        wide = volume.double()
        assert "float64" in cuda.declines_pull(wide, [np.eye(4)], (4, 4, 4), **options)
        assert "int16" in cuda.declines_pull(volume, [np.eye(4)], (4, 4, 4), **{**options, "dtype": torch.int16})
        knots = Knots(torch.zeros(3, 2, 2, 2), np.eye(4))
        inverse = Knots(knots.values, knots.matrix, inverse=True)
        assert "inverted" in cuda.declines_pull(volume, [inverse], (4, 4, 4), **options)
        assert "more than 2" in cuda.declines_pull(volume, [knots] * 3, (4, 4, 4), **options)
        assert "float64" in cuda.declines_gaussian(wide, (1.0, 1.0, 1.0), 3.0)


def test_a_machine_without_a_gpu_or_cupy_is_told(monkeypatch):
    launch.missing.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA device" in launch.missing()
    launch.missing.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(launch, "has", lambda _: False)
    for version, extra in (("12.8", "cuda12"), ("13.0", "cuda13")):
        monkeypatch.setattr(torch.version, "cuda", version)
        assert f"pip install 'medframe[{extra}]'" in launch.missing()
        launch.missing.cache_clear()


@pytest.mark.parametrize("which", ["some", pytest.param("every", marks=pytest.mark.slow)])
def test_the_sanitizers_find_nothing(which):
    """Kernels on small inputs, in a process of its own under the address and undefined-behaviour sanitizers."""
    preload = cuda_host.sanitizers()
    if preload is None:
        pytest.skip("g++ has no sanitizers here")
    tree = Path(cuda.__file__).resolve().parents[3]
    environment = {
        **os.environ,
        "LD_PRELOAD": preload,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": str(tree),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-W", "ignore", cuda_host.__file__, which]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    assert "runtime error" not in done.stderr
    assert done.stdout.split() == [which, "kernels", "ran"]
