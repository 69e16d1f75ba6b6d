"""Every back end against the reference, and the reference against scipy: over dtype, rank, order, border and stages."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medframe.base import BadArgument, BadConfig, BadGeometry, TooLarge
from medframe.kernels import Knots, gaussian, native, ops, pull, reference

SCIPY_MODE = {"zero": "grid-constant", "border": "nearest", "reflect": "mirror", "wrap": "grid-wrap"}
BORDERS = list(SCIPY_MODE)
needs_native = pytest.mark.skipif(native.core() is None, reason="medframe._core was not built")


def matrix_of(rank, seed, kind="general"):
    rng = np.random.default_rng(seed)
    matrix = np.eye(rank + 1)
    if kind == "general":
        matrix[:rank, :rank] += 0.25 * rng.normal(size=(rank, rank))
        matrix[:rank, rank] = rng.uniform(-2, 2, rank)
    else:  # axis-aligned: permuted, mirrored, scaled, shifted
        matrix[:rank, :rank] = (
            np.eye(rank)[rng.permutation(rank)] * rng.uniform(0.4, 1.7, rank) * rng.choice([-1, 1], rank)
        )
        matrix[:rank, rank] = rng.uniform(0, 6, rank)
    return matrix


def knots_of(rank, order, seed=0, inverse=False):
    generator = torch.Generator().manual_seed(seed)
    n = 5
    matrix = np.eye(rank + 1)
    matrix[:rank, :rank] *= 0.45
    matrix[:rank, rank] = 0.5
    return Knots(torch.rand((rank, *[n] * rank), generator=generator) - 0.5, matrix, order, inverse)


def volume_of(shape, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, generator=generator) * 200 - (0 if dtype in (torch.uint8, torch.uint16) else 100)
    return values.to(torch.float64).to(dtype)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("border", BORDERS)
def test_the_reference_is_scipys(rank, order, border):
    volume = volume_of((2, *(9, 8, 7)[:rank]), torch.float64)
    matrix, shape = matrix_of(rank, 3), (8, 9, 10)[:rank]
    got = reference.pull(volume, [matrix], shape, order=order, border=border, fill=3.5, dtype=torch.float64)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    places = np.moveaxis(index @ matrix[:rank, :rank].T + matrix[:rank, rank], -1, 0)
    for channel, made in zip(volume.numpy(), got.numpy(), strict=True):
        due = ndimage.map_coordinates(channel, places, order=order, mode=SCIPY_MODE[border], cval=3.5)
        assert np.abs(made - due).max() < 1e-10


@pytest.mark.parametrize("border", BORDERS)
def test_the_cubic_reference_is_scipys_and_holds_or_fades_beyond_the_edge(border):
    volume = volume_of((1, 9, 8), torch.float64)
    places = np.random.default_rng(0).uniform([-3, -3], [11, 10], (400, 2))
    coefficients = reference.spline_prefilter(volume, border)
    got = reference.read_at(coefficients, torch.from_numpy(places), 3, border, 5.0)[0].numpy()
    held = places.clip([0, 0], [8, 7]) if border in ("zero", "border") else places
    mode = "grid-wrap" if border == "wrap" else "mirror"
    due = ndimage.map_coordinates(volume[0].numpy(), held.T, order=3, mode=mode)
    if border == "zero":
        fade = np.prod(np.clip(1 - np.abs(places - held), 0, None), -1)
        due = 5.0 + fade * (due - 5.0)
    assert np.abs(got - due).max() < 1e-9


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("order", [1, 3])
def test_a_displacement_and_its_inverse_meet(order, inverse):
    knots = knots_of(3, order, inverse=inverse)
    back = Knots(knots.values, knots.matrix, knots.order, not inverse)
    places = torch.rand((200, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 8
    assert float((reference.displace(back, reference.displace(knots, places)) - places).abs().max()) < 1e-5


def test_the_jacobian_is_the_slope():
    knots = knots_of(3, 3)
    at = torch.rand((50, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 5 + 1
    made = reference.jacobian(knots, at)
    for axis in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[axis] = 1e-5
        slope = (reference.displace(knots, at + step) - reference.displace(knots, at - step)) / 2e-5
        assert float((made[..., axis] - slope).abs().max()) < 1e-6


STAGES = {
    "axis-aligned": lambda rank: [matrix_of(rank, 5, "aligned")],
    "general": lambda rank: [matrix_of(rank, 6)],
    "aligned, knots, general": lambda rank: [matrix_of(rank, 5, "aligned"), knots_of(rank, 3), matrix_of(rank, 7)],
    "general, knots, general": lambda rank: [matrix_of(rank, 6), knots_of(rank, 3), matrix_of(rank, 7)],
    "linear knots": lambda rank: [np.eye(rank + 1), knots_of(rank, 1), matrix_of(rank, 8)],
}
DTYPES = [torch.float32, torch.float64, torch.uint8, torch.int16, torch.int32]


@needs_native
@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_native_equals_the_reference(rank, order, border, stages):
    chain = STAGES[stages](rank)
    for dtype, (shape, out) in itertools.product(DTYPES, [((7, 9, 8), (9, 6, 10)), ((1, 5, 1), (3, 4, 2))]):
        volume = volume_of((2, *shape[:rank]), dtype)
        options = {"order": order, "border": border, "fill": 7.0, "dtype": dtype}
        if native.declines_pull(volume, chain, out[:rank], **options) is not None:
            continue
        due = reference.pull(volume, chain, out[:rank], **options)
        got = native.pull(volume, chain, out[:rank], **options)
        assert got.dtype == due.dtype
        assert got.shape == due.shape
        off = (got.double() - due.double()).abs()
        if dtype.is_floating_point:
            assert float(off.max()) <= 2e-3 * (order > 0), f"{dtype} {shape}"
        else:  # a value that lies half way between two integers may be rounded either way
            assert float(off.max()) <= (order > 0)
            assert float((off > 0).double().mean()) < 0.02


@needs_native
def test_native_serves_what_it_should():
    volume = volume_of((1, 8, 8, 8), torch.float32)
    for name, chain in STAGES.items():
        for order in (0, 1):
            options = {"order": order, "border": "zero", "fill": 0.0, "dtype": torch.float32}
            assert native.declines_pull(volume, chain(3), (8, 8, 8), **options) is None, name


@needs_native
def test_native_reads_views_and_leaves_the_input_alone():
    base = volume_of((2, 9, 8, 7), torch.float32)
    before = base.clone()
    view = base.permute(0, 3, 1, 2)[:, ::2]
    options = {"order": 1, "border": "border", "fill": 0.0, "dtype": torch.float32}
    got = native.pull(view, [matrix_of(3, 1)], (5, 6, 7), **options)
    due = reference.pull(view, [matrix_of(3, 1)], (5, 6, 7), **options)
    assert torch.allclose(got, due, atol=1e-3)
    assert torch.equal(base, before)


@needs_native
@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e12, 1e12), min_size=12, max_size=12), st.sampled_from(BORDERS), st.sampled_from([0, 1]))
def test_no_matrix_reads_out_of_bounds(numbers, border, order):
    matrix = np.eye(4)
    matrix[:3] = np.array(numbers).reshape(3, 4)
    volume = torch.ones(1, 4, 5, 3)
    out = native.pull(volume, [matrix], (3, 4, 6), order=order, border=border, fill=1.0, dtype=torch.float32)
    assert float((out - 1).abs().max()) < 1e-4  # whatever is read, it is a one or the fill


@needs_native
def test_threads_do_not_change_a_byte():
    volume = volume_of((1, 40, 41, 39), torch.float32)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(pull(volume, STAGES["general, knots, general"](3), (40, 40, 40)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


@needs_native
def test_a_forked_worker_does_not_hang():
    code = (
        "import os, numpy as np, torch, sys\n"
        "from medframe.kernels import pull\n"
        "torch.set_num_threads(2)\n"
        "v, m = torch.rand(1, 64, 64, 64), np.diag([0.9, 0.9, 0.9, 1.0])\n"
        "pull(v, [m], (64, 64, 64))\n"
        "class Data(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 2\n"
        "    def __getitem__(self, i): return pull(v, [m], (64, 64, 64)).sum()\n"
        "print(len(list(torch.utils.data.DataLoader(Data(), num_workers=1, multiprocessing_context='fork'))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "2"


def test_the_environment_forces_a_back_end(monkeypatch):
    monkeypatch.setenv("MEDFRAME_KERNELS", "reference")
    volume = volume_of((1, 4, 4), torch.float32)
    assert pull(volume, [np.eye(3)], (4, 4)).equal(volume)
    monkeypatch.setenv("MEDFRAME_KERNELS", "fast")
    with pytest.raises(BadConfig, match="reference, native or cuda"):
        pull(volume, [np.eye(3)], (4, 4))
    monkeypatch.setenv("MEDFRAME_KERNELS", "cuda")
    with pytest.raises(BadArgument, match="Unset MEDFRAME_KERNELS"):
        pull(volume, [np.eye(3)], (4, 4))


def test_the_tests_command_builds_the_extension():
    if os.environ.get("MEDFRAME_REQUIRE_NATIVE") != "1":
        pytest.skip("MEDFRAME_REQUIRE_NATIVE is not set")
    assert native.core() is not None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"volume": torch.zeros(4, 4)}, BadArgument, "spatial"),
        ({"order": 2}, BadArgument, "order"),
        ({"border": "mirror"}, BadArgument, "border"),
        ({"stages": [np.eye(4)]}, BadGeometry, "rank"),
        ({"stages": [np.diag([np.nan, 1, 1])]}, BadGeometry, "finite"),
        ({"shape": (2**20, 2**20)}, TooLarge, "limit"),
        ({"volume": torch.zeros(1, 0, 3)}, BadArgument, "empty"),
    ],
)
def test_bad_calls_are_told(change, error, message):
    call = {"volume": torch.zeros(1, 4, 4), "stages": [np.eye(3)], "shape": (4, 4), **change}
    with pytest.raises(error, match=message):
        pull(call.pop("volume"), call.pop("stages"), call.pop("shape"), **call)


@pytest.mark.parametrize("sigma", [(1.0, 1.0, 1.0), (0.0, 2.5, 0.7)])
def test_gaussian_is_scipys(sigma):
    volume = volume_of((2, 12, 11, 10), torch.float64)
    got = gaussian(volume, sigma).numpy()
    for made, channel in zip(got, volume.numpy(), strict=True):
        radius = [int(np.ceil(3 * s)) for s in sigma]
        due = ndimage.gaussian_filter(channel, sigma, mode="nearest", radius=radius)
        assert np.abs(made - due).max() < 1e-9
    with pytest.raises(BadArgument, match="sigma"):
        gaussian(volume, (1.0, -1.0, 1.0))


def test_rounding_saturates():
    values = torch.tensor([-5.0, 0.5, 1.5, 254.6, 300.0])
    assert reference.to_dtype(values, torch.uint8).tolist() == [0, 0, 2, 255, 255]
    assert reference.to_dtype(torch.tensor([1e30]), torch.int64)[0] > 2**62


def test_the_report_says_what_serves(capsys):
    assert set(next(iter(ops.report().values()))) >= {"reference"}
