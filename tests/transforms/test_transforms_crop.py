"""Windows against slices, and windows that chance or a label picks."""

from collections import Counter

import numpy as np
import pytest
import torch

from medframe.base import BadArgument, BadGeometry, Rng
from medframe.geometry import Interpolation, Space
from medframe.image import Image, LabelMap, Points
from medframe.transforms import (
    CenterCrop,
    Compose,
    Crop,
    CropByLabel,
    CropForeground,
    Flip,
    IndexClasses,
    Pad,
    PadTo,
    RandomCrop,
    Rotate,
    Settle,
)
from medframe.transforms.spatial.crop import class_locations

DATA = torch.arange(1.0, 61.0).reshape(1, 3, 4, 5)
LINE = torch.arange(1.0, 6.0)[None]  # 1 2 3 4 5


@pytest.mark.parametrize(
    ("step", "due"),
    [
        (Crop((1,), (3,)), [2, 3, 4]),
        (Crop((-2,), (4,)), [0, 0, 1, 2]),
        (Crop((4,), (3,)), [5, 0, 0]),
        (Crop((9,), (2,)), [0, 0]),
        (CenterCrop((3,)), [2, 3, 4]),
        (CenterCrop((2,)), [2, 3]),  # the odd voxel is cut at the far end
        (CenterCrop((8,)), [0, 1, 2, 3, 4, 5, 0, 0]),  # and added there
        (CenterCrop((-1,)), [1, 2, 3, 4, 5]),
        (Pad(1), [0, 1, 2, 3, 4, 5, 0]),
        (Pad(((0, 2),)), [1, 2, 3, 4, 5, 0, 0]),
        (PadTo(8), [0, 1, 2, 3, 4, 5, 0, 0]),
        (PadTo(3), [1, 2, 3, 4, 5]),
        (PadTo(multiple=4), [0, 1, 2, 3, 4, 5, 0, 0]),
        (PadTo(6, multiple=7), [0, 1, 2, 3, 4, 5, 0]),
        (RandomCrop((8,)), [0, 1, 2, 3, 4, 5, 0, 0]),
    ],
    ids=repr,
)
def test_windows_of_a_line(step, due):
    assert step(LINE)[0].tolist() == due
    assert not step.random or isinstance(step, RandomCrop)


def test_windows_are_slices_and_the_affine_follows():
    image = Image(DATA, np.diag([2.0, 3.0, 4.0, 1.0]))
    out = Crop((1, 0, 2), (2, 3, 2))(image)
    assert torch.equal(out.data, DATA[:, 1:3, 0:3, 2:4])
    np.testing.assert_allclose(out.affine[:3, 3], [2, 0, 8])
    padded = Pad((1, 0, 2))(image)
    assert padded.space.shape == (5, 4, 9)
    np.testing.assert_allclose(padded.affine[:3, 3], [-2, 0, -8])
    assert torch.equal(padded.data[:, 1:-1, :, 2:-2], DATA)
    assert PadTo((4, 4, 8), multiple=(1, 3, 1))(image).space.shape == (4, 6, 8)


@pytest.mark.parametrize(
    ("how", "due"),
    [
        (Interpolation(fill=-7), [-7, -7, 1, 2, 3, 4, 5, -7, -7]),
        (Interpolation(border="border"), [1, 1, 1, 2, 3, 4, 5, 5, 5]),
        (Interpolation(border="reflect"), [3, 2, 1, 2, 3, 4, 5, 4, 3]),
        (Interpolation(border="wrap"), [4, 5, 1, 2, 3, 4, 5, 1, 2]),
    ],
    ids=lambda v: getattr(v, "border", ""),
)
def test_what_lies_beyond_is_the_interpolations_border(how, due):
    assert Pad(2)(Image(LINE, interpolation=how)).data[0].tolist() == due


def test_fill_is_rounded_and_saturated_into_integers():
    image = Image(torch.tensor([[5, 6]], dtype=torch.uint8), interpolation=Interpolation(fill=-1024.0))
    assert Pad(1)(image).data.tolist() == [[0, 5, 6, 0]]
    image = Image(torch.tensor([[5, 6]], dtype=torch.uint8), interpolation=Interpolation(fill=7.6))
    assert Pad(1)(image).data.tolist() == [[8, 5, 6, 8]]


def test_a_crop_is_a_window_until_settled():
    image = Image(torch.ones(1, 9, 9))
    turned = Compose([CenterCrop((5, 5)), Rotate(45)])(image)
    assert float(turned.data.min()) == pytest.approx(1)  # the corners show tissue beyond the crop
    cut = Compose([CenterCrop((5, 5)), Settle(), Rotate(45)])(image)
    assert float(cut.data.min()) < 0.5
    assert torch.equal(Crop((-2, -2), (9, 9))(CenterCrop((5, 5))(image)).data, image.data)


def test_random_crops_reach_every_place_alike():
    step = RandomCrop((3,))
    seen = Counter(int(step(LINE, Rng(k))[0, 0]) for k in range(300))
    assert set(seen) == {1, 2, 3}
    assert min(seen.values()) > 75
    made = RandomCrop((2, -1, 9), count=5)(Image(DATA), Rng(0))
    assert [m.shape for m in made] == [(1, 2, 4, 9)] * 5
    assert len({tuple(m.affine[:3, 3]) for m in made}) > 1
    assert RandomCrop((2, 2, 2), count=1)(DATA)[0].shape == (1, 2, 2, 2)


def test_foreground_is_the_smallest_window():
    data = torch.zeros(2, 6, 7)
    data[0, 2, 3], data[1, 4, 3] = 1, 2
    assert torch.equal(CropForeground()(data), data[:, 2:5, 3:4])
    assert torch.equal(CropForeground(margin=2)(data), data[:, 0:6, 1:6])  # not beyond the edge
    assert torch.equal(CropForeground(1.5)(data), data[:, 4:5, 3:4])
    assert CropForeground(9)(data).shape == data.shape  # nothing is above: nothing is cut
    line = torch.tensor([[0.0, 3.0, 0.0]])
    assert CropForeground()(line).tolist() == [[3.0]]
    sample = {"image": Image(torch.ones(1, 6, 7)), "label": LabelMap(data.int()[:1])}
    assert CropForeground(source="label")(sample)["image"].shape == (1, 1, 1)
    shifted = {**sample, "label": LabelMap(data.int()[:1], np.diag([2.0, 1.0, 1.0]))}
    with pytest.raises(BadGeometry, match="one lattice"):
        CropForeground(source="label", keys="image")(shifted)


def striped(counts):
    """A label map with so many voxels of each class, 0 included, in one row."""
    values = np.concatenate([np.full(n, c, np.uint8) for c, n in counts.items()])
    return LabelMap(values[None])


@pytest.mark.parametrize("indexed", [False, True])
def test_rare_classes_are_centred_as_often_as_common_ones(indexed):
    label = striped({0: 300, 1: 95, 2: 4, 5: 1})
    sample = {"image": Image(label.data.float()), "label": label}
    sample = IndexClasses("label", per_class=20)(sample) if indexed else sample
    step = CropByLabel((1,), foreground=0.8)
    seen = Counter(int(step(sample, Rng(k))["label"].data[0, 0]) for k in range(300))
    assert 60 < seen[1] < 125  # 0.8 / 3 of 300 are 80, and by chance 0.2 * 95 / 400 more
    assert 55 < seen[2] < 110
    assert 55 < seen[5] < 110
    only = CropByLabel((1,), foreground=1, classes=(2, 5), weights=(3, 1))
    seen = Counter(int(only(sample, Rng(k))["label"].data[0, 0]) for k in range(200))
    assert 125 < seen[2] < 175
    assert seen[2] + seen[5] == 200


def test_windows_stay_inside_and_absent_classes_are_passed_over():
    label = striped({1: 1, 0: 9})
    step = CropByLabel((4,), foreground=1)
    assert step({"label": label}, Rng(0))["label"].affine[0, -1] == 0
    assert CropByLabel((4,), foreground=1, classes=(7,))({"label": label}, Rng(0))["label"].shape == (1, 4)
    assert CropByLabel((14,), foreground=1)({"label": label}, Rng(0))["label"].affine[0, -1] == -2
    absent = CropByLabel((3,), foreground=1, classes=(7,))
    places = {float(absent({"label": label}, Rng(k))["label"].affine[0, -1]) for k in range(60)}
    assert places == set(range(8))


def test_several_crops_search_the_label_once_and_leave_no_trace():
    label = striped({0: 10, 3: 2})
    made = CropByLabel((2,), foreground=1, count=4)({"label": label}, Rng(0))
    assert [list(m) for m in made] == [["label"]] * 4
    assert all(3 in m["label"].data for m in made)
    one = IndexClasses()({"label": label})
    assert list(CropByLabel((2,))(one, Rng(0))) == ["label"]


def test_index_classes_notes_world_places():
    label = LabelMap(torch.tensor([[[0, 4], [4, 1]]]), np.diag([2.0, 3.0, 1.0]))
    noted = IndexClasses()({"label": label})["label_locations"]
    assert isinstance(noted, Points)
    assert noted.labels.tolist() == [1, 4, 4]
    assert noted.world.tolist() == [[2, 3], [0, 3], [2, 0]]
    many = IndexClasses(per_class=7)({"label": striped({0: 5, 1: 500, 2: 3})})["label_locations"]
    assert Counter(many.labels.tolist()) == {1: 7, 2: 3}
    assert np.ptp(many.world[many.labels == 1]) > 250  # from all over
    assert len(class_locations(striped({0: 5}), None, Rng(0))) == 0
    wide = LabelMap(torch.tensor([[0, 7]]).to(torch.uint16))
    assert class_locations(wide, None, Rng(0)).labels.tolist() == [7]


def test_noted_places_follow_the_patient():
    label = striped({0: 7, 2: 1, 0.5: 2})  # class 2 at index 7
    sample = IndexClasses()({"label": label})
    out = Compose([Flip(0), Crop((1,), (6,)), CropByLabel((1,), foreground=1)])(sample, Rng(0))
    assert int(out["label"].data) == 2


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda: Crop((0, 0), (3,)), "a start and a size an axis"),
        (lambda: Crop((0,), (0,)), r"found \(0,\); expected whole numbers of at least 1"),
        (lambda: Crop((0,), (-1,)), "expected whole numbers of at least 1"),
        (lambda: Crop(0, 4), "one size an axis; found 4"),
        (lambda: Crop((0,), (2,))(DATA), r"another rank than the image; found \(2,\); expected 3 axes"),
        (lambda: CenterCrop(()), "one size an axis"),
        (lambda: CenterCrop((2.5,)), r"found \(2.5,\)"),
        (lambda: CenterCrop((2, 2))(LINE), "expected 1 axes"),
        (lambda: Pad(-1), "at least 0; found -1.*Crop"),
        (lambda: Pad((1, 2))(LINE), "expected 1 axes"),
        (lambda: PadTo(0), "at least 1"),
        (lambda: PadTo((8, 8))(LINE), "expected 1 axes"),
        (lambda: RandomCrop((4,), count=0), "count is at least 1; found 0"),
        (lambda: CropForeground(margin=-1), "found -1"),
        (lambda: CropForeground(source="mask")({"image": Image(LINE)}), r"found \['image'\]; expected mask"),
        (lambda: CropByLabel((4,), foreground=2), "found 2; expected 0 to 1"),
        (lambda: CropByLabel((4,), weights=(1, 2)), "one weight a class"),
        (lambda: CropByLabel((2,), foreground=1)({"image": Image(LINE)}), r"found \['image'\]; expected label"),
        (lambda: IndexClasses()({"image": Image(LINE)}), r"found \['image'\]; expected label"),
        (lambda: IndexClasses(per_class=0), "found 0"),
    ],
)
def test_mistakes_are_named(act, match):
    with pytest.raises(BadArgument, match=match):
        act()


def test_count_makes_samples_of_one_space_each():
    space = Space((3, 4, 5), np.eye(4))
    sample = {"image": Image(DATA, space=space), "label": LabelMap(DATA.int(), space=space)}
    for made in RandomCrop((2, 2, 2), count=3)(sample, Rng(2)):
        assert made["image"].space == made["label"].space
        assert torch.equal(made["image"].data, made["label"].data.float())
