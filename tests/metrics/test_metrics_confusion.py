"""Rates of the confusion table against scikit-learn, and where they are undefined."""

import math
from typing import get_args

import numpy as np
import pytest
import torch

from medframe.base import BadArgument
from medframe.metrics import ClassPair, ConfusionRate, Dice, EmptyPolicy, FBeta, VolumeDifference, score_case
from medframe.metrics.confusion import RateName

RATES = tuple(ConfusionRate(name) for name in get_args(RateName))


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(4)
    truth = rng.random((9, 10, 7)) < 0.3
    return np.where(rng.random(truth.shape) < 0.2, ~truth, truth), truth


def values(found, truth, metrics, **options):
    (row,) = score_case(found, truth, (1.0,) * truth.ndim, [1], metrics, case="a", **options)
    return dict(zip(row.columns, row.values, strict=True))


def test_rates_equal_scikit_learn(pair):
    sklearn = pytest.importorskip("sklearn.metrics")
    y, x = (m.ravel() for m in pair[::-1])
    sensitivity, precision = sklearn.recall_score(y, x), sklearn.precision_score(y, x)
    specificity, npv = sklearn.recall_score(~y, ~x), sklearn.precision_score(~y, ~x)
    fall_out = 1 - specificity
    expected = {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": precision,
        "negative_predictive_value": npv,
        "miss_rate": 1 - sensitivity,
        "fall_out": fall_out,
        "false_discovery_rate": 1 - precision,
        "false_omission_rate": 1 - npv,
        "accuracy": sklearn.accuracy_score(y, x),
        "balanced_accuracy": sklearn.balanced_accuracy_score(y, x),
        "informedness": sklearn.balanced_accuracy_score(y, x, adjusted=True),
        "markedness": precision + npv - 1,
        "mcc": sklearn.matthews_corrcoef(y, x),
        "fowlkes_mallows": math.sqrt(precision * sensitivity),
        "prevalence_threshold": (math.sqrt(sensitivity * fall_out) - fall_out) / (sensitivity - fall_out),
    }
    assert values(*pair, RATES) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1, 2])
def test_f_beta_equals_scikit_learn(pair, beta):
    sklearn = pytest.importorskip("sklearn.metrics")
    expected = sklearn.fbeta_score(pair[1].ravel(), pair[0].ravel(), beta=beta)
    assert values(*pair, (FBeta(beta),)) == pytest.approx({f"f{beta:g}": expected})


def test_f1_is_dice(pair):
    got = values(*pair, (FBeta(), Dice()))
    assert got["f1"] == pytest.approx(got["dice"], rel=1e-15)


def test_rates_are_undefined_where_they_divide_by_zero():
    nothing, everything = np.zeros((3, 4), bool), np.ones((3, 4), bool)
    policy = EmptyPolicy("perfect", "diagonal")  # it decides nothing here
    absent = values(nothing, nothing, RATES, empty=policy)
    assert {k for k, v in absent.items() if not math.isnan(v)} == {
        "specificity",
        "negative_predictive_value",
        "fall_out",
        "false_omission_rate",
        "accuracy",
    }
    missed = values(nothing, everything, RATES)
    assert (missed["sensitivity"], missed["miss_rate"], missed["accuracy"]) == (0, 1, 0)
    assert math.isnan(missed["precision"])
    assert math.isnan(missed["specificity"])
    assert values(nothing, nothing, (FBeta(2),), empty=policy) == {"f2": 1.0}


def test_mcc_of_large_counts_is_exact():
    # the product of the four sums, 4e39 and more, is beyond 64-bit integers
    n = 4 * 10**9
    assert ConfusionRate("mcc").value(ClassPair(2 * n, 2 * n, n, 4 * n, (1.0,))) == pytest.approx(0, abs=1e-15)
    assert ConfusionRate("mcc").value(ClassPair(n, n, n, 4 * n, (1.0,))) == pytest.approx(1, rel=1e-15)


def test_true_negatives_need_the_whole_map():
    pair = ClassPair(predicted=4, reference=5, both=3, total=20, spacing=(1, 1))
    assert (pair.false_positive, pair.false_negative, pair.true_negative) == (1, 2, 14)


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        (3, 2, {"signed": 2.5, "absolute": 2.5, "relative": 0.5, "symmetric": 0.4}),
        (1, 4, {"signed": -7.5, "absolute": 7.5, "relative": -0.75, "symmetric": -1.2}),
        (2, 0, {"signed": 5, "absolute": 5, "relative": math.inf, "symmetric": 2}),
        (0, 2, {"signed": -5, "absolute": 5, "relative": -1, "symmetric": -2}),
        (0, 0, {"signed": 0, "absolute": 0, "relative": math.nan, "symmetric": math.nan}),
    ],
)
def test_volume_differences_by_hand(found, truth, expected):
    a, b = (np.arange(6).reshape(2, 3) < n for n in (found, truth))
    kinds = tuple(VolumeDifference(kind) for kind in expected)
    (row,) = score_case(a, b, (0.5, 5.0), [1], kinds, case="a")
    assert row.values == pytest.approx(tuple(expected.values()), nan_ok=True)
    assert row.columns == tuple(f"volume_difference_{kind}" for kind in expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.bool])
def test_counts_do_not_depend_on_the_container(pair, dtype):
    tensors = [torch.from_numpy(m).to(dtype) for m in pair]
    assert values(*tensors, RATES) == values(*pair, RATES)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConfusionRate("recall"),
        lambda: FBeta(0),
        lambda: FBeta(math.nan),
        lambda: VolumeDifference("percent"),
    ],
)
def test_bad_settings(make):
    with pytest.raises(BadArgument, match="expected"):
        make()
