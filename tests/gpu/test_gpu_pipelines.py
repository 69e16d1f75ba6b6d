"""The same pipeline with the same key gives the same voxels on the CPU and on the GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medframe.base.rng import Rng
from medframe.image import Image, LabelMap
from medframe.transforms import (
    Affine,
    BrightnessContrast,
    Compose,
    Elastic,
    Flip,
    Gamma,
    GaussianBlur,
    GaussianNoise,
    LowResolution,
    Pad,
    Rotate,
    Rotate90,
    Scale,
)

pytestmark = pytest.mark.gpu

SHAPE = (40, 44, 48)
PIPELINES = {
    "rotate": lambda: [Rotate(20)],
    "rotate and scale": lambda: [Rotate((-30, 30)), Scale((0.8, 1.3))],
    "elastic": lambda: [Elastic(mm=4, knots=16)],
    "two displacements": lambda: [Elastic(mm=3, knots=16), Rotate((-20, 20)), Elastic(mm=2, knots=12)],
    "all at once": lambda: [Affine(shift=(-3, 3)), Elastic(mm=(1, 4)), Flip(0), Rotate90((1, 3)), Pad(2)],
    "intensity": lambda: [GaussianNoise(0.1), GaussianBlur(0.8), Gamma((0.8, 1.2)), BrightnessContrast()],
    "low resolution": lambda: [LowResolution((0.4, 0.6))],
    "a training's": lambda: [Rotate((-30, 30)), Scale((0.8, 1.2)), Elastic(), Flip(1), GaussianNoise(0.05)],
}


def smooth_volume():
    """A bump and a slope, so that a difference in place is a small difference in value."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    values = np.exp(-sum(a**2 for a in axes) * 3) + 0.2 * axes[0] - 0.1 * axes[2]
    return torch.from_numpy(values.astype(np.float32))[None]


@pytest.mark.parametrize("name", PIPELINES)
def test_images(device, name):
    volume, pipeline = smooth_volume(), Compose(PIPELINES[name]())
    for seed in range(3):
        due = pipeline(volume, Rng(seed))
        got = pipeline(volume.to(device), Rng(seed))
        assert got.device.type == device.type
        assert got.shape == due.shape
        assert float((got.cpu() - due).abs().max()) < 2e-4


@pytest.mark.parametrize("name", ["rotate", "two displacements", "all at once"])
def test_label_maps_and_spaces(device, name):
    volume, pipeline = smooth_volume(), Compose(PIPELINES[name]())
    labels = (volume * 4).clamp(0).to(torch.uint8)
    for seed in range(3):
        due = pipeline({"image": Image(volume), "label": LabelMap(labels)}, Rng(seed))
        got = pipeline({"image": Image(volume.to(device)), "label": LabelMap(labels.to(device))}, Rng(seed))
        assert np.array_equal(got["label"].space.affine, due["label"].space.affine)
        assert float((got["image"].data.cpu() - due["image"].data).abs().max()) < 2e-4
        assert float((got["label"].data.cpu() != due["label"].data).double().mean()) < 1e-4
