"""Results do not depend on the instruction set: the oldest one gives what the newest gives, to rounding."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]

# run twice: with the extension as installed, and with one built for the plainest processor
CALLS = """
import importlib.util, sys
import numpy as np, torch
library, out = sys.argv[1:]
if library:
    spec = importlib.util.spec_from_file_location("medframe._core", library)
    sys.modules["medframe._core"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
from medframe.kernels import Knots, distance_transform, gaussian, logit_argmax, median, native, normal_noise, pull, push
assert not library or native.core().__file__ == library

rng = np.random.default_rng(5)
volume = torch.from_numpy(rng.normal(size=(2, 33, 41, 57)).astype(np.float32))
turn = np.eye(4)
turn[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * 0.9
turn[:3, 3] = (3.3, 18.2, 9.7)
zoom = np.diag([0.51, 0.73, 1.37, 1.0])
bend = Knots(torch.from_numpy(rng.normal(size=(3, 6, 6, 6)).astype(np.float32)), np.eye(4) * 0.1)
results = {}
for order in (0, 1, 3):
    for name, stages in (("turn", [turn]), ("zoom", [zoom]), ("bend", [turn, bend])):
        results[f"pull {name} {order}"] = pull(volume, stages, (30, 40, 50), order=order, border="reflect")
results["push"] = push(volume, [turn], (30, 40, 50))
results["gaussian"] = gaussian(volume, (1.3, 0.7, 2.1))
results["median"] = median(volume, 3)
results["distance"] = distance_transform(volume[:1] > 1.5, spacing=(1.0, 0.7, 2.3))
results["noise"] = normal_noise((4, 1000), seed=7)
results["labels"] = logit_argmax(volume, [zoom], (30, 40, 50))
np.savez(out, **{name: np.asarray(value) for name, value in results.items()})
"""


def build(folder: Path) -> Path:
    """The extension without clones, for the baseline of x86-64; torch brings the headers of pybind11."""
    library = folder / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = [ROOT / "cuda_ext", Path(torch.__file__).parent / "include", sysconfig.get_paths()["include"]]
    flags = ["-std=c++17", "-O2", "-fopenmp", "-fPIC", "-shared", "-fvisibility=hidden", "-DMF_ONE_CLONE"]
    sources = sorted((ROOT / "cuda_ext" / "cpu").glob("*.cpp"))
    command = ["g++", *flags, *(f"-I{i}" for i in include), *map(str, sources), "-o", str(library)]
    subprocess.run(command, check=True, timeout=900)
    return library


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_plainest_processor_gives_the_same(core, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("there is no g++")
    found = []
    for library in ("", os.fspath(build(tmp_path))):
        out = tmp_path / f"{bool(library)}.npz"
        command = [sys.executable, "-W", "ignore", "-c", CALLS, library, os.fspath(out)]
        subprocess.run(command, check=True, timeout=300, env=os.environ | {"PYTHONPATH": os.fspath(ROOT)})
        found.append(np.load(out))
    newest, oldest = found
    assert len(newest.files) == 15
    for name in newest.files:
        a, b = newest[name].astype(np.float64), oldest[name].astype(np.float64)
        if name == "labels" or name.endswith(" 0"):  # decisions: a tie of the last bit may fall otherwise
            assert np.mean(a != b) < 1e-4, name
        else:
            assert np.abs(a - b).max() <= 1e-5 * np.abs(a).max(), name
