"""Every op as users call it on a GPU: equal to the reference, by the kernel that is meant, on any stream."""

from __future__ import annotations

import kernel_calls
import pytest
import torch

from medframe import kernels
from medframe.kernels.cuda import launch

pytestmark = pytest.mark.gpu

NAMES = list(kernel_calls.calls(torch.device("cpu")))
LONG = 200_000_000  # clock cycles: about a tenth of a second


@pytest.fixture(scope="module")
def on_gpu(device):
    return kernel_calls.calls(device)


@pytest.fixture(scope="module")
def on_cpu():
    return kernel_calls.calls(torch.device("cpu"))


@pytest.fixture
def started(monkeypatch):
    """The names of the kernels that were started."""
    seen = []
    before = launch.launch

    def watching(kernel, *args):
        seen.append(kernel.name.removeprefix("medframe::").partition("<")[0])
        before(kernel, *args)

    monkeypatch.setattr(launch, "launch", watching)
    return seen


def agree(call, got, due):
    got = got.cpu()
    assert got.dtype == due.dtype
    assert got.shape == due.shape
    assert torch.equal(got.isinf(), due.isinf())
    off = (got.double() - due.double()).abs().nan_to_num(0)
    assert int((off > call.tolerance).sum()) <= call.share * off.numel(), float(off.max())


@pytest.mark.parametrize("name", NAMES)
def test_is_the_references(on_gpu, on_cpu, started, monkeypatch, name):
    got = on_gpu[name].run()
    assert got.device.type == "cuda"
    assert on_gpu[name].kernel in started
    monkeypatch.setenv("MEDFRAME_KERNELS", "reference")
    agree(on_gpu[name], got, on_cpu[name].run())


@pytest.mark.parametrize("name", NAMES)
def test_on_another_stream(on_gpu, device, name):
    """The side stream is behind a sleep: a kernel that ran elsewhere would be done before its input is there."""
    due = on_gpu[name].run().clone()
    torch.cuda.synchronize(device)
    side = torch.cuda.Stream(device)
    with torch.cuda.stream(side):
        torch.cuda._sleep(LONG // 20)
        got = on_gpu[name].run().clone()
    side.synchronize()
    torch.testing.assert_close(got.float(), due.float(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_host_does_not_wait(on_gpu, device, name):
    if on_gpu[name].waits:
        pytest.skip("classes are listed on the host")
    if name.startswith("pull, out"):
        on_gpu[name].run().fill_(float("nan"))
    on_gpu[name].run()  # compiles, and fills the allocators
    torch.cuda.synchronize(device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.cuda._sleep(LONG)
        on_gpu[name].run()
        done = torch.cuda.Event()
        done.record()
        assert not done.query()
    finally:
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize(device)


def test_a_pull_allocates_its_output_alone(device):
    volume, shape = torch.rand(1, 64, 64, 64, device=device), (64, 64, 128)
    out = torch.empty((1, *shape), device=device)
    kernels.pull(volume, [kernel_calls.TURNED], shape, out=out)
    torch.cuda.synchronize(device)
    for given, due in ((out, 0), (None, 4 * 64 * 64 * 128)):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        kernels.pull(volume, [kernel_calls.TURNED], shape, out=given)
        assert torch.cuda.max_memory_allocated(device) - before <= due + 512


def test_more_samples_than_a_launch_takes(device, started):
    volumes = torch.rand(19, 1, 20, 21, 22, generator=torch.Generator().manual_seed(0))
    batch = [[kernel_calls.TURNED * [[1], [1], [1 - k / 40], [1]]] for k in range(19)]
    got = kernels.pull_batch(volumes.to(device), batch, (18, 19, 40), border="border")
    assert started == ["pull"] * 3
    for k in (0, 7, 8, 15, 16, 18):
        due = kernels.pull(volumes[k], batch[k], (18, 19, 40), border="border")
        assert float((got[k].cpu() - due).abs().max()) < 1e-4


def test_voxels_beyond_2_31(device):
    """Indices of 64 bits: a volume of more than 2^31 voxels, read at its end."""
    if torch.cuda.mem_get_info(device)[0] < 12 << 30:
        pytest.skip("less than 12 GiB of the GPU's memory are free")
    volume = torch.zeros(3, 900, 900, 900, dtype=torch.uint8, device=device)
    volume[2, 890:, 890:, 890:] = torch.arange(1000, device=device).remainder(251).reshape(10, 10, 10).to(torch.uint8)
    matrix = torch.eye(4, dtype=torch.float64).numpy().copy()
    matrix[:3, 3] = 890
    for order in (0, 1):
        got = kernels.pull(volume, [matrix], (10, 10, 10), order=order)
        assert torch.equal(got[2], volume[2, 890:, 890:, 890:])
        assert int(got[:2].max()) == 0


def test_gradients_of_a_larger_batch(device, monkeypatch):
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(2, 2, 40, 41, 42, generator=generator)
    moves = torch.randn(2, 3, 6, 7, 5, generator=generator)
    turned = torch.from_numpy(kernel_calls.TURNED).repeat(2, 1, 1)
    onto = torch.diag(torch.tensor([5 / 39, 6 / 40, 4 / 41, 1.0], dtype=torch.float64)).numpy()

    def run(where):
        leaves = [t.to(where).requires_grad_() for t in (image, turned, moves)]
        out = kernels.sample(
            leaves[0], leaves[1], displacement=leaves[2], knot_matrix=onto, knot_order=3, border="border"
        )
        return torch.autograd.grad(out.square().sum(), leaves)

    got = run(device)
    again = run(device)
    monkeypatch.setenv("MEDFRAME_KERNELS", "reference")
    due = run("cpu")
    for one, other in zip(got, due, strict=True):
        size = float(other.abs().max())
        assert float((one.cpu().double() - other.double()).abs().max()) < 2e-3 * size
    assert torch.equal(got[1], again[1])  # the order of these sums is always the same
    assert torch.equal(got[2], again[2])
