"""Memory of outputs: used again once nobody holds it, never while somebody does, and given back to the system."""

from __future__ import annotations

import copy
import gc
import io
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pulls import SHAPE, Pulls
from torch.utils.data import DataLoader

from medframe.kernels.native import memory

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lent(core):
    """Nothing is kept when a test begins; skipped where the system does not let memory be kept."""
    gc.collect()
    core.keep_at_most(0)
    core.keep_at_most(1 << 30)
    if core.lend(memory.LEAST) is None:
        pytest.skip("this system keeps no memory")
    core.keep_at_most(0)
    core.keep_at_most(1 << 30)
    assert core.kept_bytes() == 0
    return core


def test_memory_comes_back_and_is_lent_again(lent):
    first = memory.empty(SHAPE)
    address = first.data_ptr()
    assert address % (2 << 20) == 0
    view = first[:, 3:]
    del first
    assert lent.kept_bytes() == 0, "a view still holds it"
    del view
    assert lent.kept_bytes() >= 4 * 96**3
    again = memory.empty((2, 90, 80, 120), torch.int16)  # another shape and type, no larger
    assert again.data_ptr() == address
    assert lent.kept_bytes() == 0


def test_small_outputs_are_torchs_own(lent):
    kept = memory.empty((1, 8, 8, 8))
    kept.resize_(2, 64, 64, 64)
    del kept
    assert lent.kept_bytes() == 0


def test_much_larger_memory_is_not_taken_for_a_small_output(lent):
    large = memory.empty((32 << 20,))
    address = large.data_ptr()
    del large
    assert memory.empty((1 << 20,)).data_ptr() != address


def test_outputs_of_about_one_size_take_turns_in_one_block(lent):
    addresses = set()
    for edge in (140, 128, 136, 142, 130):
        addresses.add(memory.empty((edge, edge, edge)).data_ptr())  # 8.4 to 11.5 MB
    assert len(addresses) <= 2
    assert lent.kept_bytes() <= 24 << 20


def test_no_more_is_kept_than_was_allowed(lent):
    lent.keep_at_most(12 << 20)
    try:
        held = [memory.empty((1 << 20,)) for _ in range(6)]
        del held
        assert lent.kept_bytes() == 12 << 20
        too_large = memory.empty((8 << 20,))
        del too_large
        assert lent.kept_bytes() == 12 << 20
        lent.keep_at_most(5 << 20)
        assert lent.kept_bytes() == 4 << 20
    finally:
        lent.keep_at_most(1 << 30)
    held = [memory.empty((1 << 20,)) for _ in range(20)]
    del held
    assert lent.kept_bytes() == 16 * (4 << 20), "sixteen blocks, however small"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(500_000, 3_000_000)), max_size=30))
def test_two_tensors_never_share_memory(steps):
    held = []
    for n, (drop, size) in enumerate(steps):
        if drop and held:
            held.pop(size % len(held))
        tensor = memory.empty((size,), torch.float32)
        tensor[:] = n
        tensor[-1] = -n
        held.append((n, tensor))
    for n, tensor in held:
        assert float(tensor[0]) == n
        assert float(tensor[:-1].min()) == n
        assert float(tensor[-1]) == -n


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint16, torch.bool, torch.int64])
def test_they_are_tensors_like_others(lent, dtype):
    tensor = memory.empty((2, 100, 100, 110), dtype)
    tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) % 2)
    assert tensor.is_contiguous()
    assert not tensor._is_view()
    stream = io.BytesIO()
    torch.save(tensor, stream)
    stream.seek(0)
    for other in (copy.deepcopy(tensor), torch.load(stream), tensor.clone()):
        assert torch.equal(other, tensor)
    if dtype == torch.float32:
        tensor.requires_grad_()
        (tensor * 2).sum().backward()
        assert float(tensor.grad.min()) == 2


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_loader_send_them(lent, start):
    """A worker may lend the memory again as soon as its sample was copied into shared memory."""
    data = Pulls()
    due = [data[k] for k in range(6)]
    context = multiprocessing.get_context(start)
    for k, batch in enumerate(DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context=context)):
        assert torch.equal(batch, due[k])
    for k, batch in enumerate(DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=context)):
        assert torch.equal(batch, torch.stack(due[2 * k : 2 * k + 2]))


def test_memory_may_come_back_from_another_thread(lent):
    def work():
        for k in range(50):
            tensor = memory.empty((600_000,)).fill_(k)
            wrong.append(float((tensor - k).abs().max()))

    wrong = []
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(wrong) == 0


@pytest.mark.parametrize(("given", "kept"), [("0", 0), ("4194304", 4 << 20), ("plenty", None)])
def test_the_environment_says_how_much_is_kept(lent, given, kept):
    code = """
from medframe import _core
from medframe.base.errors import BadConfig
from medframe.kernels.native import memory
try:
    for _ in range(2):
        held = [memory.empty((1 << 20,)) for _ in range(3)]
        del held
    print(_core.kept_bytes())
except BadConfig as error:
    print(error)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), memory.VARIABLE: given}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=120, cwd=ROOT)
    if kept is None:
        assert "MEDFRAME_KEPT_MEMORY: no number of bytes; found plenty" in done.stdout
    else:
        assert int(done.stdout) == kept


def test_no_extension_no_lending(monkeypatch):
    memory._lender.cache_clear()
    monkeypatch.setattr(memory.library, "core", lambda: None)
    try:
        assert memory.empty(SHAPE).shape == SHAPE
    finally:
        memory._lender.cache_clear()
