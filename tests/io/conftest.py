import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """The folder of bad and tricky inputs, and its cases by id."""
    maker = SHARED / "badinputs" / "make_badinputs.py"
    if not maker.is_file():
        pytest.skip(f"the corpus of bad inputs is not here: {maker}")
    folder = tmp_path_factory.mktemp("bad")
    command = [sys.executable, "-W", "ignore", os.fspath(maker), os.fspath(folder)]
    subprocess.run(command, check=True, capture_output=True)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return folder, {case["id"]: case for case in manifest["cases"]}


@pytest.fixture(scope="session")
def data_folder():
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the shared images are not here: {SHARED / 'data'}")
    return SHARED / "data"


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def random_affine(rng):
    """Index -> world: any rotation, half of them left-handed, a third sheared unless they are to be `upright`."""

    def draw(upright=False):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        affine = np.eye(4)
        affine[:3, :3] = turn * rng.uniform(0.3, 5, 3)
        if not upright and rng.random() < 0.3:
            affine[:3, :3] = affine[:3, :3] @ (np.eye(3) + np.triu(rng.uniform(-0.5, 0.5, (3, 3)), 1))
        affine[:3, 3] = rng.uniform(-300, 300, 3)
        return affine

    return draw
