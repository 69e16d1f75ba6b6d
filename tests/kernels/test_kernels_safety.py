"""The native back end as a guest in a process: the interpreter, other libraries, and memory that is not its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from medframe.kernels import components, distance_transform, gaussian, joint_counts, median, normal_noise, pull

ROOT = Path(__file__).resolve().parents[2]
MATRIX = np.array([[0.9, 0.1, 0, 0], [0, 0.9, 0.1, 0], [0.1, 0, 0.9, 0], [0, 0, 0, 1]])


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.stdout.strip()


@pytest.mark.parametrize("first", ["torch", "medframe._core"])
def test_torch_and_the_extension_load_in_either_order(core, first):
    code = f"""
import importlib
importlib.import_module({first!r})
import numpy as np, torch, medframe._core
from medframe.kernels import pull
torch.set_num_threads(2)
volume, matrix = torch.ones(1, 48, 48, 48), np.diag([0.9, 0.9, 0.9, 1.0])
matrix[0, 1] = 0.01
print(float((volume @ volume).sum()), float(pull(volume, [matrix], (48, 48, 48), border="border").sum()))
"""
    product, pulled = map(float, run_python(code).split())
    assert product == 48.0**4
    assert pulled == pytest.approx(48.0**3, rel=1e-5)


def test_other_python_threads_run_while_a_kernel_does(core):
    """A counter goes on during one long call, which it could not if the interpreter were held."""
    volume = torch.rand(1, 96, 96, 96)
    ticks, done = [], threading.Event()

    def count() -> None:
        while not done.wait(0.001):
            ticks.append(None)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        before = len(ticks)
        median(volume, 5)  # tenths of a second
        within = len(ticks) - before
    finally:
        done.set()
        thread.join()
    assert within > 5


def test_calls_from_several_python_threads_do_not_disturb_each_other(core):
    volumes = [torch.rand(1, 40, 41, 42) for _ in range(4)]
    due = [pull(v, [MATRIX], (40, 40, 40)) for v in volumes]
    wrong = []

    def work(k: int) -> None:
        wrong.extend(k for _ in range(20) if not torch.equal(pull(volumes[k], [MATRIX], (40, 40, 40)), due[k]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_outputs_that_are_not_contiguous_or_not_writable_are_refused(core):
    volume, eye = np.ones((1, 4, 4, 4), np.float32), np.eye(4)
    strided = np.zeros((1, 4, 4, 8), np.float32)[..., ::2]
    frozen = np.zeros((1, 4, 4, 4), np.float32)
    frozen.flags.writeable = False
    for out, error in ((strided, "C-ordered"), (frozen, "writeable"), (np.zeros((2, 4, 4, 4), np.float32), "channels")):
        with pytest.raises(ValueError, match=error):
            core.pull(volume, out, eye, [], 1, 0, 0.0, 0, 1)
        with pytest.raises(ValueError, match=r"C-ordered|writeable|one shape"):
            core.median(volume, out, 3, 1)
    with pytest.raises(ValueError, match="C-ordered"):
        core.pull(strided, frozen, eye, [], 1, 0, 0.0, 0, 1)


def test_an_output_that_is_the_input_is_refused(core):
    volume, mask = np.ones((1, 4, 4, 4), np.float32), np.ones((1, 4, 4, 4), np.uint8)
    for call in (
        lambda: core.pull(volume, volume, np.eye(4), [], 1, 0, 0.0, 0, 1),
        lambda: core.median(volume, volume, 3, 1),
        lambda: core.filter_axis(volume, volume, 0, [1.0], 1),
        lambda: core.grow(mask, mask, 1, False, 1),
    ):
        with pytest.raises(ValueError, match="another array"):
            call()
    shared = np.ones((2, 4, 4, 4), np.float32)
    with pytest.raises(ValueError, match="another array"):
        core.pull(shared.reshape(-1)[:64].reshape(1, 4, 4, 4), shared.reshape(-1)[32:96].reshape(1, 4, 4, 4), np.eye(4),
                  [], 1, 0, 0.0, 0, 1)  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 5), (5, 1, 1), (1, 7, 1), (2, 1, 3)])
def test_axes_of_one_voxel(core, shape):
    volume, mask = torch.rand(1, *shape), torch.ones((1, *shape), dtype=torch.bool)
    assert torch.equal(pull(volume, [np.eye(4)], shape), volume)
    assert torch.isfinite(median(volume, 5)).all()
    assert torch.isfinite(gaussian(volume, (1.0, 1.0, 1.0))).all()
    assert float(distance_transform(mask, 1.0).max()) == 0
    assert int(components(mask, 26).max()) == 1


def test_axes_of_no_voxels():
    none = torch.zeros((1, 0, 3, 3))
    assert median(none, 3).shape == none.shape
    assert normal_noise((0, 3), 1).shape == (0, 3)
    labels = none.to(torch.uint8)
    assert int(joint_counts(labels, labels, 2, 2).sum()) == 0


@pytest.mark.slow
def test_no_shape_reads_or_writes_out_of_bounds(tmp_path):
    """The sources under address and undefined-behaviour sanitizers, in their plainest instruction set."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++")
    sources = [
        ROOT / "cuda_ext" / "cpu" / f"{n}.cpp"
        for n in ("rows", "bend", "store", "separable", "median", "components", "filters", "noise")
    ]
    flags = ["-std=c++17", "-O1", "-g", "-fopenmp", "-DMF_ONE_CLONE", "-fsanitize=address,undefined"]
    flags += ["-fno-sanitize-recover=all", "-I", str(ROOT / "cuda_ext")]
    program = tmp_path / "sweep"
    sweep = Path(__file__).parent / "sweep.cpp"
    subprocess.run(["g++", *flags, str(sweep), *map(str, sources), "-o", str(program)], check=True, timeout=600)
    done = subprocess.run([program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout
