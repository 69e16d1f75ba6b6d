"""One table with a row for each transform, and the laws that every row keeps."""

import hashlib
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import medframe.transforms
from medframe.base import Rng
from medframe.geometry import LINEAR, NEAREST, Space, rotation
from medframe.image import Batch, Boxes, Image, LabelMap, Points, collate
from medframe.transforms import (
    Affine,
    Argmax,
    BrightnessContrast,
    CenterCrop,
    Compose,
    Crop,
    CropByLabel,
    CropForeground,
    Elastic,
    Flip,
    Gamma,
    GaussianBlur,
    GaussianNoise,
    IndexClasses,
    Intensity,
    KeepLargest,
    LabelTransform,
    Lambda,
    LowResolution,
    MatchSpace,
    Normalize,
    OneHot,
    OneOf,
    Orientation,
    Pad,
    PadTo,
    RandomCrop,
    Remap,
    RescaleIntensity,
    Resize,
    Rotate,
    Rotate90,
    Scale,
    Settle,
    SomeOf,
    Spacing,
    Spatial,
    Transform,
    invert,
)

# transforms that laws about voxels say nothing of
ELSEWHERE = {"Load": "reads files: tests/io", "Save": "writes files: tests/io"}
BASES = {Transform, Spatial, Intensity, LabelTransform}


@dataclass(frozen=True)
class Row:
    """A step, and what is to be expected of it.

    exact: voxels are copied, never interpolated.
    needs: members without which it cannot act, so that a lone tensor is no input for it.
    changes: what it changes: "lattice", "values", "labels", "kind" (Image to LabelMap) or "sample".
    """

    step: Transform
    changes: str = "lattice"
    exact: bool = False
    needs: tuple[str, ...] = ()
    random: bool = False

    def __str__(self) -> str:
        return repr(self.step)


def rows(d: int) -> list[Row]:
    """The table, for images of `d` spatial axes."""

    def cut(*sizes):
        return sizes[:d]

    return [
        Row(Affine((-20, 20), (0.9, 1.1), (-0.1, 0.1), (-1.5, 1.5)), random=True),
        Row(CenterCrop(cut(17, 40, -1)), exact=True),
        Row(Crop(cut(2, -1, 1), cut(18, 24, 15)), exact=True),
        Row(CropByLabel(cut(15, 16, 14), foreground=0.8), exact=True, needs=("label",), random=True),
        Row(CropByLabel(cut(15, 16, 14), classes=(1, 3), weights=(1, 2), count=2), "lattice", True, ("label",), True),
        Row(CropForeground(0.01, margin=2), exact=True),
        Row(Elastic((1.0, 2.0), 16.0), random=True),
        Row(Flip("R"), exact=True),
        Row(Flip((0, -1), p=0.5), exact=True, random=True),
        Row(MatchSpace("other"), needs=("other",)),
        Row(Orientation("SAL"[-d:] if d == 3 else "PL"), exact=True),
        Row(Pad(cut((1, 2), (0, 3), (2, 0))), exact=True),
        Row(PadTo(20, multiple=8), exact=True),
        Row(RandomCrop(cut(17, 18, 14)), exact=True, random=True),
        Row(RandomCrop(cut(17, 18, 14), count=2), exact=True, random=True),
        Row(Resize(cut(19, -1, 20))),
        Row(Rotate((-30, 30)), random=True),
        Row(Rotate90(plane=(0, -1)), exact=True, random=True),
        Row(Scale((0.9, 1.2), isotropic=False), random=True),
        Row(Settle(), exact=True),
        Row(Spacing(1.4)),
        Row(IndexClasses("label", 20), "sample", True, ("label",)),
        Row(BrightnessContrast((0.8, 1.2), (0.8, 1.2), (-0.1, 0.1), per_channel=True), "values", random=True),
        Row(Gamma((0.7, 1.5), invert=True), "values", random=True),
        Row(GaussianBlur((0.5, 1.5)), "values", random=True),
        Row(GaussianNoise((0.05, 0.1)), "values", random=True),
        Row(Lambda(torch.nn.functional.relu), "values"),
        Row(LowResolution((0.4, 0.8), p=0.7), "values", random=True),
        Row(Normalize(nonzero=True, clip=(0.01, 0.9)), "values"),
        Row(RescaleIntensity((-1, 1), percentiles=(1, 99)), "values"),
        Row(Argmax(keys="image"), "kind"),
        Row(KeepLargest(classes=(1, 3)), "labels", needs=("label",)),
        Row(OneHot(4), "labels", needs=("label",)),
        Row(Remap({1: 3, 3: 1}), "labels", needs=("label",)),
        Row(Compose([Orientation("RAS"), Rotate((-10, 10), p=0.5), RandomCrop(cut(17, 18, 14))]), random=True),
        Row(OneOf([Flip(0), Flip(1), GaussianNoise()], weights=(1, 1, 2)), "values", random=True),
        Row(SomeOf([Flip(0), Flip(1), Rotate90(1)], count=(1, 2)), exact=True, random=True),
    ]


TABLE = [pytest.param(d, i, id=f"{d}d-{row}") for d in (2, 3) for i, row in enumerate(rows(d))]


def oblique(d: int) -> np.ndarray:
    """An affine that is oblique, left-handed and anisotropic, far from the origin."""
    spacing = np.array([1.2, 1.0, 1.5])[:d]
    mirrored = np.diag([-1.0, 1.0, 1.0][:d])
    turn = rotation([0.4] if d == 2 else [0.3, -0.2, 0.4])
    affine = np.eye(d + 1)
    affine[:-1, :-1] = turn @ mirrored * spacing
    affine[:-1, -1] = [31.0, -57.0, 12.0][:d]
    return affine


SIGMA = 1.0  # mm
OFFSETS = np.array([[-3.0, 2.5, 3.0], [3.5, -3.0, -2.0], [0.5, 3.0, -4.0]])  # mm along the lattice axes


def phantom(d: int, *, extra: bool = True) -> dict:
    """A channel for each of three Gaussian blobs, a label map of their cores, their places, and boxes about them."""
    space = Space((20, 22, 16)[:d], oblique(d))
    places = space.world_centre + OFFSETS[:, :d] @ space.direction.T
    grid = np.stack(np.meshgrid(*map(np.arange, space.shape), indexing="ij"), -1)
    distance = np.linalg.norm(space.to_world(grid)[None] - places.reshape(-1, *[1] * d, d), axis=-1)
    blobs = np.exp(-0.5 * (distance / SIGMA) ** 2).astype(np.float32)
    label = np.zeros((1, *space.shape), np.uint8)
    for blob, value in zip(distance, (1, 3, 1), strict=True):
        label[0][blob < 2.2] = value
    sample = {
        "image": Image(blobs, space=space),
        "label": LabelMap(label, space=space),
        "points": Points(places, names=("a", "b", "c")),
        "boxes": Boxes(np.stack([places - 1, places + 1], 1)),
        "case": "phantom",
    }
    if extra:
        coarse = space.with_spacing([1.7] * d).window([-1] * d, [14, 15, 16][:d])
        sample["other"] = Image(torch.zeros(1, *coarse.shape), space=coarse)
    return sample


def case(d: int, index: int) -> tuple[Row, dict]:
    row = rows(d)[index]
    return row, phantom(d, extra="other" in row.needs)


def run(row: Row, sample, rng) -> list[dict]:
    made = row.step(sample, rng)
    return made if isinstance(made, list) else [made]


def shared(sample: dict) -> dict:
    """Without the members that only one step needs."""
    return {k: v for k, v in sample.items() if k != "other"}


def digest(samples: list[dict]) -> str:
    """A hash of every byte that a sample holds."""
    state = hashlib.blake2b()
    for sample in samples:
        for key in sorted(sample):
            member = sample[key]
            state.update(key.encode())
            if isinstance(member, Image):
                state.update(member.data.contiguous().numpy().tobytes() + member.affine.tobytes())
                state.update(f"{member.shape}{member.dtype}".encode())
            elif isinstance(member, Points | Boxes):
                state.update(member.world.tobytes())
            else:
                state.update(repr(member).encode())
    return state.hexdigest()


def centre_of_mass(weights: torch.Tensor) -> np.ndarray:
    """The index of the middle of (*spatial) weights."""
    w = weights.double().numpy()
    index = np.stack(np.meshgrid(*map(np.arange, w.shape), indexing="ij"), -1)
    return (index * w[..., None]).reshape(-1, w.ndim).sum(0) / w.sum()


def test_every_transform_has_a_row():
    exported = {
        name
        for name in medframe.transforms.__all__
        if isinstance(kind := getattr(medframe.transforms, name), type) and issubclass(kind, Transform)
    } - {kind.__name__ for kind in BASES}
    tabled = {type(row.step).__name__ for row in rows(3)}
    assert exported - set(ELSEWHERE) == tabled, "add a row to this table for each exported transform"


@pytest.mark.parametrize(("d", "index"), TABLE)
def test_tensor_image_sample_list_and_batch_agree(d, index):
    row, sample = case(d, index)
    rng = Rng(3, index)
    if row.needs in ((), ("label",)) and row.changes != "sample" and not isinstance(row.step, CropByLabel):
        member = sample["label" if row.changes == "labels" else "image"]
        kind = type(member)
        step = row.step
        alone = kind(member.data)  # 1 mm voxels, as a tensor has
        from_tensor = step(member.data, rng)
        from_image = step(alone, rng)
        from_sample = step({"image": alone}, rng)
        if not isinstance(from_tensor, list):
            from_tensor, from_image, from_sample = [from_tensor], [from_image], [from_sample]
        for tensor, image, whole in zip(from_tensor, from_image, from_sample, strict=True):
            assert isinstance(tensor, torch.Tensor)
            assert isinstance(image, Image)
            assert torch.equal(tensor, image.data)
            assert torch.equal(tensor, whole["image"].data)
            assert image.space == whole["image"].space
    (listed,) = row.step([sample], rng)
    assert digest(listed if isinstance(listed, list) else [listed]) == digest(run(row, sample, rng.fork("item", 0)))
    batch = row.step(collate([sample]), rng)
    assert isinstance(batch, Batch)
    assert digest(batch.samples()) == digest(run(row, sample, rng.fork("batch", 0)))


@pytest.mark.parametrize(("d", "index"), TABLE)
def test_the_input_is_unchanged(d, index):
    row, sample = case(d, index)
    before = digest([sample])
    keys = list(sample)
    for made in run(row, sample, Rng(5, index)):
        digest([made])  # pays all that waits
    assert list(sample) == keys
    assert digest([sample]) == before


@pytest.mark.parametrize(("d", "index"), TABLE)
def test_chance_is_the_key_and_random_tells_the_truth(d, index):
    row, sample = case(d, index)
    outcomes = [digest(run(row, sample, Rng(1, k))) for k in range(4)]
    again = digest(run(row, case(d, index)[1], Rng(1, 3)))
    assert again == outcomes[3]
    assert row.step.random == row.random
    assert (len(set(outcomes)) > 1) == row.random


class Everything(Dataset):
    """All rows on one phantom: what a worker would make of them."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> list[str]:
        d = 2 + index % 2
        made = []
        for i, row in enumerate(rows(d)):
            sample = phantom(d, extra="other" in row.needs)
            made.append(digest(run(row, sample, Rng(11, 0, index, i))))
        return made


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_the_number_of_workers_does_not_matter():
    """A worker has one thread and the parent here has three, so this holds the arithmetic to one order, too."""
    torch.set_num_threads(3)  # the fixture sets it back
    seen = [list(DataLoader(Everything(), batch_size=None, num_workers=n)) for n in (0, 1, 3)]
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize(("d", "index"), TABLE)
def test_a_landmark_keeps_its_place_in_the_world(d, index):
    row, sample = case(d, index)
    if row.changes != "lattice":
        for made in run(row, sample, Rng(2, index)):
            for key in sample:
                if isinstance(sample[key], Image) and not isinstance(row.step, OneOf):
                    assert np.array_equal(made[key].affine, sample[key].affine)
                    assert made[key].space.shape == sample[key].space.shape
            assert np.array_equal(made["points"].world, sample["points"].world)
        return
    found = 0
    for key in range(2):
        for made in run(row, sample, Rng(2, index, key)):
            image, label, points = made["image"], made["label"], made["points"]
            assert image.space.shape == tuple(image.data.shape[1:])
            if not isinstance(row.step, Elastic):
                assert np.array_equal(points.world, sample["points"].world)
                assert np.array_equal(made["boxes"].world, sample["boxes"].world)
            else:
                assert np.linalg.norm(points.world - sample["points"].world, axis=1).max() > 0.3
            assert (made["boxes"].world[:, 0] <= points.world).all()
            assert (points.world <= made["boxes"].world[:, 1]).all()
            margin = 3.2 * SIGMA / image.space.spacing
            for channel, place in enumerate(points.world):
                at = image.space.to_index(place)
                if (at < margin).any() or (at > np.array(image.space.shape) - 1 - margin).any():
                    continue  # the edge cuts this blob
                found += 1
                # in voxels: copies show it to the noise, interpolation blurs evenly, a bend moves the middle of a blob
                off = np.abs(centre_of_mass(image.data[channel]) - at).max()
                assert off < (0.02 if row.exact else 0.5 if isinstance(row.step, Elastic) else 0.1)
                if channel == 1:  # the only blob of class 3
                    assert np.abs(centre_of_mass(label.data[0] == 3) - at).max() < 0.5
    assert found >= 2


@pytest.mark.parametrize(("d", "index"), TABLE)
def test_a_label_map_gains_no_value_and_no_dtype(d, index):
    row, sample = case(d, index)
    for dtype, how in ((torch.uint8, NEAREST), (torch.int64, LINEAR), (torch.uint16, LINEAR)):
        label = sample["label"].with_data(sample["label"].data.to(dtype)).with_interpolation(how)
        given = {**sample, "label": label}
        for made in run(row, given, Rng(4, index)):
            label = made["label"]
            assert type(label) is LabelMap
            assert label.interpolation == how
            assert set(label.data.unique().tolist()) <= {0, 1, 3}
            if not isinstance(row.step, OneHot):  # which makes channels of 0 and 1, always uint8
                assert label.data.dtype == dtype


@pytest.mark.parametrize(("d", "index"), TABLE)
def test_lazy_equals_step_by_step(d, index):
    row, sample = case(d, index)
    before = Compose([Flip(0), Rotate90(1)])
    keyed = {k: v for k, v in sample.items() if k != "other"}
    waiting = before(keyed, Rng(0))
    paid = Settle()(waiting)
    if "other" in sample:
        waiting, paid = {**waiting, "other": sample["other"]}, {**paid, "other": sample["other"]}
    assert waiting["image"].pending is not None
    assert paid["image"].pending is None
    for lazy, eager in zip(run(row, waiting, Rng(6, index)), run(row, paid, Rng(6, index)), strict=True):
        assert lazy["image"].space == eager["image"].space
        if row.exact or row.changes in ("labels", "sample"):
            assert torch.equal(lazy["image"].data, eager["image"].data)
            assert torch.equal(lazy["label"].data, eager["label"].data)
        else:
            torch.testing.assert_close(lazy["image"].data, eager["image"].data, atol=2e-5, rtol=1e-5)
            # nearest may round a tie between two voxels either way
            assert (lazy["label"].data != eager["label"].data).float().mean() < 0.01


@pytest.mark.parametrize(("d", "index"), [p for p in TABLE if rows(p.values[0])[p.values[1]].changes == "lattice"])
def test_invert_undoes(d, index):
    row, sample = case(d, index)
    image, label = sample["image"], sample["label"]
    for made in run(row, sample, Rng(8, index)):
        back = invert(made)
        assert back["image"].space == image.space
        settled = isinstance(row.step, Settle)
        assert settled or back["image"].source_space == image.space
        # the way there and the way back are one warp, the identity
        assert torch.equal(back["image"].data, image.data)
        assert torch.equal(back["label"].data, label.data)
        # a network's output has no past: it comes back from its own lattice
        answer = invert(Settle()(made))
        assert answer["image"].space == image.space
        seen = answer["label"].data != 0
        if row.exact:
            kept = answer["image"].data != 0
            assert torch.equal(answer["image"].data[kept], image.data[kept])
            assert torch.equal(answer["label"].data[seen], label.data[seen])
        else:
            assert (answer["label"].data != label.data).float().mean() < 0.05
        if not isinstance(row.step, Crop | CropByLabel | RandomCrop | CropForeground | CenterCrop | Compose):
            overlap = (seen & (label.data != 0)).sum() / (seen | (label.data != 0)).sum()
            assert overlap == 1 if row.exact else overlap > 0.5


@pytest.mark.parametrize(("d", "index"), TABLE)
def test_pickle_and_repr_round_trip(d, index):
    step = rows(d)[index].step
    again = pickle.loads(pickle.dumps(step))
    assert again == step
    assert hash(again) == hash(step)
    namespace = {**vars(medframe.transforms), "torch": torch}
    assert eval(repr(step), namespace) == step
    with pytest.raises((AttributeError, TypeError)):
        step.p = 0.1


@pytest.mark.parametrize(("d", "index"), TABLE)
def test_dtype_in_is_dtype_out(d, index):
    row, sample = case(d, index)
    if row.changes == "kind":
        return
    for dtype in (torch.float64, torch.float16, torch.uint8):
        given = {**sample, "image": sample["image"].with_data((sample["image"].data * 100).to(dtype))}
        changed = isinstance(row.step, Intensity) and not isinstance(row.step, Lambda)
        for made in run(row, given, Rng(9, index)):
            due = dtype if dtype.is_floating_point or row.changes != "values" else torch.float32
            if isinstance(row.step, OneOf) or row.step.p < 1:
                due = made["image"].data.dtype if made["image"].data.dtype in (dtype, torch.float32) else dtype
            assert made["image"].data.dtype == due
            assert not changed or made["image"].dtype.is_floating_point or row.step.p < 1
