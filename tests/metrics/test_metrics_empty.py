"""Absent classes: each policy gives the value its table promises."""

import math

import numpy as np
import pytest

from medframe.base import BadArgument
from medframe.metrics import (
    USUAL_METRICS,
    AverageSurfaceDistance,
    Dice,
    EmptyPolicy,
    Hausdorff,
    IoU,
    SurfaceDice,
    Volume,
    Voxels,
    score_case,
)

NAN, INF = math.nan, math.inf
METRICS = (Dice(), IoU(), SurfaceDice(), Hausdorff(), Hausdorff(95), AverageSurfaceDistance(), Voxels(), Volume())
NOTHING = np.zeros((3, 4), int)
SOMETHING = np.eye(3, 4, dtype=int)  # three voxels
DIAGONAL = math.hypot(3 * 2.0, 4 * 2.0)  # 10 mm


@pytest.mark.parametrize(
    ("prediction", "reference", "policy", "score", "distance"),
    [
        (NOTHING, NOTHING, EmptyPolicy(), NAN, NAN),
        (NOTHING, NOTHING, EmptyPolicy(both="nan", one="diagonal"), NAN, NAN),
        (NOTHING, NOTHING, EmptyPolicy(both="perfect"), 1, 0),
        (NOTHING, SOMETHING, EmptyPolicy(), 0, INF),
        (SOMETHING, NOTHING, EmptyPolicy(), 0, INF),
        (SOMETHING, NOTHING, EmptyPolicy(both="perfect", one="nan"), 0, NAN),
        (NOTHING, SOMETHING, EmptyPolicy(one="nan"), 0, NAN),
        (NOTHING, SOMETHING, EmptyPolicy(one="diagonal"), 0, DIAGONAL),
        (SOMETHING, NOTHING, EmptyPolicy(one="diagonal"), 0, DIAGONAL),
        (SOMETHING, SOMETHING, EmptyPolicy(both="perfect", one="diagonal"), 1, 0),
    ],
)
def test_policies(prediction, reference, policy, score, distance):
    (row,) = score_case(prediction, reference, (2.0, 2.0), [1], METRICS, case="a", empty=policy)
    n = int(prediction.sum())
    assert row.values == pytest.approx((*[score] * 3, *[distance] * 3, n, n * 4.0), nan_ok=True)


def test_the_default_policy_is_nan_and_inf():
    rows = score_case(NOTHING, SOMETHING, (1, 1), [1, 2], USUAL_METRICS, case="a")
    assert [(r["dice"], r["hd95"]) for r in rows] == [(0, INF), pytest.approx((NAN, NAN), nan_ok=True)]


def test_no_measured_distance_reaches_the_diagonal():
    a, b = NOTHING.copy(), NOTHING.copy()
    a[0, 0] = b[-1, -1] = 1  # as far apart as two voxels can be
    (row,) = score_case(a, b, (2.0, 2.0), [1], (Hausdorff(),), case="a")
    assert row["hd"] == pytest.approx(math.hypot(4, 6))
    assert row["hd"] < DIAGONAL


@pytest.mark.parametrize("settings", [{"both": "zero"}, {"one": "perfect"}])
def test_unknown_policies(settings):
    with pytest.raises(BadArgument, match="'nan'"):
        EmptyPolicy(**settings)
