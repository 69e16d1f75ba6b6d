"""Orientation, spacing, size and another's lattice."""

import nibabel as nib
import numpy as np
import pytest
import torch

from medframe.base import BadArgument, BadGeometry, Rng
from medframe.geometry import Interpolation, Space, rotation
from medframe.image import Image, LabelMap
from medframe.transforms import Compose, Elastic, MatchSpace, Orientation, Resize, Spacing

DATA = torch.from_numpy(Rng(0).generator().random((1, 4, 5, 6)).astype(np.float32))


@pytest.mark.parametrize("seed", range(8))
def test_orientation_is_that_of_nibabel(seed):
    random = Rng(seed).generator()
    affine = np.eye(4)
    affine[:3, :3] = rotation(random.uniform(-3, 3, 3)) * random.uniform(0.5, 3, 3) * random.choice([-1, 1], 3)
    affine[:3, 3] = random.uniform(-50, 50, 3)
    due = nib.as_closest_canonical(nib.Nifti1Image(DATA[0].numpy(), affine))
    out = Orientation("RAS")(Image(DATA, affine))
    assert np.array_equal(out.data[0].numpy(), due.get_fdata(dtype=np.float32))
    np.testing.assert_allclose(out.affine, due.affine, atol=1e-9)
    assert out.space.axcodes == "RAS"
    back = Orientation("".join(nib.aff2axcodes(affine)))(out)
    assert torch.equal(back.data, DATA)
    np.testing.assert_allclose(back.affine, affine, atol=1e-9)


def test_orientation_of_a_plane():
    out = Orientation("LPS")(DATA[:, 0])
    assert torch.equal(out, DATA[:, 0].flip(1, 2))
    assert torch.equal(Orientation("AR")(DATA[:, 0]), DATA[:, 0].transpose(1, 2))


def test_spacing_by_hand():
    image = Image(torch.tensor([[0.0, 4.0, 8.0]]), np.diag([2.0, 1.0]))
    # 6 mm of extent: six voxels of 1 mm about the same middle, world place 2
    out = Spacing(1.0)(image)
    assert out.space.shape == (6,)
    np.testing.assert_allclose(out.affine, [[1, -0.5], [0, 1]])
    # beyond the outermost voxel centres lies fill, 0: half of it a quarter voxel out
    torch.testing.assert_close(out.data, torch.tensor([[0, 1, 3, 5, 7, 6.0]]))


@pytest.mark.parametrize(
    ("size", "old", "new", "due"),
    [(10, 1.0, 2.0, 5), (9, 1.0, 2.0, 5), (11, 1.0, 2.0, 6), (10, 1.0, 4.0, 3), (1, 1.0, 5.0, 1), (3, 0.1, 0.3, 1)],
)
def test_sizes_are_rounded_halves_up(size, old, new, due):
    image = Image(torch.zeros(1, size), np.diag([old, 1.0]))
    out = Spacing(new)(image).space
    assert out.shape == (due,)
    np.testing.assert_allclose(out.spacing, new)
    np.testing.assert_allclose(out.world_centre, image.space.world_centre)


def test_spacing_may_keep_axes_and_serves_all_members():
    image = Image(DATA, np.diag([1.0, 2.0, 3.0, 1.0]))
    out = Spacing((None, 1.0, None))(image).space
    assert (out.shape, tuple(out.spacing)) == ((4, 10, 6), (1.0, 1.0, 3.0))
    off = Space((3, 3, 3), np.diag([2.0, 4.0, 6.0, 1.0]))
    sample = Spacing(1.5)({"image": image, "label": LabelMap(torch.ones(1, 3, 3, 3, dtype=torch.uint8), space=off)})
    assert sample["label"].space == sample["image"].space


def test_resize_is_edge_to_edge():
    image = Image(DATA, np.diag([1.0, 2.0, 3.0, 1.0]))
    out = Resize((8, -1, 3))(image).space
    assert out.shape == (8, 5, 3)
    np.testing.assert_allclose(out.extent, image.space.extent)
    np.testing.assert_allclose(out.world_centre, image.space.world_centre)


def test_match_space_reads_world_place_by_world_place():
    target = Space((3, 3), np.array([[0, 2.0, 1], [2.0, 0, 0], [0, 0, 1]]))  # every second voxel, axes exchanged
    plane = DATA[:, 0, :5, :5]
    image = Image(plane, interpolation=Interpolation(antialias=False))
    sample = {"image": image, "fixed": Image(torch.zeros(1, 3, 3), space=target)}
    out = MatchSpace("fixed", keys="image")(sample)["image"]
    assert out.space == target
    due = torch.stack([plane[:, 1::2, 2 * k] for k in range(3)], 1)
    assert torch.equal(out.data[:, :, :2], due)
    assert not out.data[:, :, 2].any()  # beyond the image


def test_match_space_minds_what_was_deformed():
    """After a deformation the lattice's world is the deformed one, for all members alike."""
    image = Image(DATA)
    sample = {"image": image, "other": Image(DATA, np.diag([1.5, 1.0, 1.0, 1.0]))}
    out = Compose([Elastic(0.5, 3.0), MatchSpace("image")])(sample, Rng(0))
    assert out["other"].space == out["image"].space
    assert out["other"].to_source().space == sample["other"].space


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda: Orientation("RAX"), "found 'RAX'; expected one letter each of L/R, P/A, I/S"),
        (lambda: Orientation("RRS"), "found 'RRS'"),
        (lambda: Orientation("RA")(DATA), "found 'RA'"),
        (lambda: Spacing(0), "found 0"),
        (lambda: Spacing((1, -1)), r"found \(1, -1\)"),
        (lambda: Spacing("1"), "found 1; expected a number"),
        (lambda: Spacing((1, 1))(DATA), r"another rank than the image; found \(1, 1\); expected 3 numbers"),
        (lambda: Resize(64), "one size an axis; found 64; expected .*96, 96, 96"),
        (lambda: Resize((4, 0)), r"found \(4, 0\)"),
        (lambda: Resize((4, 4))(DATA), "expected 3 sizes"),
        (lambda: MatchSpace("fixed")({"image": Image(DATA)}), r"found \['image'\]; expected fixed"),
        (lambda: MatchSpace("a")({"a": Image(DATA), "b": Image(DATA[:, 0])}), "found 2; expected 3"),
    ],
)
def test_mistakes_are_named(act, match):
    with pytest.raises((BadArgument, BadGeometry), match=match):
        act()
