"""Samples to a batch and back."""

import pickle

import numpy as np
import pytest
import torch

from medframe.base import BadGeometry, Rng
from medframe.geometry import LINEAR, NEAREST, Space, Warp
from medframe.image import Batch, Image, LabelMap, Points, collate
from medframe.transforms import Compose, Elastic, Rotate, restore


def sample(k, shape=(4, 5)):
    space = Space(shape, np.array([[1.0, 0, k], [0, 2.0, -k], [0, 0, 1]]))
    data = torch.from_numpy(Rng(k).generator().random((2, *shape)).astype(np.float32))
    return {
        "image": Image(data, space=space, meta={"case": k}),
        "label": LabelMap((data[:1] * 4).to(torch.uint8), space=space),
        "points": Points([[k, k]]),
        "age": 40 + k,
    }


def test_round_trip():
    samples = [sample(k) for k in range(3)]
    batch = collate(samples)
    assert batch["image"].shape == (3, 2, 4, 5)
    assert batch["label"].dtype == torch.uint8
    assert batch["age"] == (40, 41, 42)
    assert len(batch) == 3
    assert "points" in batch
    assert "mask" not in batch
    for given, made in zip(samples, batch.samples(), strict=True):
        assert set(made) == set(given)
        assert type(made["label"]) is LabelMap
        assert made["label"].interpolation == NEAREST
        for key in ("image", "label"):
            assert torch.equal(made[key].data, given[key].data)
            assert made[key].space == given[key].space
            assert made[key].source_space == given[key].source_space
        assert dict(made["image"].meta) == dict(given["image"].meta)
        assert made["points"] is given["points"]


def test_label_maps_keep_how_they_are_read():
    label = sample(0)["label"]
    for how in (NEAREST, LINEAR):
        (made,) = collate([{"label": label.with_interpolation(how)}]).samples()
        assert made["label"].interpolation == how


def test_what_waits_is_paid_and_the_way_back_is_kept():
    step = Compose([Rotate(20), Elastic(0.5, 3.0)])
    moved = [step(sample(k), Rng(k)) for k in range(2)]
    batch = pickle.loads(pickle.dumps(collate(moved)))  # as a worker sends it
    for k, made in enumerate(batch.samples()):
        assert made["image"].pending is None
        assert torch.equal(made["image"].data, moved[k]["image"].data)
        back = restore(batch["image"][k], made["image"])
        assert back.space == sample(k)["image"].space
        due = moved[k]["image"].settled().to_source()
        torch.testing.assert_close(back.data, due.data)


def test_lists_of_crops_are_flattened():
    batch = collate([[sample(0), sample(1)], sample(2)])
    assert batch["age"] == (40, 41, 42)
    assert collate([{"age": 3}, {"age": 4}])["age"] == (3, 4)
    assert len(collate([{"age": 3}, {"age": 4}])) == 2


def test_the_order_of_keys_does_not_matter():
    turned = dict(reversed(sample(1).items()))
    assert collate([sample(0), turned])["age"] == (40, 41)


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        ([], "empty batch"),
        ([sample(0), sample(1, (4, 6))], r"'image' of one batch differ in shape; found .*\(2, 4, 6\).*RandomCrop"),
        ([sample(0), {"image": sample(1)["image"]}], r"differ in keys; found \['image'\]; expected \['age'"),
        (
            [{"a": sample(0)["image"]}, {"a": sample(0)["label"]}],
            r"'a' .* in kind; found \['Image', 'LabelMap'\]",
        ),
        ([{"a": None}, {"a": sample(0)["label"]}], r"found \['LabelMap', 'NoneType'\]"),
    ],
)
def test_mistakes_are_named(samples, match):
    with pytest.raises(BadGeometry, match=match):
        collate(samples)


def test_a_batch_moves_between_devices_as_tensors():
    batch = collate([sample(0)])
    moved = batch.to("cpu")
    assert isinstance(moved, Batch)
    assert torch.equal(moved["image"], batch["image"])
    assert moved.places is batch.places


def test_samples_are_not_changed_by_collating():
    one = sample(0)
    waiting = one["image"].warped(Warp.window((0, 0), (2, 2)))
    collate([{"image": waiting}])
    assert waiting.pending is not None
    assert torch.equal(one["image"].data, sample(0)["image"].data)
