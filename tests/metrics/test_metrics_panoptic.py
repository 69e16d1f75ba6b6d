"""Instance matching and panoptic quality by hand, against loops, and pooled over cases."""

import itertools
import math

import numpy as np
import pytest
import torch

from medframe.base import BadArgument, BadGeometry, BadLabel
from medframe.metrics import EmptyPolicy, InstanceCounts, Table, match_instances, pooled_instances, score_instances
from medframe.metrics.panoptic import INSTANCE_COLUMNS

TRUTH = np.array([[1, 1, 1, 0, 2, 2], [1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 7, 7]])
FOUND = np.array([[9, 9, 9, 0, 3, 0], [9, 9, 0, 0, 0, 0], [4, 0, 0, 0, 5, 5]])


def test_by_hand():
    # 1 and 9: 5 of 6; 2 and 3: 1 of 2, not above a half; 7 and 5: all; 4 meets none
    counts = match_instances(FOUND, TRUTH)
    assert (counts.matched, counts.missed, counts.spurious) == (2, 1, 2)
    assert counts.iou_sum == pytest.approx(5 / 6 + 1)
    assert counts.segmentation_quality == pytest.approx(11 / 12)
    assert counts.recognition_quality() == pytest.approx(2 / 3.5)
    assert counts.panoptic_quality() == pytest.approx(11 / 12 * 2 / 3.5)
    low = match_instances(FOUND, TRUTH, threshold=0.4)
    assert (low.matched, low.missed, low.spurious) == (3, 0, 1)


def brute_force(found, truth, threshold):
    """The best sum over all one-to-one pairings."""
    made, due = ([v for v in np.unique(m) if v] for m in (found, truth))
    iou = {}
    for a, b in itertools.product(made, due):
        x, y = found == a, truth == b
        iou[a, b] = (x & y).sum() / (x | y).sum()
    longer, shorter = (made, due) if len(made) >= len(due) else (due, made)
    best = (0.0, 0)
    for chosen in itertools.permutations(longer, len(shorter)):
        pairs = zip(chosen, shorter, strict=True) if longer is made else zip(shorter, chosen, strict=True)
        good = [iou[pair] for pair in pairs if iou[pair] > threshold]
        best = max(best, (sum(good), len(good)))
    return best


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.7])
@pytest.mark.parametrize("seed", range(6))
def test_pairs_have_the_largest_sum(threshold, seed):
    rng = np.random.default_rng(seed)
    truth, found = (rng.integers(0, 5, (4, 5)).repeat(2, 1) for _ in range(2))
    found = np.where(rng.random(found.shape) < 0.6, truth, found)
    counts = match_instances(found, truth, threshold=threshold)
    total, matched = brute_force(found, truth, threshold)
    assert counts.iou_sum == pytest.approx(total)
    assert counts.matched == matched
    assert counts.matched + counts.missed == len(set(truth.ravel()) - {0})
    assert counts.matched + counts.spurious == len(set(found.ravel()) - {0})


def test_components_are_instances():
    truth = np.zeros((6, 9), int)
    truth[1:3, 1:3], truth[1:3, 5:8], truth[4:6, 1:4] = 1, 1, 2
    found = truth.copy()
    found[1:3, 5:8] = 0  # one lesion is missed
    found[5, 8] = 2  # and one is made up
    rows = score_instances(torch.from_numpy(found), truth, {1: "lesion", 2: "node"}, case="a")
    assert rows[0].columns == INSTANCE_COLUMNS
    assert rows[0].values == pytest.approx((1 / 1.5, 1, 1 / 1.5, 1, 1, 0, 1))
    assert rows[1].values == pytest.approx((1 / 1.5, 1, 1 / 1.5, 1, 0, 1, 1))


def test_pooled_counts_are_those_of_all_cases():
    rng = np.random.default_rng(0)
    cases = [[rng.random((8, 9)) < 0.4 for _ in range(2)] for _ in range(4)]
    rows = [row for k, pair in enumerate(cases) for row in score_instances(*pair, [1], case=f"case {k}")]
    table = Table(rows[:2]).merge(Table(rows[2:]))
    pooled = pooled_instances(table, 1)
    side_by_side = [np.concatenate([np.pad(pair[k], 1) for pair in cases]) for k in range(2)]
    (whole,) = score_instances(*side_by_side, [1], case="all")
    assert pooled.panoptic_quality() == pytest.approx(whole["pq"])
    single = [InstanceCounts(*(int(row[c]) for c in INSTANCE_COLUMNS[3:6]), row["iou_sum"]) for row in table]
    merged = single[0].merge(*single[1:])
    assert (merged.matched, merged.missed, merged.spurious) == (pooled.matched, pooled.missed, pooled.spurious)
    assert merged.iou_sum == pytest.approx(pooled.iou_sum)


@pytest.mark.parametrize(("policy", "expected"), [(EmptyPolicy(), math.nan), (EmptyPolicy("perfect"), 1.0)])
def test_no_instances(policy, expected):
    nothing, something = np.zeros((3, 3), int), np.eye(3, dtype=int)
    (row,) = score_instances(nothing, nothing, [1], case="a", empty=policy)
    assert row.values == pytest.approx((expected, math.nan, expected, 0, 0, 0, 0), nan_ok=True)
    for pair in ((nothing, something), (something, nothing)):
        (row,) = score_instances(*pair, [1], case="a", empty=policy)
        assert row.values[:3] == pytest.approx((0, math.nan, 0), nan_ok=True)


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (BadArgument, lambda: match_instances(FOUND, TRUTH, threshold=1.0)),
        (BadArgument, lambda: match_instances(FOUND, TRUTH, threshold=math.nan)),
        (BadArgument, lambda: score_instances(FOUND, FOUND, [0, 3, 4, 5, 9], case="a")),
        (BadLabel, lambda: score_instances(FOUND, TRUTH, [1, 2], case="a")),
        (BadLabel, lambda: match_instances(FOUND * 1.0, TRUTH)),
        (BadGeometry, lambda: match_instances(FOUND, TRUTH[:2])),
    ],
)
def test_bad_arguments(error, make):
    with pytest.raises(error):
        make()
