"""Points and boxes: places in the world."""

import pickle

import numpy as np
import pytest
import torch

from medframe.base import BadGeometry
from medframe.geometry import Displacement, Space, rotation
from medframe.image import Boxes, Points

SPACE = Space((5, 6, 7), np.array([[0, 0, -2.0, 10], [-1.0, 0, 0, 20], [0, 3.0, 0, 30], [0, 0, 0, 1]]))


def ramp():
    """x -> x + f(x) with f one in ten of x along the first axis, between 0 and 100 mm."""
    knots = Space((2, 2), np.diag([100.0, 100.0, 1.0]))
    values = torch.zeros(2, 2, 2)
    values[0, 1] = 10
    return Displacement(values, knots, 1)


def test_points_from_and_to_indices():
    points = Points.from_index([[0, 0, 0], [1, 2, 3]], SPACE)
    assert points.world.tolist() == [[10, 20, 30], [4, 19, 36]]
    np.testing.assert_allclose(points.index(SPACE), [[0, 0, 0], [1, 2, 3]])
    assert len(points) == 2
    with pytest.raises(ValueError, match="read-only"):
        points.world[0] = 0


def test_tissue_moves_by_the_inverse():
    """The image shows at x what lay at 1.1 x, so tissue of x comes to x / 1.1."""
    out = Points([[55.0, 7.0], [0.0, 0.0]], names=("a", "b"), labels=np.array([1, 2])).displaced(ramp())
    np.testing.assert_allclose(out.world, [[50, 7], [0, 0]], atol=1e-5)
    assert (out.names, out.labels.tolist()) == (("a", "b"), [1, 2])
    boxes = Boxes([[[11.0, 1.0], [55.0, 2.0]]], labels=(4,)).displaced(ramp())
    np.testing.assert_allclose(boxes.world, [[[10, 1], [50, 2]]], atol=1e-5)
    assert boxes.labels == (4,)
    assert len(Points(np.zeros((0, 2))).displaced(ramp())) == 0
    assert len(Boxes(np.zeros((0, 2, 2))).displaced(ramp())) == 0


def test_boxes_hold_their_corners_on_any_lattice():
    boxes = Boxes.from_index([[[0, 0, 0], [1, 2, 3]]], SPACE)
    assert boxes.world.tolist() == [[[4, 19, 30], [10, 20, 36]]]
    np.testing.assert_allclose(boxes.index(SPACE), [[[0, 0, 0], [1, 2, 3]]])
    assert boxes.corners.shape == (1, 8, 3)
    oblique = np.eye(4)
    oblique[:3, :3] = rotation([0, 0, np.pi / 4])
    wide = Boxes.from_index([[[0, 0, 0], [2, 2, 2]]], Space((4, 4, 4), oblique)).world[0]
    r = np.sqrt(2)
    np.testing.assert_allclose(wide, [[-r, 0, 0], [r, 2 * r, 2]], atol=1e-12)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Points([1.0, 2.0]), r"found shape \(2,\); expected \(N, d\)"),
        (lambda: Points(np.zeros((2, 4))), r"found shape \(2, 4\)"),
        (lambda: Points([[np.nan, 0]]), "finite millimetres"),
        (lambda: Points([[1.0, 2.0]], names=("a", "b")), "one name a point; found 2; expected 1"),
        (lambda: Points([[1.0, 2.0]], labels=np.array([1, 2])), "one label a point"),
        (lambda: Boxes([[1.0, 2.0]]), r"expected \(N, 2, d\)"),
        (lambda: Boxes([[[1.0, 2.0], [0.0, 3.0]]]), "lowest and its highest corner"),
        (lambda: Boxes(np.zeros((1, 3, 2))), r"found shape \(1, 3, 2\)"),
        (lambda: Boxes([[[1.0], [2.0]]], labels=(1, 2)), "one label a box"),
    ],
)
def test_mistakes_are_named(make, match):
    with pytest.raises(BadGeometry, match=match):
        make()


def test_places_survive_pickling_and_stay_read_only():
    points = Points([[1.0, 2.0]], ("a",), np.array([3]), {"from": "hand"})
    boxes = Boxes([[[1.0, 2.0], [3.0, 4.0]]], (5,), {"from": "hand"})
    for given in (points, boxes):
        again = pickle.loads(pickle.dumps(given))
        assert type(again) is type(given)
        assert again.world.tolist() == given.world.tolist()
        assert again.meta == {"from": "hand"}
        assert not again.world.flags.writeable
    assert pickle.loads(pickle.dumps(points)).labels.tolist() == [3]
    assert pickle.loads(pickle.dumps(boxes)).labels == (5,)
