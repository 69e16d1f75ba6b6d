"""Class maps, the joint histogram and the overlap scores, by hand and against loops."""

import numpy as np
import pytest
import torch

from medframe.base import BadArgument, BadGeometry, BadLabel
from medframe.metrics import Dice, IoU, Volume, Voxels, joint_histogram, score_case

TRUTH = np.array([[1, 1, 2], [1, 2, 2], [0, 0, 0]])
FOUND = np.array([[1, 2, 2], [1, 2, 0], [0, 1, 0]])
OVERLAP = (Dice(), IoU(), Voxels("prediction"), Voxels("reference"), Volume("prediction"), Volume("reference"))


def test_histogram_by_hand():
    # rows: reference 0, 1, 2; columns: prediction 0, 1, 2
    assert joint_histogram(FOUND, TRUTH, [1, 2]).tolist() == [[2, 1, 0], [0, 2, 1], [1, 0, 2]]


def test_overlap_by_hand():
    one, two = score_case(FOUND, TRUTH, (0.5, 2.5), {2: "tail", 1: "head"}, OVERLAP, case="a")
    assert (one.case, one.label, one.name, two.label, two.name) == ("a", 1, "head", 2, "tail")
    # both classes: 3 voxels each way, 2 in common; a voxel is 0.5 x 2.5 = 1.25
    assert one.values == pytest.approx((4 / 6, 2 / 4, 3, 3, 3.75, 3.75))
    assert two.values == pytest.approx(one.values)


@pytest.mark.parametrize(
    "labels",
    [(1, 2), (0, 1, 2), (-3, 7), (-1, 0, 5), (2, 614_454_277), (-(1 << 40), 3), tuple(range(1, 300))],
    ids=["usual", "background declared", "negative", "negative and 0", "wide", "wide negative", "300 classes"],
)
@pytest.mark.parametrize("shape", [(7, 9), (5, 6, 40)])
def test_histogram_equals_a_loop(labels, shape):
    rng = np.random.default_rng(len(labels))
    a, b = (rng.choice([0, *labels], size=shape) for _ in range(2))
    order = [*([] if 0 in labels else [0]), *labels]
    expected = [[int(np.sum((b == r) & (a == p))) for p in order] for r in order]
    got = joint_histogram(np.asfortranarray(a), b, labels)
    got = got[1:, 1:] if 0 in labels else got  # undeclared background cannot occur when 0 is declared
    assert got.tolist() == expected


@pytest.mark.parametrize(
    "kind", [np.uint8, np.int8, np.uint16, np.int32, np.uint64, torch.uint8, torch.int16, torch.int64]
)
def test_integer_types_agree(kind):
    if isinstance(kind, torch.dtype):
        a, b = (torch.from_numpy(x).to(kind).T for x in (FOUND, TRUTH))
    else:
        a, b = (x.astype(kind).T for x in (FOUND, TRUTH))
    assert joint_histogram(a, b, [1, 2]).tolist() == joint_histogram(FOUND, TRUTH, [1, 2]).tolist()


def test_neighbouring_large_labels_stay_apart():
    # 2**60 and 2**60 + 1 are one number in double precision
    labels = np.array([[1 << 60, (1 << 60) + 1, (1 << 60) + 1, 0]], dtype=np.uint64)
    found = joint_histogram(labels, labels, [1 << 60, (1 << 60) + 1])
    assert np.diag(found).tolist() == [1, 1, 2]


@pytest.mark.parametrize("to", [np.asarray, torch.from_numpy])
def test_bool_masks_are_labels_0_and_1(to):
    a, b = np.array([[True, False, True]]), np.array([[True, True, False]])
    assert joint_histogram(to(a), to(b), [1]).tolist() == [[0, 1], [1, 1]]


def test_the_inputs_are_left_as_they_were():
    a, b = FOUND.copy(), TRUTH.copy()
    score_case(a, b, (1, 1), [1, 2], case="a")
    assert np.array_equal(a, FOUND)
    assert np.array_equal(b, TRUTH)


ONE = np.ones((3, 3), int)


@pytest.mark.parametrize(
    ("prediction", "reference", "spacing", "classes", "error", "says"),
    [
        (ONE, np.ones((3, 4), int), (1, 1), [1], BadGeometry, r"prediction \(3, 3\), reference \(3, 4\)"),
        (ONE[None, None], ONE[None, None], (1,) * 4, [1], BadGeometry, "no channel axis"),
        (np.ones((0, 3), int), np.ones((0, 3), int), (1, 1), [1], BadGeometry, r"\(0, 3\)"),
        (np.array(1), np.array(1), (), [1], BadGeometry, "spatial axes"),
        (ONE * 1.0, ONE, (1, 1), [1], BadLabel, "prediction.*float64"),
        (ONE, torch.ones(3, 3), (1, 1), [1], BadLabel, "reference.*float32"),
        (torch.ones(3, 3, dtype=torch.bfloat16), ONE, (1, 1), [1], BadLabel, "bfloat16"),
        (ONE * 7, ONE, (1, 1), [1, 3], BadLabel, "prediction.*found 7;.*0 or one of 1, 3"),
        (ONE, ONE * 2, (1, 1), [1, 3], BadLabel, "reference.*found 2"),
        (ONE, ONE * -1, (1, 1), [1], BadLabel, "found -1"),
        (np.arange(100).reshape(10, 10), np.zeros((10, 10), int), (1, 1), [1], BadLabel, "2, 3, .*and 88 more"),
        (ONE * 5, ONE, (1, 1), [1, 1 << 30], BadLabel, "found 5"),
        (ONE, ONE, (1, 0), [1], BadArgument, "spacing"),
        (ONE, ONE, (1, -2.0), [1], BadArgument, "-2.0"),
        (ONE, ONE, (1, float("nan")), [1], BadArgument, "nan"),
        (ONE, ONE, (1, float("inf")), [1], BadArgument, "inf"),
        (ONE, ONE, (1, 1, 1), [1], BadArgument, "2 positive"),
        (ONE, ONE, 1.0, [1], BadArgument, "spacing"),
        (ONE, ONE, (1, "mm"), [1], BadArgument, "spacing"),
        (ONE, ONE, (1, 1), [], BadArgument, "no class"),
        (ONE, ONE, (1, 1), [1, 1], BadArgument, "twice"),
        (ONE, ONE, (1, 1), [True], BadArgument, "True"),
        (ONE, ONE, (1, 1), ["liver"], BadArgument, "liver"),
        (ONE, ONE, (1, 1), [1 << 64], BadArgument, "64-bit"),
    ],
)
def test_errors_name_what_was_given(prediction, reference, spacing, classes, error, says):  # noqa: PLR0917
    with pytest.raises(error, match=says):
        score_case(prediction, reference, spacing, classes, case="a")


@pytest.mark.parametrize("metrics", [(), (Dice(), Dice())])
def test_metrics_must_make_distinct_columns(metrics):
    with pytest.raises(BadArgument, match="metrics"):
        score_case(ONE, ONE, (1, 1), [1], metrics, case="a")


@pytest.mark.parametrize("amount", [Voxels, Volume])
def test_amounts_know_two_sides(amount):
    with pytest.raises(BadArgument, match="'truth'"):
        amount("truth")
