"""What every transform can be given, and what it refuses."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from medframe.base import BadArgument, BadGeometry, BadLabel, Normal, Rng
from medframe.base.ranges import Range
from medframe.geometry import Space, Warp, rotation
from medframe.image import Boxes, Image, LabelMap, Points, collate
from medframe.transforms import (
    CenterCrop,
    Compose,
    Flip,
    GaussianNoise,
    IndexClasses,
    Intensity,
    KeepLargest,
    Normalize,
    OneOf,
    RandomCrop,
    Rotate,
    Spatial,
    Transform,
)
from medframe.transforms.base import walk

DATA = torch.arange(24.0).reshape(1, 4, 6)


@dataclass(frozen=True)
class Turn(Spatial):
    """A step as an author would write it: no more than this."""

    degrees: Range = (-15, 15)

    def draw(self, view, rng):
        return np.radians(rng.uniform(self.degrees, size=view.space.rotations))

    def warp(self, space, angles):
        return Warp.about_centre(space, rotation(angles))


@dataclass(frozen=True)
class Double(Intensity):
    def apply(self, data, params, rng):
        return data * 2


def test_a_new_step_is_one_class():
    step = Turn((90, 90))
    assert not step.random
    assert Turn().random
    square = torch.arange(16.0).reshape(1, 4, 4)
    # output (x, y) reads at (-y, x) about the middle
    assert torch.equal(step(square), torch.rot90(square, -1, (1, 2)))
    assert repr(step) == "Turn(p=1.0, keys=None, degrees=(90, 90))"  # a plain dataclass prints as one
    sample = Turn()({"image": Image(square), "label": LabelMap(square.int())}, Rng(0))
    assert sample["image"].space == sample["label"].space
    assert torch.equal(Double()(square), square * 2)


def test_the_type_that_goes_in_comes_out():
    step = Compose([Flip(0), Normalize()])
    sample = {"image": Image(DATA), "label": LabelMap(DATA.int()), "points": Points([[1.0, 2.0]]), "age": 61}
    assert isinstance(step(DATA), torch.Tensor)
    assert isinstance(step(Image(DATA)), Image)
    made = step(sample)
    assert [type(v) for v in made.values()] == [Image, LabelMap, Points, int]
    assert list(made) == list(sample)
    assert [type(v) for v in step([sample, DATA, Image(DATA)])] == [dict, torch.Tensor, Image]
    assert [type(v) for v in step((sample, DATA))] == [dict, torch.Tensor]
    batch = step(collate([sample, sample]))
    assert batch["image"].shape == (2, 1, 4, 6)
    assert batch["age"] == (61, 61)
    assert isinstance(Flip(0)(Points([[1.0, 2.0]])), Points)
    assert isinstance(Flip(0)(Boxes([[[1.0, 2.0], [3.0, 4.0]]])), Boxes)
    assert type(Flip(0)(LabelMap(DATA.int()))) is LabelMap


def test_members_of_a_list_have_chances_of_their_own():
    first, second = GaussianNoise(1.0)([DATA, DATA], Rng(0))
    assert not torch.equal(first, second)


def test_without_a_key_chance_is_fresh():
    assert not torch.equal(GaussianNoise(1.0)(DATA), GaussianNoise(1.0)(DATA))


def test_p_is_the_share_of_samples_acted_on():
    hits = sum(not torch.equal(Flip(0, p=0.3)(DATA, Rng(k)), DATA) for k in range(600))
    assert 140 < hits < 220
    assert torch.equal(Flip(0, p=0)(DATA), DATA)
    assert not torch.equal(Flip(0, p=1)(DATA), DATA)


def test_p_of_a_step_that_makes_several_is_drawn_once():
    step = RandomCrop((2, 2), count=3, p=0.5)
    made = [step(DATA, Rng(k)) for k in range(40)]
    assert {tuple(m.shape) if isinstance(m, torch.Tensor) else tuple(x.shape for x in m) for m in made} == {
        (1, 4, 6),
        ((1, 2, 2),) * 3,
    }


def test_keys_choose_members():
    sample = {"t1": Image(DATA), "t2": Image(DATA), "label": LabelMap(DATA.int())}
    made = Double(keys="t2")(sample)
    assert made["t1"] is sample["t1"]
    assert torch.equal(made["t2"].data, DATA * 2)
    assert made["label"] is sample["label"]
    made = Flip(0, keys=["t1", "label"])(sample)
    assert made["t2"] is sample["t2"]
    assert torch.equal(made["label"].data, DATA.int().flip(1))


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda: Flip(0, p=1.5), "found 1.5; expected 0 to 1"),
        (lambda: Flip(0, keys="t3")({"t1": Image(DATA)}), r"found \['t1'\]; expected \['t3'\]"),
        (lambda: Double(keys="label")({"label": LabelMap(DATA.int())}), "cannot act on 'label'; found LabelMap"),
        (lambda: KeepLargest(keys="image")({"image": Image(DATA)}), "cannot act on 'image'; found Image"),
        (lambda: Flip(0)({"image": DATA}), r"nothing to act on; found .*Tensor.*; expected an Image.*Image\(tensor\)"),
        (lambda: Flip(0)("image.nii"), "cannot act on this; found str"),
        (lambda: Rotate()(Points([[1.0, 2.0]])), "no lattice; found Points; expected an image"),
        (lambda: Compose([Flip(0)], keys="image"), "acts on whole samples; found keys='image'"),
        (lambda: OneOf([Flip(0)], keys="image"), "acts on whole samples; found keys='image'"),
        (lambda: IndexClasses(keys="image"), "acts on whole samples; found keys='image'"),
        (lambda: Transform()(DATA), "acts on whole samples"),
        (lambda: Spatial()(DATA), "defines no warp"),
        (lambda: Intensity()(DATA), "defines no apply"),
    ],
)
def test_mistakes_are_named(act, match):
    with pytest.raises(BadArgument, match=match):
        act()


def test_a_label_step_takes_integers():
    with pytest.raises(BadLabel, match="expected an integer dtype"):
        KeepLargest()(DATA)


def test_one_lattice_is_asked_for_where_voxels_are_counted():
    coarse = Space((2, 3), np.diag([2.0, 2.0, 1.0]))
    sample = {"image": Image(DATA), "label": LabelMap(torch.zeros(1, 2, 3, dtype=torch.int32), space=coarse)}
    with pytest.raises(BadGeometry, match=r"label: CenterCrop needs its members on one lattice; found .*MatchSpace"):
        CenterCrop((2, 2))(sample)
    assert Rotate()(sample, Rng(0))["label"].space.shape == (2, 3)  # in the world there is nothing to count


def test_parameters_are_plain_values():
    step = Rotate([-15, 15], keys=["a", "b"])
    assert step == Rotate((-15, 15), keys=("a", "b"))
    assert hash(step) == hash(Rotate((-15, 15), keys=("a", "b")))
    assert repr(CenterCrop(torch.zeros(3, 4).shape)) == "CenterCrop((3, 4))"
    assert repr(CenterCrop(np.array([3, 4]))) == "CenterCrop((3, 4))"
    assert repr(Rotate((np.float64(1.5), np.int64(2)))) == "Rotate((1.5, 2))"
    assert repr(Flip("R", p=0.5)) == "Flip('R', p=0.5)"
    assert repr(Flip(p=0.5)) == "Flip(p=0.5)"
    assert repr(Normalize(std=2.0, keys="t1")) == "Normalize(std=2.0, keys='t1')"


def test_random_knows_ranges_from_values():
    assert not Rotate(15).random
    assert not Rotate((15, 15)).random
    assert Rotate((-15, 15)).random
    assert Rotate((0, 0, (0, 1))).random
    assert not Rotate((0, 0, 1)).random
    assert Rotate(Normal(0, 5)).random
    assert not Rotate(Normal(3, 0)).random
    assert Flip(0, p=0.5).random
    assert not Flip(0).random


def test_walk_finds_all_steps():
    inner = Flip(0)
    outer = Compose([Rotate(), OneOf([inner, Normalize()])])
    assert [type(step).__name__ for step in walk(outer)] == ["Compose", "Rotate", "OneOf", "Flip", "Normalize"]
