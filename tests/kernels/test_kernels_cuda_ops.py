"""Every op as users call it, served by the CUDA kernels on the host, against the same op served by the reference."""

from __future__ import annotations

import shutil

import cuda_host
import kernel_calls
import pytest
import torch

from medframe import kernels
from medframe.kernels.stages import BORDERS

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")

CALLS = kernel_calls.calls(torch.device("cpu"))


@pytest.fixture
def on_host():
    with cuda_host.host() as library:
        yield library


def agree(got, due, tolerance, share=0.0):
    """Equal within a tolerance, but for a share of voxels in which two classes are equal to within rounding."""
    assert got.dtype == due.dtype
    assert got.shape == due.shape
    off = (got.double() - due.double()).abs().nan_to_num(0)
    assert torch.equal(got.isinf(), due.isinf())
    assert int((off > tolerance).sum()) <= share * off.numel()


@pytest.mark.parametrize("name", CALLS)
def test_ops(on_host, monkeypatch, name):
    call, word, tolerance = CALLS[name].run, CALLS[name].kernel, CALLS[name].tolerance
    monkeypatch.setenv("MEDFRAME_KERNELS", "cuda")
    on_host.ran.clear()
    got = call()
    assert f"medframe::{word}" in {k.name.partition("<")[0] for k in on_host.ran}
    monkeypatch.setenv("MEDFRAME_KERNELS", "reference")
    on_host.ran.clear()
    due = call()
    assert not on_host.ran
    agree(got, due, tolerance, CALLS[name].share)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_noise_is_the_references_stream(on_host, dtype):
    for shape, seed in (((5, 7), 1 << 99 | 7), ((3, 1001), 12345), ((0, 4), 1)):
        got = kernels.cuda.normal(shape, seed, torch.device("cpu"), dtype)
        due = kernels.reference.normal_noise(shape, seed, torch.device("cpu"), dtype)
        agree(got, due, 2e-6 if dtype == torch.float32 else 5e-3)


def both(monkeypatch, call):
    monkeypatch.setenv("MEDFRAME_KERNELS", "cuda")
    got = call()
    monkeypatch.setenv("MEDFRAME_KERNELS", "reference")
    return got, call()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.int16, torch.int32])
@pytest.mark.parametrize("width", [3, 5])
def test_medians_are_exact(on_host, monkeypatch, width, dtype):
    for shape in ((2, 6, 9, 35), (1, 9, 34), (1, 1, 9, 1), (1, 40)):
        volume = (torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 40).to(dtype)
        got, due = both(monkeypatch, lambda v=volume: kernels.median(v, width))
        assert torch.equal(got, due)
        if dtype.is_floating_point:
            signs = torch.tensor([1, -1]).repeat(volume.numel())[: volume.numel()].reshape(shape)
            spoilt = torch.where(volume.abs() > 100, (float("nan") * signs).to(dtype), volume)
            got, due = both(monkeypatch, lambda v=spoilt: kernels.median(v, width))
            assert torch.equal(got.isnan(), due.isnan())
            assert torch.equal(got.nan_to_num(), due.nan_to_num())
            assert bool(got.isnan().any()) == bool(spoilt.isnan().any())
    assert got.dtype == dtype


@pytest.mark.parametrize(
    ("shape", "connectivity"),
    [
        ((2, 12, 11, 13), 6),
        ((2, 12, 11, 13), 18),
        ((2, 12, 11, 13), 26),
        ((3, 14, 35), 4),
        ((3, 14, 35), 8),
        ((2, 60), 2),
    ],
)
def test_morphology_is_exact(on_host, monkeypatch, shape, connectivity):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(2)) > 0.45
    for call in (kernels.dilate, kernels.erode):
        for iterations in (1, 3):
            got, due = both(monkeypatch, lambda c=call, n=iterations: c(mask, connectivity, iterations=n))
            assert torch.equal(got, due)
    got, due = both(monkeypatch, lambda: kernels.fill_holes(mask, connectivity))
    assert torch.equal(got, due)
    assert bool((got != mask).any()) or connectivity in (8, 18, 26)  # what encloses a voxel diagonally, too, is rare


@pytest.mark.parametrize("shape", [(1, 5, 1), (2, 1, 6, 7), (1, 1, 1, 4)])
def test_morphology_along_axes_of_size_1(on_host, monkeypatch, shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(3)) > 0.5
    for call in (kernels.dilate, kernels.erode, kernels.fill_holes):
        got, due = both(monkeypatch, lambda c=call: c(mask))
        assert torch.equal(got, due)


VOLUME, SHAPE, TURNED = kernel_calls.volume(), kernel_calls.SHAPE, kernel_calls.TURNED


@pytest.mark.parametrize("border", BORDERS)
def test_the_result_is_written_where_it_is_asked_for(on_host, border):
    out = torch.full((2, *SHAPE), float("nan"))
    kept = out.data_ptr()
    got = kernels.pull(VOLUME, [TURNED], SHAPE, border=border, out=out)
    assert got is out
    assert got.data_ptr() == kept
    assert torch.equal(out, kernels.pull(VOLUME, [TURNED], SHAPE, border=border))


def test_a_forced_back_end_is_forced_for_batches_too(on_host, monkeypatch):
    monkeypatch.setenv("MEDFRAME_KERNELS", "reference")
    on_host.ran.clear()
    kernels.pull_batch(VOLUME[:, None], [[TURNED], [TURNED]], SHAPE)
    assert not on_host.ran


def test_weights_that_no_kernel_has_are_declined(on_host):
    assert "512" in kernels.cuda.declines_gaussian(VOLUME, (200.0, 1.0, 1.0), 3.0)
    assert "symmetric" in kernels.cuda.declines_filter_axes(VOLUME, [[0.2, 0.8], [1.0], [1.0]])
    assert kernels.cuda.declines_filter_axes(VOLUME, [[0.25, 0.5, 0.25], [1.0], [1.0]]) is None
