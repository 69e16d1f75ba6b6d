"""Small datasets on disk, and a comparison that goes down to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from medframe.data import Record
from medframe.geometry import Displacement, Space
from medframe.image import Boxes, Image, Points


def oblique(k: int) -> np.ndarray:
    angle = 0.1 + 0.05 * k
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [1.1, 0.9, 1.5]
    affine[:3, 3] = [-10 + k, 5, 3]
    return affine


def write_case(folder: Path, k: int, shape=(12, 10, 8)) -> Record:
    chance = np.random.default_rng(k)
    image = chance.normal(100, 20, shape).astype(np.float32)
    label = np.zeros(shape, np.uint8)
    label[2:5, 2:6, 2:4] = 1
    label[6:9, 3:7, 3:6] = 2
    paths = folder / f"case{k}.nii", folder / f"case{k}_seg.nii"
    for path, voxels in zip(paths, (image, label), strict=True):
        nib.save(nib.Nifti1Image(voxels, oblique(k)), path)
    return Record(f"case{k}", (paths[0],), paths[1])


@pytest.fixture
def cases(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    return [write_case(folder, k) for k in range(4)]


def assert_same(a, b) -> None:
    """Equal in type, order of keys, dtype and every bit."""
    assert type(a) is type(b)
    if isinstance(a, Image):
        assert a.pending is None
        assert b.pending is None
        assert_same(a.data, b.data)
        for part in ("space", "source_space", "deformation", "interpolation"):
            assert_same(getattr(a.place, part), getattr(b.place, part))
        assert_same(dict(a.meta), dict(b.meta))
    elif isinstance(a, torch.Tensor):
        assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride())
        assert a.flatten().view(torch.uint8).equal(b.flatten().view(torch.uint8))
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, Space):
        assert a.shape == b.shape
        assert_same(a.affine, b.affine)
    elif isinstance(a, Displacement):
        assert (a.order, a.inverse) == (b.order, b.inverse)
        assert_same(a.knots, b.knots)
        assert_same(a.values, b.values)
    elif isinstance(a, Points | Boxes):
        for part in ("world", "labels", "meta"):
            assert_same(getattr(a, part), getattr(b, part))
    elif isinstance(a, Mapping):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, float):
        assert np.float64(a).tobytes() == np.float64(b).tobytes()
    else:
        assert a == b


@pytest.fixture
def same():
    return assert_same
