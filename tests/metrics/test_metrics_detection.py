"""Boxes and points against lesions: overlaps, average precision and FROC by hand, by loops and across ranks."""

import math
import pickle

import numpy as np
import pytest

from medframe.base import BadArgument, BadDataset, BadGeometry
from medframe.metrics import (
    Candidates,
    Detections,
    box_average_precision,
    box_iou,
    froc,
    mean_average_precision,
    point_hits,
    region_hits,
)


def case(name, scores, overlap, label=1):
    return Candidates(name, np.asarray(scores, float), np.asarray(overlap, float), label)


def test_box_overlap_by_hand():
    a = [[0, 0, 0, 2, 2, 2], [0, 0, 0, 1, 1, 1]]
    b = [[1, 1, 1, 3, 3, 3], [0, 0, 0, 2, 2, 1], [5, 5, 5, 5, 5, 5]]
    np.testing.assert_allclose(box_iou(a, b), [[1 / 15, 1 / 2, 0], [0, 1 / 4, 0]])
    assert box_iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert box_iou(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0, 0)


def test_box_overlap_equals_counted_voxels():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 7, (2, 6, 2, 3)), axis=2)
    a, b = corners.reshape(2, 6, 6)

    def mask(box):
        out = np.zeros((7, 7, 7), bool)
        out[tuple(slice(box[k], box[k + 3]) for k in range(3))] = True
        return out

    expected = [[(mask(x) & mask(y)).sum() / max(1, (mask(x) | mask(y)).sum()) for y in b] for x in a]
    np.testing.assert_allclose(box_iou(a, b), expected)


def test_points_hit_the_nearest_lesion_within_its_radius():
    centres, radii = [[0.0, 0.0], [3.0, 0.0], [20.0, 0.0]], [2.0, 2.0, 1.0]
    points = [[1.4, 0], [1.6, 0], [3, 2], [3, 2.1], [20, 0.5]]
    expected = [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert point_hits(points, centres, radii).tolist() == expected
    assert point_hits([], centres, radii).shape == (0, 3)
    assert point_hits(points, [], []).shape == (5, 0)


def test_points_hit_the_lesion_they_lie_in():
    lesions = np.array([[0, 1, 1], [2, 0, 3]])
    assert region_hits([[0, 0], [0, 2], [1, 0]], lesions).tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    with pytest.raises(BadGeometry):
        region_hits([[0, 3]], lesions)


def test_average_precision_by_hand():
    # by falling score: hit, alarm, second box on the same lesion (an alarm), hit; four lesions in all
    found = Detections(
        [
            case("a", [0.9, 0.7, 0.6], [[0.8, 0], [0.6, 0], [0, 0.5]]),
            case("b", [0.8, 0.1], [[0.1], [0.2]]),
            case("c", [], np.zeros((0, 1))),
        ]
    )
    recalls = np.arange(101) / 100
    expected = np.where(recalls <= 0.25, 1, np.where(recalls <= 0.5, 2 / 4, 0)).mean()
    assert box_average_precision(found, 1) == pytest.approx(expected)
    assert box_average_precision(found, 1, 0.7) == pytest.approx(np.where(recalls <= 0.25, 1, 0).mean())
    assert box_average_precision(found, 1, most=1) == pytest.approx(np.where(recalls <= 0.25, 1, 0).mean())
    thresholds = (0.5, 0.7)
    mean = np.mean([box_average_precision(found, 1, t) for t in thresholds])
    assert mean_average_precision(found, thresholds) == pytest.approx(mean)


def test_a_box_takes_the_free_lesion_it_overlaps_most():
    found = Detections([case("a", [0.9, 0.8], [[0.9, 0.6], [0.8, 0.0]])])
    assert box_average_precision(found, 1) == pytest.approx(np.where(np.arange(101) <= 50, 1, 0).mean())
    assert box_average_precision(Detections([case("a", [0.9, 0.8], [[0.6, 0.9], [0.8, 0.0]])]), 1) == 1


def random_cases(n=12, seed=0):
    rng = np.random.default_rng(seed)
    entries = []
    for k in range(n):
        size = rng.integers(0, 7), rng.integers(0, 4)
        overlap = np.where(rng.random(size) < 0.4, rng.random(size), 0)
        entries.append(case(f"case {k:02}", np.round(rng.random(size[0]), 1), overlap))
    return entries


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_froc_equals_a_loop_over_thresholds(threshold):
    entries = random_cases()
    curve = froc(Detections(entries), 1, threshold)
    lesions = sum(e.overlap.shape[1] for e in entries)
    for rate, sensitivity, limit in zip(curve.false_positives, curve.sensitivity, curve.thresholds, strict=True):
        alarms, hits = 0, set()
        for e in entries:
            for score, row in zip(e.scores, e.overlap, strict=True):
                if score >= limit and (not row.size or row.max() < threshold):
                    alarms += 1
                elif score >= limit:
                    hits.add((e.case, int(row.argmax())))
        assert (rate, sensitivity) == pytest.approx((alarms / len(entries), len(hits) / lesions))
    assert (curve.false_positives[0], curve.sensitivity[0]) == (0, 0)


def test_froc_score_by_hand():
    # two cases; at 0.9 one lesion of two and no alarm, at 0.5 an alarm, at 0.3 the other lesion
    found = Detections([case("a", [0.9, 0.5], [[1], [0]]), case("b", [0.3], [[1]])])
    curve = froc(found)
    assert curve.false_positives.tolist() == [0, 0, 0.5, 0.5]
    assert curve.sensitivity.tolist() == [0, 0.5, 0.5, 1]
    assert curve.at([0, 0.25, 0.5, 8]).tolist() == [0.5, 0.5, 1, 1]
    assert curve.score() == pytest.approx((0.5 + 0.5 + 5 * 1) / 7)


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_union_over_ranks_is_that_of_one_process(ranks):
    entries = random_cases()
    whole = Detections(entries)
    parts = [pickle.loads(pickle.dumps(Detections(entries[k::ranks]))) for k in range(ranks)]
    merged = parts[-1].merge(*parts[:-1], parts[0])  # a padded rank repeats cases
    assert merged == whole
    assert hash(merged) == hash(whole)
    assert mean_average_precision(merged, (0.1, 0.3)) == mean_average_precision(whole, (0.1, 0.3))
    other = Candidates("case 00", entries[0].scores + 1, entries[0].overlap)
    with pytest.raises(BadDataset, match="case 00, label 1"):
        whole.merge(Detections([other]))


def test_no_lesions_and_no_candidates():
    healthy = Detections([case("a", [0.5], np.zeros((1, 0)))])
    assert math.isnan(box_average_precision(healthy, 1))
    assert math.isnan(mean_average_precision(healthy))
    curve = froc(healthy)
    assert curve.false_positives.tolist() == [0, 1]
    assert np.isnan(curve.sensitivity).all()
    blind = Detections([case("a", [], np.zeros((0, 2)))])
    assert box_average_precision(blind, 1) == 0
    assert froc(blind).score() == 0
    two = Detections([*healthy, case("a", [0.5], [[1.0]], label=2)])
    assert two.labels == (1, 2)
    assert mean_average_precision(two) == 1.0  # the class without a lesion is left out


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (BadArgument, lambda: case("a", [0.5, math.nan], [[1], [1]])),
        (BadArgument, lambda: case("a", [0.5], [[1.5]])),
        (BadArgument, lambda: Candidates("a", np.zeros(2), np.zeros((1, 2)))),
        (BadArgument, lambda: froc(Detections(), 1)),
        (BadArgument, lambda: froc(Detections(random_cases()), 1, 0.0)),
        (BadArgument, lambda: box_average_precision(Detections(), 1, 1.1)),
        (BadGeometry, lambda: box_iou([[0, 0, 1]], [[0, 0, 1]])),
        (BadGeometry, lambda: box_iou([[2, 0, 1, 1]], [[0, 0, 1, 1]])),
        (BadGeometry, lambda: point_hits([[0, 0]], [[0, 0, 0]], [1])),
    ],
)
def test_bad_arguments(error, make):
    with pytest.raises(error):
        make()
