"""The GPU benchmark without a GPU: its cases at tiny sizes, their kernels run on the host, every check passed."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import cuda_host
import pytest
import torch

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_kernels.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("gpu_kernels", PATH)
    module = importlib.util.module_from_spec(spec)
    path, sys.modules["gpu_kernels"] = list(sys.path), module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path[:] = path
        del sys.modules["gpu_kernels"]


def cases(bench):
    return [case for family in bench.FAMILIES for case in family(bench.SMALL, torch.device("cpu"))]


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the kernels with")
def test_every_case_runs_and_passes_its_check(bench):
    with cuda_host.host() as library:
        for case in cases(bench):
            if case.poisoned is not None:
                case.poisoned.fill_(float("nan"))
            library.ran.clear()
            started = library.starts()
            error = case.check(case.runs[0]())
            assert 0 <= error <= 0.5, case.name
            assert library.ran or "noise" in case.name, case.name
            if case.launches is not None:
                library.ran.clear()
                started = library.starts()
                case.runs[0]()
                assert library.starts() - started == case.launches, case.name


def test_checks_find_what_is_wrong(bench):
    """A result that is not written, or shifted by a voxel, must not pass."""
    with cuda_host.host():
        for case in cases(bench):
            result = case.runs[0]()
            if not isinstance(result, torch.Tensor) or "joint" in case.name:
                continue
            for wrong in (torch.zeros_like(result), result.roll(1, -1)):
                if "median" in case.name or "box" in case.name or wrong.dtype == torch.bool:
                    continue  # compared on a smaller volume
                if any(word in case.name for word in ("Gaussian", "distance", "components", "holes", "erosion")):
                    continue
                with pytest.raises(AssertionError):
                    case.check(wrong)


def test_torch_is_asked_for_the_same(bench):
    with cuda_host.host():
        for case in cases(bench):
            if case.name.startswith(("affine linear pull", "logit_argmax")) and case.yardstick:
                ours, theirs = case.runs[0](), case.yardstick[0]()
                assert float(((ours.double() - theirs.double()).abs() > 1e-3).double().mean()) < 1e-3, case.name


def test_arguments(bench, capsys):
    found = bench.arguments(["--out", "x.json", "--repeats", "7", "--only", "pull", "--small"])
    assert (found.out, found.repeats, found.only, found.small) == (Path("x.json"), 7, "pull", True)
    with pytest.raises(SystemExit):
        bench.arguments(["--repeats", "2"])
    assert "at least 3" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(bench, capsys):
    assert bench.main([]) == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert bench.main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(set(listed)) > 15


def test_the_targets_are_stated(bench):
    wanted = {c.name: (c.least_share, c.least_ratio, c.launches, c.most_bytes) for c in cases(bench)}
    first = next(iter(wanted))
    assert wanted[first] == (0.5, 4, 1, 0)
    assert first.startswith("affine linear pull, rotation")
    assert bench.Sizes() == bench.Sizes(256, (8, 128), 100, (256, 256, 200), (512, 512, 400))
