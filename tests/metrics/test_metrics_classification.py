"""Measures of classified cases against scikit-learn, with ties, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medframe.base import BadArgument
from medframe.base.rng import Rng
from medframe.metrics import (
    ConfusionRate,
    Dice,
    FBeta,
    Hausdorff,
    Table,
    average_precision,
    bootstrap_cases,
    cohen_kappa,
    confusion_matrix,
    each_class,
    over_classes,
    read_table,
    roc_auc,
    roc_auc_pairs,
    roc_curve,
    score_matrix,
    scores_row,
    truth_and_scores,
    write_table,
)

sklearn = pytest.importorskip("sklearn.metrics")


def cases(n=60, classes=None, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    if classes is None:
        return rng.integers(0, 2, n), np.round(rng.random(n), 1 if ties else 9)
    scores = np.round(rng.dirichlet(np.ones(classes), n), 2)
    return rng.integers(0, classes, n), scores / scores.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=40))
def test_two_classes_equal_scikit_learn(pairs):
    y, s = np.array(pairs).T
    if y.any():
        assert average_precision(y, s) == pytest.approx(sklearn.average_precision_score(y, s), rel=1e-12)
    if len(set(y)) == 2:
        assert roc_auc(y, s) == pytest.approx(sklearn.roc_auc_score(y, s), rel=1e-12)
        curve, (fpr, tpr, thresholds) = roc_curve(y, s), sklearn.roc_curve(y, s, drop_intermediate=False)
        np.testing.assert_allclose(curve.false_positive_rate, fpr)
        np.testing.assert_allclose(curve.true_positive_rate, tpr)
        np.testing.assert_array_equal(curve.thresholds, thresholds)
        area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
        assert area == pytest.approx(roc_auc(y, s))


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
def test_several_classes_equal_scikit_learn(average):
    y, s = cases(classes=4)
    hot = np.eye(4, dtype=int)[y]
    for ours, theirs in ((roc_auc, sklearn.roc_auc_score), (average_precision, sklearn.average_precision_score)):
        expected = theirs(hot, s, average=average)
        assert over_classes(ours, y, s, average) == pytest.approx(expected, rel=1e-12)
        assert over_classes(ours, hot, s, average) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(each_class(roc_auc, y, s), sklearn.roc_auc_score(hot, s, average=None))
    assert roc_auc_pairs(y, s) == pytest.approx(sklearn.roc_auc_score(y, s, multi_class="ovo"), rel=1e-12)


def test_undefined_classes_are_nan_and_left_out():
    y, s = np.array([0, 0, 1, 1]), np.array([[0.6, 0.3, 0.1], [0.3, 0.4, 0.3], [0.5, 0.2, 0.3], [0.2, 0.3, 0.5]])
    values = each_class(roc_auc, y, s)
    assert math.isnan(values[2])
    assert over_classes(roc_auc, y, s) == pytest.approx(values[:2].mean())
    assert roc_auc_pairs(y, s) == pytest.approx(values[:2].mean())
    assert math.isnan(roc_auc([1, 1], [0.1, 0.2]))
    assert math.isnan(average_precision([0, 0], [0.1, 0.2]))
    assert np.isnan(roc_curve([1, 1], [0.1, 0.2]).false_positive_rate[1:]).all()
    assert math.isnan(over_classes(roc_auc, [0, 0], np.eye(2)))


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_matrix_and_kappa_equal_scikit_learn(weights):
    rng = np.random.default_rng(2)
    y = rng.integers(0, 4, 80)
    x = np.where(rng.random(80) < 0.5, y, rng.integers(0, 4, 80))
    matrix = confusion_matrix(y, x, range(4))
    np.testing.assert_array_equal(matrix, sklearn.confusion_matrix(y, x))
    assert cohen_kappa(matrix, weights) == pytest.approx(sklearn.cohen_kappa_score(y, x, weights=weights), rel=1e-12)
    halves = [confusion_matrix(y[part], x[part], range(4)) for part in (slice(33), slice(33, None))]
    np.testing.assert_array_equal(sum(halves), matrix)


def test_kappa_of_one_class_is_undefined():
    assert math.isnan(cohen_kappa(np.array([[5, 0], [0, 0]])))
    assert math.isnan(cohen_kappa(np.zeros((2, 2), int)))


def test_rates_of_a_matrix_equal_scikit_learn():
    rng = np.random.default_rng(3)
    y, x = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    metrics = (ConfusionRate("precision"), ConfusionRate("sensitivity"), FBeta(2))
    rows = score_matrix(confusion_matrix(y, x, range(3)), {0: "none", 1: "mild", 2: "grave"}, metrics, case="fold 0")
    expected = sklearn.precision_recall_fscore_support(y, x, beta=2)[:3]
    np.testing.assert_allclose(np.array([row.values for row in rows]).T, expected)
    assert [row.name for row in rows] == ["none", "mild", "grave"]


def test_scores_travel_as_a_table(tmp_path):
    y, s = cases(30, classes=3)
    rows = [scores_row(f"case {k:02}", y[k], s[k]) for k in range(30)]
    table = Table(rows[::2]).merge(Table(rows[1::2]))
    write_table(tmp_path / "scores.csv", table)
    truth, scores = truth_and_scores(read_table(tmp_path / "scores.csv"))
    np.testing.assert_array_equal(truth, y)
    np.testing.assert_array_equal(scores, s)
    one = truth_and_scores(Table([scores_row("a", 1, [0.25]), scores_row("b", 0, [0.5])]))
    assert [part.tolist() for part in one] == [[1, 0], [0.25, 0.5]]


def test_interval_of_an_auc_covers_it_and_narrows_with_cases():
    widths = []
    for n in (30, 300):
        y, s = cases(n, seed=5)
        lo, hi = bootstrap_cases(lambda k, y=y, s=s: roc_auc(y[k], s[k]), n, Rng(1), resamples=300)
        assert lo < roc_auc(y, s) < hi
        widths.append(hi - lo)
    assert widths[1] < widths[0] / 2
    assert all(math.isnan(v) for v in bootstrap_cases(lambda _: 1.0, 1, Rng(1)))
    assert all(math.isnan(v) for v in bootstrap_cases(lambda _: math.nan, 9, Rng(1), resamples=20))


ONES = np.ones((2, 2), int)


@pytest.mark.parametrize(
    "make",
    [
        lambda: roc_auc([0, 1], [0.1]),
        lambda: roc_auc([0, 2], [0.1, 0.2]),
        lambda: roc_auc([0, 1], [0.1, math.nan]),
        lambda: over_classes(roc_auc, [0, 3], np.ones((2, 2))),
        lambda: over_classes(roc_auc, [0, 1], [0.1, 0.2]),
        lambda: over_classes(roc_auc, [0, 1], np.ones((2, 2)), "samples"),
        lambda: confusion_matrix([0, 1], [0], [0, 1]),
        lambda: confusion_matrix([0, 5], [0, 1], [0, 1]),
        lambda: score_matrix(ONES, [1, 2, 3], [Dice()], case="a"),
        lambda: score_matrix(ONES, [1, 2], [Hausdorff()], case="a"),
        lambda: cohen_kappa(ONES, "cubic"),
        lambda: truth_and_scores(Table()),
        lambda: bootstrap_cases(lambda _: 0.0, 5, Rng(0), confidence=1.0),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(BadArgument, match="expected"):
        make()
