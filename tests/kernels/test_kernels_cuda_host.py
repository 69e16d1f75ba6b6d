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
from types import SimpleNamespace

import cuda_host
import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from medframe.base.errors import BadArgument
from medframe.kernels import cuda, reference
from medframe.kernels.cuda import chains, filters, launch
from medframe.kernels.cuda.sources import CXX, kernel
from medframe.kernels.stages import BORDERS, Knots

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")

DTYPES = list(CXX)
SIZES = [((6, 7, 9), (5, 8, 11)), ((7, 9), (11, 6)), ((1, 5, 1), (3, 4, 2)), ((13,), (40,)), ((1, 1, 1), (2, 1, 3))]

DECIDE = {"order": 1, "fill": (0.0,), "probabilities": None}


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
    for i, (in_shape, shape) in list(enumerate(SIZES))[order % 2 :: 2]:
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


def test_more_samples_than_a_launch_takes(on_host, chain):
    rng = np.random.default_rng(1)
    shape = (3, 4, 5)
    batch = [chain(("general", "knots")[k % 2], rng, shape, (4, 5, 3)) for k in range(11)]
    volumes = volume_of((11, 2, 4, 5, 3), torch.float32)
    options = {"order": 1, "border": "reflect", "fill": 0.0, "dtype": torch.float32}
    for stages in (batch, batch[:9:2] * 2):
        got = cuda.pull_batch(volumes[: len(stages)], stages, shape, **options)
        for sample, one in enumerate(stages):
            agree(got[sample], reference.pull(volumes[sample], one, shape, **options), 1e-3)


def test_the_arguments_of_a_kernel_stay_within_4_kib():
    """What every driver and architecture takes; the samples' chains are most of it."""
    assert chains.BENT.itemsize * chains.BATCH == 3904  # as device.h asserts of the struct it reads
    assert chains.STRAIGHT.itemsize == 104


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


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("order", [0, 1, 3])
def test_push_is_the_adjoint_of_pull(on_host, chain, kind, order, border):
    """<pull(v), g> = <v, push(g)> for every v and g, with the reference's pull."""
    rng = np.random.default_rng([7, order, BORDERS.index(border)])
    for in_shape, shape in SIZES[:3]:
        stages = chain(kind, rng, shape, in_shape)
        volume, values = (torch.from_numpy(rng.normal(size=(2, *s))).float() for s in (in_shape, shape))
        options = {"order": order, "border": border}
        pulled = reference.pull(volume.double(), stages, shape, fill=0.0, dtype=torch.float64, **options)
        pushed = cuda.push(values, stages, in_shape, **options)
        assert pushed.shape == volume.shape
        size = float(pulled.abs().sum()) + 1
        assert abs(float((pulled * values).sum() - (volume * pushed.double()).sum())) < 1e-5 * size
    half = cuda.push(values.half(), stages, in_shape, **options)
    agree(half, cuda.push(values.half().float(), stages, in_shape, **options).half(), 1e-4)


@pytest.mark.parametrize("border", BORDERS)
def test_the_vote_is_that_of_the_classes_shares(on_host, chain, kind, border):
    rng = np.random.default_rng([8, BORDERS.index(border)])
    for (in_shape, shape), dtype in zip(SIZES[:4], (torch.uint8, torch.int16, torch.int32, torch.int64), strict=True):
        stages = chain(kind, rng, shape, in_shape)
        labels = torch.from_numpy(rng.integers(0, 5, (2, *in_shape))).to(dtype)
        got = cuda.label_vote(labels, stages, shape, order=1, border=border, fill=2, smooth=(0.0,) * len(shape))
        assert got.dtype == dtype
        options = {"order": 1, "border": border, "dtype": torch.float64}
        shares = torch.stack(
            [reference.pull((labels == c).double(), stages, shape, fill=c == 2, **options) for c in range(5)]
        )
        won = shares.gather(0, got.long()[None])[0]
        assert float((shares.amax(0) - won).max()) < 3e-6  # of classes closer than that either may win
        clear = shares.topk(2, 0).values.diff(dim=0)[0].abs() > 3e-6
        assert torch.equal(got[clear], shares.argmax(0).to(dtype)[clear])


def test_of_equal_shares_the_lowest_class_wins(on_host):
    labels = torch.tensor([[7, 3, 3, 9, 2, 5]], dtype=torch.int32)
    half_way = np.array([[1.0, 0.5], [0.0, 1.0]])
    got = cuda.label_vote(labels, [half_way], (6,), order=1, border="zero", fill=4, smooth=(0.0,))
    assert got.tolist() == [[3, 3, 3, 2, 2, 4]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("border", BORDERS)
def test_the_leading_logit_wins(on_host, chain, kind, border, dtype):
    rng = np.random.default_rng([9, BORDERS.index(border)])
    for (in_shape, shape), to in zip(SIZES[:3], (torch.uint8, torch.int16, torch.uint8), strict=True):
        stages = chain(kind, rng, shape, in_shape)
        logits = torch.from_numpy(rng.normal(size=(4, *in_shape))).to(dtype)
        got = cuda.logit_argmax(logits, stages, shape, border=border, dtype=to, **DECIDE)[0]
        assert got.dtype == to
        options = {"order": 1, "border": border, "fill": 0.0, "dtype": torch.float64}
        values = reference.pull(logits.double(), stages, shape, **options)
        assert float((values.amax(0) - values.gather(0, got.long()[None])[0]).max()) < 1e-4


def test_equal_logits_and_logits_that_are_no_numbers(on_host):
    logits = torch.zeros(3, 1, 5)  # a voxel that is not a number spoils the one before it, too
    logits[0, 0, 0] = logits[1, 0, 1] = float("nan")
    logits[2, 0, 1] = 2
    logits[1:, 0, 2] = 1
    logits[0, 0, 3] = -1
    call = {"border": "border", "dtype": torch.uint8, **DECIDE}
    got = cuda.logit_argmax(logits, [np.eye(3)], (1, 5), **call)[0]
    assert got.tolist() == [[0, 2, 1, 1, 0]]
    assert torch.equal(got, reference.logit_argmax(logits, [np.eye(3)], (1, 5), **{**call, "fill": (0.0,) * 3})[0])


@pytest.mark.parametrize("share", [0.3, 0.01, 0.0, 1.0])
@pytest.mark.parametrize("shape", [(7, 9, 21), (13, 30), (40,)])
def test_distances_are_scipys(on_host, share, shape):
    target = torch.from_numpy(np.random.default_rng(3).random((2, *shape)) < share)
    spacing = (3.0, 0.5, 1.3)[: len(shape)]
    got = cuda.distance(target, spacing)
    for made, channel in zip(got.numpy(), target.numpy(), strict=True):
        if channel.any():
            due = ndimage.distance_transform_edt(~channel, spacing)
            assert np.abs(made - due).max() <= 1e-6 * max(due.max(), 1)
        else:
            assert np.isinf(made).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.bool])
@pytest.mark.parametrize(
    ("shape", "steps"), [((6, 9, 11), 1), ((6, 9, 11), 2), ((6, 9, 11), 3), ((12, 14), 1), ((40,), 1)]
)
def test_components_are_scipys_numbered_by_first_voxel(on_host, shape, steps, dtype):
    labels = torch.from_numpy(np.random.default_rng(steps).integers(0, 3, (2, *shape))).to(dtype)
    got = cuda.components(labels, steps)
    structure = ndimage.generate_binary_structure(len(shape), steps)
    for made, channel in zip(got.numpy(), labels.numpy(), strict=True):
        due = np.zeros(shape, int)
        for value in np.unique(channel[channel != 0]):
            numbered, _ = ndimage.label(channel == value, structure)
            due[numbered > 0] = numbered[numbered > 0] + due.max()
        _, first, inverse = np.unique(due, return_index=True, return_inverse=True)
        assert 0 in due
        rank = np.empty(len(first), int)
        rank[0] = 0  # background
        rank[1 + np.argsort(first[1:])] = np.arange(1, len(first))
        assert np.array_equal(made, rank[inverse.reshape(shape)])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize(("rows", "columns"), [(5, 4), (300, 200)])
def test_joint_counts_are_numpys(on_host, dtype, rows, columns):
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.integers(0, 7, (3, 500))).to(dtype) for _ in range(2))
    got = cuda.joint_counts(a, b, rows, columns)
    due, _, _ = np.histogram2d(
        a.numpy().ravel(), b.numpy().ravel(), bins=(rows, columns), range=((-0.5, rows - 0.5), (-0.5, columns - 0.5))
    )
    assert np.array_equal(got.numpy(), due)


def philox(counter, key):
    """Ten rounds in Python integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q & 0xFFFFFFFF, p >> 32 ^ c[3] ^ k[1], p & 0xFFFFFFFF]
        k = [k[0] + 0x9E3779B9 & 0xFFFFFFFF, k[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return c


def test_noise_is_philoxs(on_host):
    # the known answers published with the generator
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]
    assert philox(*pi) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
    seed = 0x03707344_13198A2E_299F31D0_A4093822
    got = cuda.normal((5, 7), seed, torch.device("cpu")).reshape(-1).double().numpy()
    due = []
    for group in range(9):
        u, v, s, t = ((w + 0.5) / 2**32 for w in philox([group, 0, 0x13198A2E, 0x03707344], pi[1]))
        for a, b in ((u, v), (s, t)):
            due += [np.sqrt(-2 * np.log(a)) * np.cos(2 * np.pi * b), np.sqrt(-2 * np.log(a)) * np.sin(2 * np.pi * b)]
    assert np.abs(got - due[:35]).max() < 1e-5
    many = cuda.normal((20000,), 7, torch.device("cpu"))
    assert stats.kstest(many.numpy(), "norm").pvalue > 1e-3
    assert torch.equal(cuda.normal((20,), 7, torch.device("cpu"), torch.float16), many[:20].half())


def test_half_precision_is_torchs(on_host):
    """Every float16 is read right, and floats around every one of them are rounded right."""
    every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(torch.float16).reshape(1, -1)
    options = {"order": 0, "border": "zero", "fill": 0.0, "dtype": torch.float32}
    wide = cuda.pull(every, [np.eye(2)], every.shape[1:], **options)
    agree(wide, every.float(), 1e-30)
    beside = torch.cat([wide * (1 + s * 2.0**-12) for s in (-1.5, -1, 0, 1, 1.5)], 1).nan_to_num(0, 0, 0)
    beside = torch.cat([beside, torch.tensor([[65519.9, 65520.0, 1e30, -7e4]])], 1)
    for dtype in (torch.float16, torch.bfloat16):
        got, one = torch.empty(beside.shape, dtype=dtype), filters.as_weights(np.ones(1, np.float32))
        copy = kernel("filters.cu", "filter_axis", torch.float32, dtype)
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


def test_a_launch_is_on_the_tensors_device_and_torchs_stream(monkeypatch):
    """CuPy is handed NumPy scalars alone, structs among them, between the device's guard and the stream's."""
    happened = []

    class Within:
        def __init__(self, *what):
            self.what = what

        def __enter__(self):
            happened.append(self.what)

        def __exit__(self, *_):
            happened.append(("left", self.what[0]))

    class Stream:
        cuda_stream = 4711

    fake = SimpleNamespace(
        cuda=SimpleNamespace(
            Device=lambda index: Within("device", index),
            ExternalStream=lambda pointer, index: Within("stream", pointer, index),
        )
    )
    monkeypatch.setattr(launch, "need", lambda *_: fake)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream)
    monkeypatch.setattr(launch, "_function", lambda *_: lambda *args: happened.append(args))
    volume = volume_of((1, 4, 4, 70000), torch.float32)
    knots = Knots(torch.zeros(3, 2, 2, 2), np.eye(4))
    options = {"order": 1, "border": "zero", "fill": 0.0, "dtype": torch.float32}
    cuda.pull(volume, [np.eye(4), knots, np.eye(4)], (4, 4, 70000), **options)
    assert [h[0] for h in happened if h[0] in ("device", "stream", "left")] == ["device", "stream", "left", "left"]
    assert ("stream", 4711, None) in happened
    grid, block, args = happened[2]
    assert block == (32, 8, 1)
    assert grid == (2188, 1, 1)
    assert all(isinstance(a, np.generic) for a in args)
    assert args[0] == volume.data_ptr()
    assert sum(a.nbytes for a in args) < 4096


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
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    assert "runtime error" not in done.stderr
    assert done.stdout.split() == [which, "kernels", "ran"]
