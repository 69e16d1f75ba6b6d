"""The generalised Dice by hand, its weights and absent classes."""

import math

import numpy as np
import pytest

from medframe.base import BadArgument
from medframe.metrics import Dice, EmptyPolicy, GeneralizedDice, Table, score_case, score_whole, summarise

TRUTH = np.array([[1, 1, 1, 1], [2, 2, 0, 0]])
FOUND = np.array([[1, 1, 1, 2], [2, 0, 0, 0]])
KINDS = (GeneralizedDice(), GeneralizedDice("simple"), GeneralizedDice("uniform"))


def value(found, truth, classes=(1, 2), metrics=KINDS, **options):
    row = score_whole(found, truth, (1.0, 1.0), classes, metrics, case="a", **options)
    assert (row.label, row.name) == (None, "whole case")
    return dict(zip(row.columns, row.values, strict=True))


def test_by_hand():
    # class 1: 4 true, 3 found, 3 in common; class 2: 2 true, 2 found, 1 in common
    assert value(FOUND, TRUTH) == pytest.approx(
        {
            "generalized_dice": 2 * (3 / 16 + 1 / 4) / (7 / 16 + 4 / 4),
            "generalized_dice_simple": 2 * (3 / 4 + 1 / 2) / (7 / 4 + 4 / 2),
            "generalized_dice_uniform": 2 * 4 / 11,
        }
    )


def test_of_one_class_it_is_dice():
    (row,) = score_case(FOUND == 1, TRUTH == 1, (1, 1), [1], (Dice(),), case="a")
    assert list(value(FOUND == 1, TRUTH == 1, [1]).values()) == pytest.approx([row["dice"]] * 3)


def test_a_class_that_the_reference_lacks_weighs_like_the_rarest():
    found = np.array([[1, 1, 1, 3], [2, 0, 0, 0]])
    # class 3 weighs 1/4 as class 2 does, and adds one voxel found
    assert value(found, TRUTH, [1, 2, 3])["generalized_dice"] == pytest.approx(
        2 * (3 / 16 + 1 / 4) / (7 / 16 + 3 / 4 + 1 / 4)
    )
    assert value(found, np.zeros_like(TRUTH), [1, 2, 3])["generalized_dice"] == 0


@pytest.mark.parametrize(("policy", "expected"), [(EmptyPolicy(), math.nan), (EmptyPolicy("perfect"), 1.0)])
def test_nothing_there_and_nothing_found(policy, expected):
    nothing = np.zeros((2, 3), int)
    assert list(value(nothing, nothing, empty=policy).values()) == pytest.approx([expected] * 3, nan_ok=True)


def test_rows_of_whole_cases_make_a_table():
    rows = [score_whole(FOUND, TRUTH, (1, 1), [1, 2], KINDS, case=case) for case in "ab"]
    summary = summarise(Table(rows))
    assert [s.label for s in summary] == [None] * 3  # no second line for "all"
    assert summary.of("generalized_dice").n == 2


def test_bad_weight():
    with pytest.raises(BadArgument, match="'square'"):
        GeneralizedDice("cube")
