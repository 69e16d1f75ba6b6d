"""Elastic: one field of the world for all members, never folded."""

import numpy as np
import pytest
import torch

from medframe.base import BadArgument, Rng
from medframe.geometry import Space
from medframe.geometry.displacement import smallest_stretch
from medframe.image import Boxes, Image, LabelMap, Points
from medframe.transforms import Elastic
from medframe.transforms.base import View


def displacement(step, space, key=0):
    image = Image(torch.zeros(1, *space.shape), space=space)
    return step.draw(View({"image": image}, "image"), Rng(key))


@pytest.mark.parametrize("mm", [1.0, 4.0, 60.0])
def test_however_large_the_draw_it_never_folds(mm):
    space = Space((20, 24), np.diag([2.0, 1.5, 1.0]))
    for key in range(4):
        drawn = displacement(Elastic(mm, 10.0), space, key)
        assert smallest_stretch(drawn.values, drawn.knots, 3) >= 0.05
        assert float(drawn.values.abs().max()) <= mm


def test_the_amplitude_is_drawn():
    space = Space((40, 40), np.eye(3))
    most = [float(displacement(Elastic((1.0, 3.0), 20.0), space, key).values.abs().max()) for key in range(30)]
    assert 0.8 < min(most) < 1.6
    assert 2.4 < max(most) <= 3.0
    assert float(displacement(Elastic(0.0), space).values.abs().max()) == 0


def test_knots_lie_as_far_apart_as_asked_and_reach_beyond_the_edge():
    space = Space((41, 21), np.diag([1.0, 2.0, 1.0]))
    knots = displacement(Elastic(1.0, 10.0), space).knots
    np.testing.assert_allclose(knots.spacing, [10, 10])
    assert knots.shape == (7, 7)  # four cells and a ring
    np.testing.assert_allclose(knots.to_index(space.to_world([0, 0])), [1, 1])


def test_image_label_points_and_boxes_of_different_lattices_move_alike():
    fine = Space((60, 60), np.diag([0.5, 0.5, 1.0]))
    coarse = Space((30, 30), np.diag([1.0, 1.0, 1.0]))
    grid = np.stack(np.meshgrid(np.arange(60), np.arange(60), indexing="ij"), -1)
    place = np.array([15.0, 14.0])
    blob = np.exp(-0.5 * ((fine.to_world(grid) - place) ** 2).sum(-1) / 1.5**2)
    label = np.zeros((1, 30, 30), np.uint8)
    label[0, 12:19, 11:18] = 1  # its middle is index (15, 14), world (15, 14)
    sample = {
        "image": Image(blob[None].astype(np.float32), space=fine),
        "label": LabelMap(label, space=coarse),
        "points": Points([place]),
        "boxes": Boxes([[place - 3, place + 3]]),
    }
    out = Elastic(3.0, 15.0)(sample, Rng(3))
    moved = out["points"].world[0]
    assert np.linalg.norm(moved - place) > 0.5
    weights = out["image"].data[0].double().numpy()
    seen = fine.to_world((grid * weights[..., None]).reshape(-1, 2).sum(0) / weights.sum())
    assert np.linalg.norm(seen - moved) < 0.4
    core = out["label"].space.to_world(np.argwhere(out["label"].data[0].numpy()).mean(0))
    assert np.linalg.norm(core - moved) < 0.7
    lo, hi = out["boxes"].world[0]
    assert (lo < moved).all()
    assert (moved < hi).all()
    # a box is not smaller than the tissue it held
    inside = np.argwhere(out["label"].data[0].numpy())
    world = out["label"].space.to_world(inside)
    assert (world > lo - 1).all()
    assert (world < hi + 1).all()


@pytest.mark.parametrize("make", [lambda: Elastic(-1), lambda: Elastic((3, 1)), lambda: Elastic(1, knots=0)])
def test_bad_parameters_are_refused(make):
    with pytest.raises(BadArgument, match="found"):
        make()
