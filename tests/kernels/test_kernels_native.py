"""The native back end: equal to the reference on every path it has, safe for any place, the same on any threads."""

from __future__ import annotations

import multiprocessing
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medframe.base.errors import BadArgument, BadGeometry
from medframe.kernels import native, ops, pull, reference
from medframe.kernels.stages import BORDERS, Knots

DTYPES = (
    torch.float32,
    torch.float64,
    torch.uint8,
    torch.int8,
    torch.uint16,
    torch.int16,
    torch.int32,
    torch.bool,
)
MOVED = (*DTYPES, torch.int64, torch.uint32, torch.float16, torch.bfloat16)
SHAPES = {  # output, input: odd sizes, axes of size 1, one voxel, rows longer than a block
    1: (((21,), (13,)), ((4,), (1,)), ((9,), (2,)), ((300,), (270,))),
    2: (((11, 17), (13, 9)), ((6, 7), (1, 8)), ((5, 5), (8, 1)), ((1, 280), (40, 260))),
    3: (((13, 8, 15), (9, 12, 11)), ((6, 7, 5), (1, 7, 9)), ((4, 5, 6), (7, 9, 1)), ((5, 1, 7), (2, 3, 2))),
}


def volume_of(rng, shape, dtype, channels=2):
    values = torch.from_numpy(rng.normal(size=(channels, *shape)) * 40 + 50)
    if dtype == torch.bool:
        return values > 50
    return values.clamp(0 if dtype in (torch.uint8, torch.uint16, torch.uint32) else -100, 127).to(dtype)


def served(volume, stages, shape, **options):
    assert native.declines_pull(volume, stages, shape, **options) is None
    out = native.pull(volume, stages, shape, **options)
    assert out.shape == (volume.shape[0], *shape)
    assert out.dtype == options["dtype"]
    return out


def assert_close(out, due, stages):
    """Within rounding of `due`, which was not rounded; integers may go either way only where it lies half way.

    Displacements are float32, so places behind them are only as exact as that.
    """
    exact = out.dtype == torch.float64 and not any(isinstance(stage, Knots) for stage in stages)
    if out.dtype == torch.bool:
        off = (out != (due.abs() > 0.5)) & ((due.abs() - 0.5).abs() > 1e-4)
        assert not off.any()
    elif out.dtype.is_floating_point:
        assert float((out.double() - due).abs().max()) < (1e-9 if exact else 5e-3)
    else:
        info = torch.iinfo(out.dtype)
        assert float((out.double() - due.clamp(info.min, info.max)).abs().max()) < 0.505


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_native_equals_the_reference_on_each_path(core, chain, kind, rank, border, order):  # noqa: PLR0917
    for n, (shape, in_shape) in enumerate(SHAPES[rank]):
        rng = np.random.default_rng(n)
        stages = chain(kind, rng, shape, in_shape)
        volumes = [volume_of(rng, in_shape, dtype) for dtype in DTYPES]
        options = {"order": order, "border": border, "fill": 1.0, "dtype": torch.float64}
        # the reference reads all types at once, as channels: it is slow, and every one of these values is a float64
        due = reference.pull(torch.cat([v.double() for v in volumes]), stages, shape, **options)
        for volume, part in zip(volumes, due.split(2), strict=True):
            for dtype in {volume.dtype, torch.float32}:
                out = served(volume, stages, shape, **(options | {"dtype": dtype}))
                if order == 0:
                    assert torch.equal(out, part.to(dtype))
                else:
                    assert_close(out, part, stages)


@pytest.mark.parametrize("dtype", MOVED)
def test_nearest_moves_any_type(core, chain, kind, dtype):
    rng = np.random.default_rng(5)
    volume, stages = volume_of(rng, (6, 5, 7), dtype), chain(kind, rng, (8, 9, 7), (6, 5, 7))
    for fill in (3.0, -1000.0):
        options = {"order": 0, "border": "zero", "fill": fill, "dtype": dtype}
        due = reference.pull(volume, stages, (8, 9, 7), **options)
        assert torch.equal(served(volume, stages, (8, 9, 7), **options), due)


@settings(max_examples=60, deadline=None)
@given(
    linear=arrays(float, (3, 3), elements=st.floats(-2, 2)),
    offset=arrays(float, 3, elements=st.floats(-9, 9)),
    order=st.sampled_from([0, 1, 3]),
    border=st.sampled_from(BORDERS),
)
def test_native_equals_the_reference_for_any_matrix(linear, offset, order, border):
    if native.core() is None:
        pytest.skip("medframe._core was not built")
    matrix = np.eye(4)
    matrix[:-1, :-1], matrix[:-1, -1] = linear, offset
    volume, shape = volume_of(np.random.default_rng(0), (5, 6, 4), torch.float64), (4, 5, 6)
    options = {"order": order, "border": border, "fill": 7.0, "dtype": torch.float64}
    off = (served(volume, [matrix], shape, **options) - reference.pull(volume, [matrix], shape, **options)).abs()
    if order == 0:  # half way between two voxels either may be taken
        places = reference.transform(matrix, reference.unravel(torch.arange(120), shape))
        tied = ((places + 0.5 - (places + 0.5).round()).abs() < 1e-6).any(-1)
        off = off.flatten(1)[:, ~tied]
    assert off.numel() == 0 or float(off.max()) < 1e-9 * 127


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("fill", [float("nan"), float("inf")])
def test_a_fill_that_is_no_number_stays_outside(core, chain, kind, order, fill):
    rng = np.random.default_rng(3)
    volume, stages = volume_of(rng, (9, 8, 7), torch.float64), chain(kind, rng, (8, 9, 10), (9, 8, 7))
    options = {"order": order, "border": "zero", "fill": fill, "dtype": torch.float64}
    due = reference.pull(volume, stages, (8, 9, 10), **options)
    torch.testing.assert_close(served(volume, stages, (8, 9, 10), **options), due, equal_nan=True, atol=1e-3, rtol=1e-5)


def test_a_bad_voxel_spoils_only_its_neighbours(core):
    volume = torch.zeros(1, 9, 9, 9)
    volume[0, 4, 4, 4] = float("nan")
    skewed = np.eye(4)
    skewed[0, 1] = 1e-4
    for matrix in (np.eye(4), skewed):
        out = pull(volume, [matrix], (9, 9, 9))
        assert out[0, 4, 4, 4].isnan()
        out[0, 3:6, 3:6, 3:6] = 0
        assert torch.equal(out, torch.zeros_like(out))


@pytest.mark.parametrize("value", [1e9, 1e13, 1e300, -1e300, float("nan"), float("inf")])
@pytest.mark.parametrize("border", BORDERS)
def test_no_place_is_read_out_of_bounds(core, border, value):
    # every voxel and the fill are 1, so that whatever is read in bounds gives 1 and garbage does not
    volume = torch.ones(1, 5, 4, 6)
    far = np.eye(4)
    far[:3, 3] = value if np.isfinite(value) else 0
    steep = np.diag([*np.resize([far[0, 3] or 1.0, 1e-300, -far[0, 3]], 3), 1])
    moves = torch.zeros(3, 3, 3, 3)
    moves[:, 1, 1, 1] = float(np.clip(value, -1e38, 1e38)) if np.isfinite(value) else value
    for stages in ([far], [steep], [Knots(moves, np.eye(4), 1)], [Knots(moves, np.eye(4), 3), np.eye(4)]):
        for order in (0, 1, 3):
            options = {"order": order, "border": border, "fill": 1.0, "dtype": torch.float32}
            out = native.pull(volume, stages, (3, 4, 5), **options)
            torch.testing.assert_close(out, torch.ones_like(out), atol=1e-4, rtol=0)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_the_number_of_threads_changes_no_byte(core, chain, kind, order):
    rng = np.random.default_rng(9)
    shape = (37, 33, 41)
    volume, stages = volume_of(rng, (31, 40, 35), torch.float32, 1), chain(kind, rng, shape, (31, 40, 35))
    options = {"order": order, "border": "zero", "fill": 0.0, "dtype": torch.float32}
    found = []
    for threads in (1, 2, 3):  # the fixture sets it back
        torch.set_num_threads(threads)
        found.append(native.pull(volume, stages, shape, **options).numpy().tobytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("order", [0, 1])
def test_offsets_beyond_32_bits(core, order):
    volume = torch.zeros(1, 1291, 1291, 1291, dtype=torch.uint8)  # 2.15e9 voxels; untouched pages take no memory
    volume[0, -2:, -2:, -2:] = 200
    corner = np.eye(4)
    corner[:3, 3] = 1289
    turned = corner.copy()
    turned[0, 1] = 1e-5
    for matrix in (corner, turned):
        out = native.pull(volume, [matrix], (2, 1, 2), order=order, border="zero", fill=0.0, dtype=torch.uint8)
        assert torch.equal(out, torch.full_like(out, 200))


def _work(volume, matrix, connection):
    torch.set_num_threads(2)
    connection.send(float(pull(volume, [matrix], (64, 64, 64)).numpy().sum()))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_forked_after_a_pull_can_pull(core):
    """Also where the child asks for two threads, as a DataLoader's worker does not."""
    torch.set_num_threads(2)
    volume, matrix = torch.rand(1, 64, 64, 64), np.diag([0.9, 0.9, 0.9, 1.0])
    matrix[0, 1] = 0.1
    due = float(pull(volume, [matrix], (64, 64, 64)).numpy().sum())
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_work, args=(volume, matrix, there))
    child.start()
    try:
        assert here.poll(60), "the forked process hangs"
        assert here.recv() == pytest.approx(due)
        child.join(60)
        assert child.exitcode == 0
    finally:
        child.kill()


KNOTS = Knots(torch.zeros(2, 3, 3), np.eye(3))
PLAIN = {"order": 1, "border": "zero", "fill": 0.0, "dtype": torch.float32}


@pytest.mark.parametrize(
    ("volume", "stages", "options", "reason"),
    [
        (torch.zeros(1, 4, 4, dtype=torch.complex64), [np.eye(3)], {"dtype": torch.complex64}, "voxels of type"),
        (torch.zeros(1, 4, 4, dtype=torch.int64), [np.eye(3)], {"dtype": torch.int64}, "voxels of type"),
        (torch.zeros(1, 4, 4), [np.eye(3)], {"dtype": torch.int16}, "output of type"),
        (torch.zeros(1, 4, 4, requires_grad=True), [np.eye(3)], {}, "gradient"),
        (torch.zeros(1, 4, 4), [replace(KNOTS, values=KNOTS.values.clone().requires_grad_())], {}, "gradient"),
        (torch.zeros(1, 4, 4), [replace(KNOTS, inverse=True)], {}, "inverted"),
        (torch.zeros(1, 4, 4, device="meta"), [np.eye(3)], {}, "CPU"),
        (torch.zeros(1, 1, 1).expand(1, 2**31, 1), [np.eye(3)], {}, "2\\^31"),
        (torch.zeros(1, 1, 1, 1).expand(1, 2**16, 2**16, 2), [np.eye(4)], {}, "2\\^31"),
    ],
)
def test_what_native_declines(core, volume, stages, options, reason):
    shape = (2,) * (volume.ndim - 1)
    found = native.declines_pull(volume, stages, shape, **(PLAIN | options))
    assert found is not None
    assert re.search(reason, found)


def test_a_missing_extension_is_a_reason(monkeypatch):
    monkeypatch.setattr(native.library, "core", lambda: None)
    report = ops.report()["pull (CPU, float32)"]
    assert "was not built" in report["native"]
    assert report["reference"] == "serves"


def test_the_report_names_native(core):
    assert ops.report()["pull (CPU, float32)"]["native"] == "serves"


def test_a_call_that_native_declines_is_served_or_refused(core, monkeypatch):
    volume = torch.rand(1, 4, 4)
    monkeypatch.delenv("MEDFRAME_KERNELS", raising=False)
    torch.testing.assert_close(pull(volume, [replace(KNOTS, inverse=True)], (4, 4)), volume)
    monkeypatch.setenv("MEDFRAME_KERNELS", "native")
    with pytest.raises(BadArgument, match="native: a displacement is to be inverted"):
        pull(volume, [replace(KNOTS, inverse=True)], (4, 4))


def test_gradients_come_from_the_reference(core):
    volume = torch.rand(1, 5, 5, requires_grad=True)
    pull(volume, [np.diag([0.9, 0.9, 1])], (5, 5)).sum().backward()
    assert volume.grad is not None
    with torch.no_grad():
        assert not pull(volume, [np.diag([0.9, 0.9, 1])], (5, 5)).requires_grad


@pytest.mark.parametrize(
    "knots",
    [
        Knots(torch.zeros(3, 4, 4), np.eye(3)),
        Knots(torch.zeros(2, 4), np.eye(3)),
        Knots(torch.zeros(2, 0, 4), np.eye(3)),
        Knots(torch.zeros(2, 4, 4), np.eye(3), order=2),
    ],
)
def test_knots_that_do_not_fit_are_told(knots):
    with pytest.raises(BadGeometry, match="knots"):
        pull(torch.zeros(1, 4, 4), [knots], (4, 4))
