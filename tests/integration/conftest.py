"""Small datasets with an answer: a bright ball and a dim one, on lattices of all kinds."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medframe.base import Rng
from medframe.image import Image, LabelMap
from medframe.io import write

SETTINGS = {
    "steps": 12,
    "patch": [16, 16, 16],
    "features": [4, 8],
    "strides": [[1, 1, 1], [2, 2, 2]],
    "kernels": [[3, 3, 3], [3, 3, 3]],
    "validate_every": 4,
    "monitor": 1,
    "precision": "float32",
    "warmup": 2,
    "ema": 0.9,
    "learning_rate": 0.01,
    "threads": 2,
}


def ball_case(k, affine=None, shape=(18, 20, 17)):
    """An image with two balls and its label map."""
    rng = Rng("balls", k)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    label = np.zeros(shape, np.uint8)
    for value, centre, radius in ((1, (6, 6, 6), 4), (2, (12, 13, 11), 3)):
        at = np.array(centre) + rng.fork(value).uniform((-1, 1), 3)
        label[np.linalg.norm(index - at, axis=-1) < radius] = value
    voxels = np.array([0.0, 100.0, 60.0])[label] + rng.fork("noise").uniform((-8, 8), shape)
    matrix = np.diag([1.0, 1.0, 1.0, 1.0]) if affine is None else affine
    image = Image(torch.from_numpy(voxels.astype(np.float32))[None], matrix)
    return image, LabelMap(torch.from_numpy(label)[None], matrix)


def write_decathlon(folder: Path, count: int = 6, change=None) -> Path:
    """A dataset in Decathlon layout; `change(k, image, label)` may spoil a case."""
    training = []
    for k in range(count):
        image, label = ball_case(k)
        if change is not None:
            image, label = change(k, image, label)
        write(image, folder / "imagesTr" / f"case{k}.nii.gz")
        write(label, folder / "labelsTr" / f"case{k}.nii.gz")
        training.append({"image": f"./imagesTr/case{k}.nii.gz", "label": f"./labelsTr/case{k}.nii.gz"})
    description = {
        "name": "balls",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "bright", "2": "dim"},
        "training": training,
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


@pytest.fixture(scope="session")
def tools():
    return SimpleNamespace(ball_case=ball_case, write_decathlon=write_decathlon, settings=SETTINGS)


@pytest.fixture
def balls(tmp_path):
    return write_decathlon(tmp_path / "balls")


@pytest.fixture
def settings():
    return dict(SETTINGS)
