"""Turns, mirrors, zooms and shears against torch, numpy and numbers found by hand."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from medframe.base import BadArgument, BadGeometry, Rng
from medframe.geometry import Space, rotation
from medframe.image import Image
from medframe.transforms import Affine, Flip, Rotate, Rotate90, Scale

CUBE = torch.from_numpy(Rng(0).generator().random((2, 5, 6, 7)).astype(np.float32))
PLANE = CUBE[:, 0]
PSR = np.array([[0, 0, 2.0, 10], [-1.0, 0, 0, 20], [0, 3.0, 0, 30], [0, 0, 0, 1]])  # axes run P, S, R


@pytest.mark.parametrize(
    ("axes", "dims"),
    [(0, (1,)), (-1, (3,)), ((0, 2), (1, 3)), ("P", (1,)), ("A", (1,)), ("S", (2,)), ("R", (3,)), ("LI", (2, 3))],
)
def test_flip_mirrors_the_axis_named(axes, dims):
    image = Image(CUBE, PSR)
    out = Flip(axes)(image)
    assert torch.equal(out.data, CUBE.flip(dims))
    assert out.space.shape == image.space.shape
    # the first voxel is now where the last was
    corner = np.array([s - 1 if k + 1 in dims else 0 for k, s in enumerate((5, 6, 7))])
    np.testing.assert_allclose(out.affine[:3, 3], image.space.to_world(corner))


@pytest.mark.parametrize("turns", [-1, 0, 1, 2, 3, 4, 7])
@pytest.mark.parametrize("plane", [(0, 1), (1, 0), (-1, 0), (1, 2)])
def test_rotate90_is_that_of_torch(turns, plane):
    dims = tuple(a % 3 + 1 for a in plane)
    out = Rotate90(turns, plane)(Image(CUBE, PSR))
    assert torch.equal(out.data, torch.rot90(CUBE, turns, dims))


def test_rotate90_draws_every_turn():
    seen = {Rotate90((0, 3))(PLANE, Rng(k)).flatten()[0].item() for k in range(40)}
    assert len(seen) == 4
    assert not Rotate90((2, 2)).random


@pytest.mark.parametrize("degrees", [90, 180, -90, 270, (90, 0, 0), (0, -90, 0), (90, 90, 180)])
def test_right_angles_are_copies(degrees):
    cube = CUBE[:, :, :5, :5]
    out = Rotate(degrees)(cube)
    assert torch.equal(out.flatten(1).sort().values, cube.flatten(1).sort().values)
    if degrees == (90, 0, 0):
        # about x: the output at +y shows what lay at +z, at +z what lay at -y
        assert torch.equal(out, torch.rot90(cube, -1, (2, 3)))


def test_rotation_is_that_of_scipy():
    angles = (0.3, -0.7, 1.1)
    np.testing.assert_allclose(rotation(angles), Rotation.from_euler("xyz", angles).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(rotation([0.3]), Rotation.from_euler("z", 0.3).as_matrix()[:2, :2], atol=1e-12)
    with pytest.raises(BadGeometry, match="found 2"):
        rotation([1, 2])


def test_a_turn_of_the_plane_by_hand():
    plane = torch.zeros(1, 3, 3)
    plane[0, 2, 1] = 1  # on the +x side
    out = Rotate(90)(plane)
    # the output at +y reads what lay at rotation(90) +y = -x; at -y it reads +x
    assert out[0].tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_turning_is_about_the_middle_of_the_world_and_without_shear():
    space = Space((5, 6, 7), PSR)
    out = Rotate((-40, 40))(Image(CUBE, space=space), Rng(0)).space
    np.testing.assert_allclose(out.world_centre, space.world_centre, atol=1e-9)
    np.testing.assert_allclose(out.spacing, space.spacing, atol=1e-9)
    np.testing.assert_allclose(out.direction.T @ out.direction, np.eye(3), atol=1e-9)


def test_scale_by_hand():
    line = torch.arange(9.0)[None]
    # twice as large about the middle, 4: voxel i shows 4 + (i - 4) / 2
    torch.testing.assert_close(Scale(2.0)(line), torch.tensor([[2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6]]))
    out = Scale(2.0)(Image(CUBE, PSR)).space
    np.testing.assert_allclose(out.spacing, Space((5, 6, 7), PSR).spacing / 2)


def test_scale_draws_one_factor_or_three():
    space = Space((5, 6, 7), np.eye(4))
    one = Scale((0.5, 2.0))(Image(CUBE, space=space), Rng(0)).space.spacing
    three = Scale((0.5, 2.0), isotropic=False)(Image(CUBE, space=space), Rng(0)).space.spacing
    own = Scale((1.0, (0.5, 2.0), 2.0))(Image(CUBE, space=space), Rng(0)).space.spacing
    assert np.ptp(one) < 1e-12
    assert np.ptp(three) > 0.1
    assert own[[0, 2]].tolist() == [1.0, 0.5]


def test_affine_scales_shears_turns_then_shifts():
    step = Affine(degrees=(10, 20, 30), scale=(1.1, 0.9, 1.2), shear=(0.1, -0.2, 0.3), shift=(1, 2, 3))
    space = Space((5, 6, 7), PSR)
    out = step(Image(CUBE, space=space)).space
    shear = np.array([[1, 0.1, -0.2], [0, 1, 0.3], [0, 0, 1]])
    forward = rotation(np.radians((10, 20, 30))) @ shear @ np.diag([1.1, 0.9, 1.2])
    # the voxel that now lies where the scaled, sheared, turned and shifted place is shows the tissue of the place
    place = np.array([[12.0, 17.0, 33.0], [3.0, 1.0, 50.0]])
    moved = (place - space.world_centre) @ forward.T + space.world_centre + [1, 2, 3]
    np.testing.assert_allclose(out.to_world(space.to_index(moved)), place, atol=1e-9)


def test_a_shift_by_whole_voxels_is_a_copy():
    line = torch.arange(5.0)[None]
    assert Affine(0, 1, shift=2.0)(line).tolist() == [[0, 0, 0, 1, 2]]


def test_a_shift_in_millimetres_minds_the_spacing():
    image = Image(torch.arange(5.0)[None], np.diag([2.0, 1.0]))
    assert Affine(0, 1, shift=-4.0)(image).data.tolist() == [[2, 3, 4, 0, 0]]


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda: Flip("X")(CUBE), "found 'X'; expected a letter of LRAPIS"),
        (lambda: Flip("S")(PLANE), "found 'S'"),
        (lambda: Flip(3)(CUBE), "expected -3 to 2"),
        (lambda: Rotate90((3, 1)), "whole numbers"),
        (lambda: Rotate90(1.5), "whole numbers"),
        (lambda: Rotate90(plane=(1, 1)), "two different axes"),
        (lambda: Rotate90(1, (0, 2))(PLANE), "no such axis"),
        (lambda: Rotate((15, -15)), r"found \(15, -15\)"),
        (lambda: Rotate("15"), "found '15'"),
        (lambda: Scale(0), "found 0; expected .*0.001"),
        (lambda: Affine(shift=(1, 2, float("nan"))), "found nan"),
    ],
)
def test_mistakes_are_named(act, match):
    with pytest.raises((BadArgument, BadGeometry), match=match):
        act()
