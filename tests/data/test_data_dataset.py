"""Datasets: what is fixed is done once, chance hangs on the key, and errors name their case."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from medframe.base.errors import BadArgument, BadDataset, BadFile, BadGeometry, MedframeError, MedframeWarning
from medframe.base.rng import Rng
from medframe.data import Cache, Dataset, Key, Record, loader
from medframe.data.entry import settle
from medframe.image import Image
from medframe.transforms import (
    Compose,
    CropByLabel,
    Flip,
    IndexClasses,
    Lambda,
    Load,
    OneOf,
    RandomCrop,
    Rotate,
    Spacing,
)

FIXED = Compose([Load(labels="label"), Spacing(1.4), IndexClasses()])
RANDOM = Compose([CropByLabel((6, 6, 4)), Rotate((-20, 20), p=0.7), Flip("R", p=0.5)])


def voxels(sample):
    return torch.cat([sample[key].data.float().flatten() for key in ("image", "label")])


def test_what_a_key_gives(cases, same):
    dataset = Dataset(cases, FIXED, RANDOM, seed=5)
    assert len(dataset) == 4
    for key in (Key(0, 1), Key(3, 2)):
        record = cases[key.index]
        settled = settle(FIXED(record.sample(), Rng("fixed")))
        due = RANDOM(settled, Rng(5, key.epoch, record.case))
        assert voxels(dataset[key]).equal(voxels(due))
        assert dataset[key]["case"] == record.case
    assert voxels(dataset[2]).equal(voxels(dataset[Key(0, 2)]))
    assert voxels(dataset[np.int64(2)]).equal(voxels(dataset[2]))
    assert len({tuple(voxels(dataset[Key(e, 0)]).tolist()) for e in range(6)}) > 3  # epochs differ
    assert not voxels(dataset[0]).equal(voxels(Dataset(cases, FIXED, RANDOM, seed=6)[0]))
    assert [sample["case"] for sample in dataset] == [r.case for r in cases]


def test_chance_hangs_on_the_case_and_not_on_its_place(cases):
    forward, backward = Dataset(cases, FIXED, RANDOM), Dataset(cases[::-1], FIXED, RANDOM)
    for k in range(4):
        assert voxels(forward[Key(2, k)]).equal(voxels(backward[Key(2, 3 - k)]))


def test_cache_and_memory_change_nothing(cases, tmp_path):
    plain = Dataset(cases, FIXED, RANDOM)
    cached = Dataset(cases, FIXED, RANDOM, cache=Cache(tmp_path / "c"))
    memory = Dataset(cases, FIXED, RANDOM, memory=True)
    both = Dataset(cases, FIXED, RANDOM, cache=Cache(tmp_path / "c"), memory=True)
    for epoch in range(2):
        for k in range(4):
            due = plain[Key(epoch, k)]
            for other in (cached, memory, both):
                sample = other[Key(epoch, k)]
                assert list(sample) == list(due)
                assert voxels(sample).equal(voxels(due))
                assert np.array_equal(sample["image"].affine, due["image"].affine)


CALLS: list = []  # of `plus_one`


def plus_one(x):
    CALLS.append(1)
    return x + 1


@pytest.mark.parametrize(("keeps", "due"), [("nothing", 8), ("memory", 4), ("cache", 4)])
def test_fixed_steps_run_once(keeps, due, cases, tmp_path):
    cache = Cache(tmp_path / "c") if keeps == "cache" else None
    dataset = Dataset(cases, Compose([Load(), Lambda(plus_one)]), cache=cache, memory=keeps == "memory")
    dataset.recipe  # noqa: B018  # CALLS is a global of the function and counts as long as it is read
    CALLS.clear()
    for _ in range(2):
        for k in range(4):
            dataset[k]
    assert len(CALLS) == due


def test_the_samples_kept_cannot_be_changed_through_those_given(cases):
    dataset = Dataset(cases, Load(), memory=True)
    dataset[0]["image"] = None
    dataset[0].clear()
    assert isinstance(dataset[0]["image"], Image)


def test_many_samples_of_one_case(cases, tmp_path):
    dataset = Dataset(cases, Load(), RandomCrop((4, 4, 4), count=3))
    samples = dataset[Key(1, 0)]
    assert [s["image"].shape for s in samples] == [(1, 4, 4, 4)] * 3
    assert not samples[0]["image"].data.equal(samples[1]["image"].data)


@pytest.mark.parametrize(
    ("fixed", "named"),
    [
        (Rotate((-5, 5)), "Rotate((-5, 5))"),
        (Compose([Load(), Flip("R", p=0.5)]), "Flip('R', p=0.5)"),
        (Compose([Load(), Compose([Spacing(1), RandomCrop((4, 4, 4))])]), "RandomCrop((4, 4, 4))"),
        (OneOf([Flip("R"), Flip("A")]), "OneOf((Flip('R'), Flip('A')))"),
    ],
)
def test_chance_among_the_fixed_steps_is_named(fixed, named, cases):
    with pytest.raises(BadArgument, match="the fixed steps hold chance") as caught:
        Dataset(cases, fixed)
    assert caught.value.found == named


def test_faults(cases):
    with pytest.raises(BadDataset, match="a dataset needs records"):
        Dataset([], FIXED)
    with pytest.raises(BadDataset, match="more than once; found case0"):
        Dataset([cases[0], cases[1], cases[0]], FIXED)
    with pytest.raises(BadArgument, match=r"'fixed' is no transform.*Compose"):
        Dataset(cases, [Load()])
    with pytest.raises(BadArgument, match=r"'random' is no transform"):
        Dataset(cases, Load(), len)
    for index in (4, -1):
        with pytest.raises(BadArgument, match=f"no such case in the dataset; found {index}; expected 0 to 3"):
            Dataset(cases, FIXED)[index]


def fails(x):
    raise ZeroDivisionError("by zero")


def test_errors_name_their_case(cases, tmp_path):
    cases[2].images[0].write_bytes(b"nothing")
    for cache in (None, Cache(tmp_path / "c")):
        dataset = Dataset(cases, FIXED, RandomCrop((4, 4)), cache=cache)
        with pytest.raises(BadFile) as caught:
            dataset[2]
        assert caught.value.where.startswith("case case2: ")
        assert caught.value.where.endswith("case2.nii")
        assert caught.value.where.count("case case2") == 1
        assert caught.value.args == (str(caught.value),)
        with pytest.raises(MedframeError, match="case case1: RandomCrop has another rank"):
            dataset[1]
    with pytest.raises(ZeroDivisionError) as other:
        Dataset(cases, Load(), Lambda(fails))[0]
    assert other.value.__notes__ == ["It happened in case case0."]


def stops(x):
    raise StopIteration


def test_a_step_cannot_end_the_epoch_in_silence(cases):
    with pytest.raises(RuntimeError, match="StopIteration in case case0"):
        list(loader(Dataset(cases, Load(), Lambda(stops)), 2))


@pytest.mark.timeout(20)
def test_a_pipe_is_an_error_and_no_wait(cases, tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    records = [Record("pipe", (tmp_path / "pipe.nii",))]
    for cache in (None, Cache(tmp_path / "c")):
        with pytest.raises(BadFile, match=r"case pipe: .*pipe\.nii: this is not a file"):
            Dataset(records, Load(), cache=cache)[0]


def test_geometry_errors_carry_the_case(cases):
    def shrink(x):
        return x[:, 1:]

    with pytest.raises(BadGeometry, match="case case3: the voxels do not fit"):
        Dataset(cases, Compose([Load(), Lambda(shrink)]))[3]


def test_pickling_leaves_samples_behind(cases):
    dataset = Dataset(cases, FIXED, RANDOM, memory=True)
    assert dataset.recipe.parts
    due = voxels(dataset[Key(1, 1)])
    sent = pickle.dumps(dataset)
    assert len(sent) < 20_000
    again = pickle.loads(sent)
    assert again._kept == {}
    assert dataset._kept != {}
    assert voxels(again[Key(1, 1)]).equal(due)
    assert again.recipe == dataset.recipe


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["cache", "memory"])
def test_prepare_builds_everything(kind, workers, cases, tmp_path, capfd):
    cache = Cache(tmp_path / "c") if kind == "cache" else None
    dataset = Dataset(cases, FIXED, RANDOM, cache=cache, memory=kind == "memory")
    dataset.prepare(workers=workers, progress=False)
    assert capfd.readouterr().err == ""
    if cache is not None:
        assert all(cache.explain(r, FIXED).hit for r in cases)
    for record in cases:
        if kind == "memory":
            record.images[0].unlink()
    assert len([dataset[k] for k in range(4)]) == 4


def test_prepare_shows_a_bar(cases, capfd):
    Dataset(cases, FIXED, memory=True).prepare(workers=1)
    err = capfd.readouterr().err
    assert "prepare" in err
    assert "/4" in err


@pytest.mark.parametrize("workers", [0, 2])
def test_prepare_names_all_bad_cases_and_keeps_the_good(workers, cases, tmp_path):
    cache = Cache(tmp_path / "c")
    dataset = Dataset(cases, FIXED, cache=cache)
    cases[1].images[0].write_bytes(b"x")
    with pytest.raises(BadFile, match=r"case case1: .*case1\.nii"):
        dataset.prepare(workers, progress=False)
    cases[3].label.unlink()
    with pytest.raises(BadDataset, match=r"(?s)2 of 4 cases cannot be prepared:.*case case1.*case case3") as caught:
        dataset.prepare(workers, progress=False)
    assert "the others are kept" in str(caught.value)
    assert [cache.holds(r, dataset.recipe) for r in (cases[0], cases[2])] == [True, True]


def test_prepare_says_what_does_not_fit(cases, tmp_path):
    one = Dataset(cases[:1], FIXED, cache=Cache(tmp_path / "probe"))
    one.prepare(0, progress=False)
    cache = Cache(tmp_path / "c", budget_bytes=int(one.cache.size * 2.5))
    with pytest.warns(MedframeWarning, match="2 of 4 prepared cases fit into the cache's budget"):
        Dataset(cases, FIXED, cache=cache).prepare(0, progress=False)


def test_prepare_needs_a_place(cases):
    with pytest.raises(BadArgument, match="nowhere to keep samples"):
        Dataset(cases, FIXED).prepare()


def test_records_alone_are_enough_for_a_label_free_case(tmp_path, cases):
    bare = [Record(r.case, r.images) for r in cases]
    assert list(Dataset(bare, Load(labels="label"))[0]) == ["image", "case"]
    assert all(isinstance(p, Path) for r in bare for p in r.images)
