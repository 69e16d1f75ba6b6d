"""Kernels, transforms and networks on a machine with torch, numpy and scipy alone, as GPU machines are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]

# Everything medframe asks for besides torch, numpy and scipy, under its imports' names, and the compiled extension.
ABSENT = (
    "nibabel",
    "pydicom",
    "itk",
    "ignite",
    "yaml",
    "tqdm",
    "safetensors",
    "isal",
    "matplotlib",
    "PIL",
    "highdicom",
    "SimpleITK",
    "skimage",
    "sklearn",
    "pandas",
    "cupy",
    "medframe._core",
)

BLOCK = f"""
import sys
ABSENT = {ABSENT!r}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in ABSENT or name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"{{name}} is not installed here", name=name)
sys.meta_path.insert(0, Blocker())
"""

IMPORTS = """
import medframe, medframe.kernels, medframe.transforms, medframe.networks, medframe.losses, medframe.metrics
"""

PIPELINE = """
import torch
from medframe.base.rng import Rng
from medframe.image import Image, LabelMap
from medframe.transforms import Compose, Elastic, Flip, GaussianNoise, Rotate, Scale
volume = torch.rand(1, 12, 14, 16, generator=torch.Generator().manual_seed(0))
sample = {"image": Image(volume), "label": LabelMap((volume > 0.6).to(torch.uint8))}
chain = Compose([Rotate(20), Scale((0.8, 1.2)), Elastic(mm=2, knots=8), Flip(0), GaussianNoise(0.05)])
made = chain(sample, Rng(3))
again = chain(sample, Rng(3))
assert torch.equal(made["image"].data, again["image"].data)
assert made["image"].data.shape == volume.shape
assert made["image"].data.isfinite().all() and made["image"].data.std() > 0.01
assert set(made["label"].data.unique().tolist()) == {0, 1}
from medframe.kernels import components, distance_transform, dilate, median, report
mask = made["label"].data != 0
assert dilate(mask).sum() > mask.sum()
assert distance_transform(mask).max() > 0
assert components(mask).max() >= 1
assert median(made["image"].data).shape == volume.shape
assert "serves" in report()["pull (CPU, float32)"]["reference"]
"""

NETWORK = """
import torch
from medframe.networks import UNet
torch.manual_seed(0)
net = UNet(3, 1, 2, (4, 8, 16), (2, 2))
out = net(torch.rand(1, 1, 16, 16, 16))
out.square().mean().backward()
assert out.shape == (1, 2, 16, 16, 16) and all(p.grad is not None for p in net.parameters())
"""


@pytest.mark.parametrize("code", [IMPORTS, PIPELINE, NETWORK], ids=["imports", "pipeline", "network"])
def test_torch_numpy_and_scipy_are_enough(code):
    environment = {k: v for k, v in os.environ.items() if k != "MEDFRAME_KERNELS"}
    environment |= {"PYTHONPATH": str(TREE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BLOCK + code + "\nprint('done')"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["done"]


def test_the_blocker_blocks():
    code = BLOCK + "\ntry:\n    import nibabel\nexcept ModuleNotFoundError as error:\n    print(error.name)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["nibabel"]
