"""The way back to the lattice an image was read from."""

import numpy as np
import pytest
import torch

from medframe.base import BadArgument, Rng
from medframe.geometry import Space
from medframe.image import Image, LabelMap, Points
from medframe.transforms import Compose, Crop, Elastic, Flip, Orientation, Pad, Rotate, Spacing, invert, restore

AFFINE = np.array([[0, 0, -2.0, 10], [-1.0, 0, 0, 20], [0, 3.0, 0, 30], [0, 0, 0, 1]])


def test_a_prediction_comes_back_exactly_through_whole_voxels():
    truth = torch.from_numpy(Rng(0).generator().integers(0, 5, (1, 6, 7, 8)).astype(np.uint8))
    image = Image(truth.float(), AFFINE)
    seen = Compose([Orientation("RAS"), Pad(2), Flip("S")])(image)
    out = restore(seen.data.to(torch.uint8), seen)
    assert type(out) is LabelMap
    assert out.space == image.space
    assert torch.equal(out.data, truth)


def test_what_was_cut_comes_back_empty():
    image = Image(torch.ones(1, 6, 6))
    seen = Crop((1, 2), (3, 3))(image)
    out = restore(seen.data, seen)
    assert type(out) is Image
    due = torch.zeros(1, 6, 6)
    due[:, 1:4, 2:5] = 1
    assert torch.equal(out.data, due)


def test_scores_are_interpolated_once_and_deformations_undone():
    space = Space((24, 24), np.diag([1.0, 1.5, 1.0]))
    grid = space.to_world(np.stack(np.meshgrid(np.arange(24), np.arange(24), indexing="ij"), -1))
    smooth = (np.sin(grid[..., 0] / 5) + np.cos(grid[..., 1] / 6)).astype(np.float32)[None]
    image = Image(smooth, space=space)
    seen = Compose([Spacing(0.8), Rotate(12), Elastic(1.5, 12.0)])(image, Rng(1))
    out = restore(seen.data, seen)
    assert out.space == space
    inner = (slice(None), slice(6, -6), slice(6, -6))
    assert float((out.data[inner] - image.data[inner]).abs().max()) < 0.05


def test_invert_takes_images_and_samples():
    image = Image(torch.rand(1, 4, 5))
    sample = {"image": image, "points": Points([[1.0, 2.0]]), "n": 3}
    out = invert(Rotate(20)(sample))
    assert torch.equal(out["image"].data, image.data)
    assert out["n"] == 3
    assert torch.equal(invert(Rotate(20)(image)).data, image.data)


def test_a_prediction_of_another_size_is_refused():
    with pytest.raises(BadArgument, match=r"found \(2, 3, 5\); expected \(4, 5\)"):
        restore(torch.zeros(2, 3, 5), Image(torch.zeros(1, 4, 5)))
