"""The build on machines that lack something."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("setuptools", reason="the build needs setuptools")
ROOT = Path(__file__).resolve().parents[1]
USE = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "Editable" not in repr(finder)]  # it would find the built one
import numpy as np, torch
from medframe.kernels import distance_transform, pull, report
volume = torch.arange(24.0).reshape(1, 4, 6)
print(pull(volume, [np.diag([0.5, 0.5, 1.0])], (7, 11), border="border")[0, 3, 5].item())
print(distance_transform(volume == 0)[0, 3, 4].item())
print(report()["pull (CPU, float32)"])
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The sources alone, without the extension that stands beside them here."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, folder)
    for name in ("medframe", "cuda_ext"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return folder


def build(folder, **environment):
    kept = {k: v for k, v in os.environ.items() if k != "MEDFRAME_REQUIRE_NATIVE"}
    command = [sys.executable, "-W", "ignore", "setup.py", "-q", "build_ext", "--inplace"]
    return subprocess.run(
        command, cwd=folder, env={**kept, **environment}, capture_output=True, text=True, timeout=200, check=False
    )


def test_without_a_compiler_the_build_succeeds_and_the_reference_serves(copy):
    done = build(copy, CC="false", CXX="false")
    assert done.returncode == 0, done.stderr
    assert not list((copy / "medframe").glob("*.so"))
    kept = {k: v for k, v in os.environ.items() if k != "MEDFRAME_KERNELS"}
    used = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", USE],
        cwd=copy,
        env={**kept, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    pulled, distance, told = used.stdout.splitlines()
    assert float(pulled) == 1.5 * 6 + 2.5
    assert float(distance) == 5
    assert "medframe._core was not built" in told
    assert "'reference': 'serves'" in told


def test_a_missing_extension_is_an_error_where_it_is_required(copy):
    done = build(copy, CC="false", CXX="false", MEDFRAME_REQUIRE_NATIVE="1")
    assert done.returncode != 0
