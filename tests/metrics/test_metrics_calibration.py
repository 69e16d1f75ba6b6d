"""Reliability bins, calibration errors and the Brier score, by hand, by a loop and against scikit-learn."""

import math

import numpy as np
import pytest
import torch

from medframe.base import BadArgument, BadGeometry, BadVoxels
from medframe.metrics import Table, calibration_row, reliability


def softmax(shape, seed=0, dtype=np.float64):
    x = np.exp(2 * np.random.default_rng(seed).standard_normal(shape))
    return (x / x.sum(axis=0)).astype(dtype)


def test_by_hand():
    p = np.array([[0.95, 0.3, 0.6, 0.1], [0.05, 0.7, 0.4, 0.9]])
    found = reliability(p, np.array([0, 1, 1, 0]), bins=5)
    assert found.counts.tolist() == [0, 0, 1, 1, 2]  # 0.6 is the end of the third bin
    np.testing.assert_allclose(found.mean_confidence, [math.nan, math.nan, 0.6, 0.7, 0.925])
    np.testing.assert_allclose(found.accuracy, [math.nan, math.nan, 0, 1, 0.5])
    assert found.expected_error == pytest.approx((0.6 + 0.3 + 2 * 0.425) / 4)
    assert found.average_error == pytest.approx((0.6 + 0.3 + 0.425) / 3)
    assert found.largest_error == pytest.approx(0.6)
    assert found.brier == pytest.approx(2 * (0.05**2 + 0.3**2 + 0.6**2 + 0.9**2) / 4)
    row = calibration_row(found, "a")
    expected = (found.expected_error, found.average_error, found.largest_error, found.brier)
    assert (row.columns, row.values) == (("ece", "ace", "mce", "brier"), expected)


@pytest.mark.parametrize("label", [None, 0, 2])
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_equals_a_loop(label, bins):
    p, y = softmax((3, 5, 6, 4)), np.random.default_rng(1).integers(0, 3, (5, 6, 4))
    found = reliability(p, y, bins=bins, label=label)
    flat, truth = p.reshape(3, -1), y.ravel()
    confidence = flat.max(axis=0) if label is None else flat[label]
    came_true = (flat.argmax(axis=0) == truth) if label is None else truth == label
    for k in range(bins):
        inside = [i for i, c in enumerate(confidence) if (k / bins < c or (k == 0 and c == 0)) and c <= (k + 1) / bins]
        assert found.counts[k] == len(inside)
        assert found.confidence[k] == pytest.approx(sum(confidence[i] for i in inside))
        assert found.correct[k] == sum(came_true[i] for i in inside)


def test_brier_and_bins_equal_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    curve = pytest.importorskip("sklearn.calibration").calibration_curve
    p, y = softmax((3, 400)), np.random.default_rng(1).integers(0, 3, 400)
    assert reliability(p, y).brier == pytest.approx(sklearn.brier_score_loss(y, p.T, labels=[0, 1, 2]))
    one = reliability(p, y, label=1, bins=10)
    assert one.brier == pytest.approx(sklearn.brier_score_loss(y == 1, p[1]))
    accuracy, confidence = curve(y == 1, p[1], n_bins=10)
    np.testing.assert_allclose(one.accuracy[one.counts > 0], accuracy)
    np.testing.assert_allclose(one.mean_confidence[one.counts > 0], confidence)


def test_parts_merge_to_the_whole():
    p, y = softmax((4, 90)), np.random.default_rng(2).integers(0, 4, 90)
    whole = reliability(p, y)
    parts = [reliability(p[:, k::3], y[k::3]) for k in range(3)]
    merged = parts[2].merge(*parts[:2])
    np.testing.assert_array_equal(merged.counts, whole.counts)
    np.testing.assert_allclose(merged.confidence, whole.confidence)
    assert merged.brier == pytest.approx(whole.brier)
    assert merged.expected_error == pytest.approx(whole.expected_error)
    with pytest.raises(BadArgument, match="bins"):
        whole.merge(reliability(p, y, bins=3))


def test_a_mask_picks_voxels():
    p, y = softmax((2, 6, 7)), np.random.default_rng(3).integers(0, 2, (6, 7))
    mask = np.random.default_rng(4).random((6, 7)) < 0.5
    inside, chosen = reliability(p, y, mask=mask), reliability(p[:, mask], y[mask])
    assert inside.expected_error == chosen.expected_error
    nothing = reliability(p, y, mask=np.zeros((6, 7)))
    assert all(math.isnan(v) for v in calibration_row(nothing, "a").values)
    assert len(Table([calibration_row(nothing, "a"), calibration_row(inside, "b")])) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_tensors_of_narrow_types(dtype):
    p, y = torch.from_numpy(softmax((3, 200))), torch.from_numpy(np.random.default_rng(1).integers(0, 3, 200))
    assert reliability(p.to(dtype), y).expected_error == pytest.approx(reliability(p, y).expected_error, abs=0.02)


def test_perfect_forecasts():
    y = np.array([0, 1, 1])
    found = reliability(np.eye(2)[y].T, y)
    assert (found.expected_error, found.largest_error, found.brier) == (0, 0, 0)


GOOD, TRUTH = np.full((2, 3), 0.5), np.array([0, 1, 0])


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (BadGeometry, lambda: reliability(GOOD, TRUTH[:2])),
        (BadGeometry, lambda: reliability(GOOD, TRUTH * 1.0)),
        (BadGeometry, lambda: reliability(GOOD, TRUTH, mask=np.ones(2))),
        (BadVoxels, lambda: reliability(GOOD * 2.5, TRUTH)),
        (BadVoxels, lambda: reliability(GOOD * 0.9, TRUTH)),
        (BadVoxels, lambda: reliability(GOOD * np.nan, TRUTH)),
        (BadVoxels, lambda: reliability(GOOD * np.nan, TRUTH, label=0)),
        (BadArgument, lambda: reliability(GOOD, TRUTH + 1)),
        (BadArgument, lambda: reliability(GOOD, TRUTH, bins=0)),
        (BadArgument, lambda: reliability(GOOD, TRUTH, label=2)),
    ],
)
def test_bad_arguments(error, make):
    with pytest.raises(error):
        make()
