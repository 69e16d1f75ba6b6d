"""Splits: whole groups, equal folds, and cases that stay where they were."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medframe.base.errors import BadArgument, BadDataset
from medframe.data import Record, split


def some(count, groups=None, splits=None):
    return [
        Record(f"c{k:03}", (Path("x.nii"),), None, groups[k] if groups else "", splits[k] if splits else None)
        for k in range(count)
    ]


def fold_of(records, folds=5, seed=0):
    return {r.case: k for k in range(folds) for r in split(records, folds, k, seed)[1]}


@pytest.mark.parametrize(("count", "folds"), [(5, 5), (23, 5), (174, 5), (10, 3), (2, 2)])
def test_folds_share_the_cases_out_evenly(count, folds):
    records = some(count)
    where = fold_of(records, folds)
    assert len(where) == count  # each case is held out once
    sizes = Counter(where.values())
    assert max(sizes.values()) - min(sizes.values()) <= 1
    for k in range(folds):
        train, held_out = split(records, folds, k)
        assert sorted(r.case for r in train + held_out) == [r.case for r in records]
        assert [r.case for r in train] == sorted(r.case for r in train)  # in the order given


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole(seed):
    chance = np.random.default_rng(seed)
    groups = [f"p{k}" for k in chance.integers(0, 25, 200)]
    records = some(200, groups)
    where = fold_of(records, 5, seed)
    folds = {g: {where[r.case] for r in records if r.group == g} for g in groups}
    assert all(len(k) == 1 for k in folds.values())
    sizes = Counter(where.values())
    largest = max(Counter(groups).values())
    assert max(abs(n - 40) for n in sizes.values()) <= largest


def test_one_more_case_moves_few():
    records = some(100)
    before = fold_of(records)
    for k in range(30):
        after = fold_of([*records, Record(f"new{k}", (Path("x"),))])
        assert sum(before[c] != after[c] for c in before) <= 4  # one a cut


def test_order_of_records_does_not_matter_and_the_seed_does():
    records = some(40)
    assert fold_of(records) == fold_of(records[::-1])
    assert fold_of(records) != fold_of(records, seed=1)
    assert len({fold_of(records, seed=s)["c000"] for s in range(20)}) > 2


def test_a_huge_group_leaves_no_fold_empty():
    records = some(100, ["big"] * 96 + ["a", "b", "c", "d"])
    assert set(fold_of(records).values()) == set(range(5))


def test_split_column():
    records = some(6, splits=["train", "Val", "train", "test", "validation", "training"])
    for fold in (0, 3):
        train, held_out = split(records, 5, fold)
        assert [r.case for r in train] == ["c000", "c002", "c005"]
        assert [r.case for r in held_out] == ["c001", "c004"]


def test_numbered_folds():
    records = some(6, splits=["0", "1", "2", "0", "1", "test"])
    train, held_out = split(records, 3, 1)
    assert [r.case for r in held_out] == ["c001", "c004"]
    assert [r.case for r in train] == ["c000", "c002", "c003"]


def test_train_and_test_alone():
    records = some(24, splits=["train"] * 20 + ["test"] * 4)
    where = fold_of(records)
    assert sorted(where) == [f"c{k:03}" for k in range(20)]
    assert set(Counter(where.values()).values()) == {4}


@pytest.mark.parametrize(
    ("records", "arguments", "error", "message"),
    [
        (some(10), (5, 5), BadArgument, "fold 5 of 5"),
        (some(10), (1, 0), BadArgument, "at least 2 folds"),
        (some(4), (5, 0), BadDataset, "found 4 groups in 4 cases"),
        (some(6, ["a"] * 3 + ["b"] * 3), (3, 0), BadDataset, "found 2 groups in 6 cases"),
        (some(3, splits=["train", None, "val"]), (2, 0), BadDataset, "some cases have no split; found none for c001"),
        (some(2, splits=["train", "dev"]), (2, 0), BadDataset, "unknown names of splits; found dev, train"),
        (some(2, splits=["0", "train"]), (2, 0), BadDataset, "unknown names of splits"),
        (some(2, ["p", "p"], ["train", "val"]), (2, 0), BadDataset, "more than one part.*found p"),
        (some(2, splits=["train", "train"]), (5, 0), BadDataset, "fewer groups"),
        (some(2, splits=["val", "val"]), (2, 0), BadDataset, "0 cases to train on"),
    ],
)
def test_faults(records, arguments, error, message):
    with pytest.raises(error, match=message):
        split(records, *arguments)
