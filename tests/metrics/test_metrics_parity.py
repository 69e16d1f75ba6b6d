"""Every metric that MONAI has, too, over random, one-class and empty inputs; where they differ, it is shown how.

What differs by definition or because the source is wrong is asserted as such, so that a change on either side is seen.
"""

import math

import numpy as np
import pytest
import torch

from medframe.metrics import (
    MAE,
    MSE,
    PSNR,
    RMSE,
    SSIM,
    AverageSurfaceDistance,
    Candidates,
    ConfusionRate,
    Detections,
    Dice,
    EmptyPolicy,
    FBeta,
    FeatureMoments,
    GeneralizedDice,
    Hausdorff,
    IoU,
    LinearKernel,
    MultiScaleSSIM,
    RepeatedPredictions,
    SurfaceDice,
    VolumeDifference,
    average_precision,
    box_average_precision,
    box_iou,
    each_class,
    frechet_distance,
    froc,
    match_instances,
    mmd,
    over_classes,
    region_hits,
    reliability,
    roc_auc,
    score_case,
    score_image,
    score_whole,
)

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # MONAI warns of empty classes and of its own deprecations
]
monai = pytest.importorskip("monai.metrics", reason="the source that we compare with: pip install monai")

CLASSES = 3
RATES = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "negative_predictive_value": "npv",
    "miss_rate": "fnr",
    "fall_out": "fpr",
    "false_discovery_rate": "fdr",
    "false_omission_rate": "for",
    "accuracy": "accuracy",
    "balanced_accuracy": "ba",
    "informedness": "informedness",
    "markedness": "markedness",
    "mcc": "mcc",
    "fowlkes_mallows": "fm",
    "prevalence_threshold": "pt",
}


def hot(labels):
    """(*spatial) -> (1, K + 1, *spatial), background first."""
    return torch.moveaxis(torch.nn.functional.one_hot(torch.from_numpy(labels).long(), CLASSES + 1), -1, 0)[None]


def draw(kind, shape, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, CLASSES + 1, shape)
    found = np.where(rng.random(shape) < 0.6, truth, rng.integers(0, CLASSES + 1, shape))
    if kind == "one class":
        return (found > 1).astype(int), (truth > 1).astype(int)
    if kind == "missed":
        return np.where(found == 2, 0, found), truth
    if kind == "nothing":
        return np.zeros(shape, int), np.zeros(shape, int)
    return found, truth


KINDS = [
    (kind, shape, spacing, seed)
    for kind in ("random", "one class", "missed", "nothing")
    for shape, spacing in (((17, 14), (0.7, 2.5)), ((9, 11, 8), (1.0, 1.0, 1.0)), ((8, 7, 9), (0.6, 1.3, 2.5)))
    for seed in range(2)
]
every_kind = pytest.mark.parametrize(("kind", "shape", "spacing", "seed"), KINDS)


def both(pair, spacing, metric, theirs):
    """Our values and theirs, by class, and whether each class is in the prediction and in the reference."""
    rows = score_case(*pair, spacing, range(1, CLASSES + 1), [metric], case="a")
    here = np.array([[(m == k).any() for m in pair] for k in range(1, CLASSES + 1)])
    return np.array([row.values[0] for row in rows]), theirs.numpy().reshape(-1)[-CLASSES:], here


@every_kind
@pytest.mark.parametrize("name", ["dice", "iou"])
def test_overlap(kind, shape, spacing, seed, name):
    pair = draw(kind, shape, seed)
    metric, of = (Dice(), monai.compute_dice) if name == "dice" else (IoU(), monai.compute_iou)
    ours, theirs, here = both(pair, spacing, metric, of(*map(hot, pair)))
    false_alarm = here[:, 0] & ~here[:, 1]
    np.testing.assert_allclose(ours[~false_alarm], theirs[~false_alarm], rtol=1e-6)
    # a class that only the prediction has is a mistake: 0 here, left out of means (NaN) there
    assert (ours[false_alarm] == 0).all()
    assert np.isnan(theirs[false_alarm]).all()


@every_kind
@pytest.mark.parametrize("percentile", [100, 95, 50])
def test_hausdorff(kind, shape, spacing, seed, percentile):
    pair = draw(kind, shape, seed)
    theirs = monai.compute_hausdorff_distance(*map(hot, pair), percentile=percentile, spacing=spacing)
    ours, theirs, here = both(pair, spacing, Hausdorff(percentile), theirs)
    measured = here.all(axis=1)
    np.testing.assert_allclose(ours[measured], theirs[measured], rtol=1e-5)
    # absent in one: both say so, infinite or NaN
    assert not np.isfinite(ours[here.sum(axis=1) == 1]).any()
    assert not np.isfinite(theirs[here.sum(axis=1) == 1]).any()


@every_kind
@pytest.mark.parametrize("symmetric", [False, True])
def test_average_surface_distance(kind, shape, spacing, seed, symmetric):
    pair = draw(kind, shape, seed)
    theirs = monai.compute_average_surface_distance(*map(hot, pair), symmetric=symmetric, spacing=spacing)
    ours, theirs, here = both(pair, spacing, AverageSurfaceDistance(symmetric), theirs)
    np.testing.assert_allclose(ours[here.all(axis=1)], theirs[here.all(axis=1)], rtol=1e-5)


@every_kind
@pytest.mark.parametrize("tolerance", [0.5, 1.4])
def test_surface_dice_by_voxels(kind, shape, spacing, seed, tolerance):
    pair = draw(kind, shape, seed)
    theirs = monai.compute_surface_dice(*map(hot, pair), [tolerance] * CLASSES, spacing=spacing)
    ours, theirs, _ = both(pair, spacing, SurfaceDice(tolerance), theirs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@every_kind
def test_surface_dice_by_area(kind, shape, spacing, seed):
    pair = draw(kind, shape, seed)
    theirs = monai.compute_surface_dice(*map(hot, pair), [1.0] * CLASSES, spacing=spacing, use_subvoxels=True)
    ours, theirs, here = both(pair, spacing, SurfaceDice(1.0, by="area"), theirs)
    measured = here.all(axis=1)
    np.testing.assert_allclose(ours[measured], theirs[measured], rtol=1e-4)


@every_kind
@pytest.mark.parametrize("rate", RATES)
def test_rates(kind, shape, spacing, seed, rate):
    pair = draw(kind, shape, seed)
    counts = monai.get_confusion_matrix(*map(hot, pair))
    theirs = monai.compute_confusion_matrix_metric(RATES[rate], counts)
    ours, theirs, _ = both(pair, spacing, ConfusionRate(rate), theirs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@every_kind
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_f_beta(kind, shape, spacing, seed, beta):
    from monai.metrics.f_beta_score import compute_f_beta_score

    pair = draw(kind, shape, seed)
    theirs = compute_f_beta_score(monai.get_confusion_matrix(*map(hot, pair)), beta)
    ours, theirs, _ = both(pair, spacing, FBeta(beta), theirs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@every_kind
def test_volume_difference(kind, shape, spacing, seed):
    from monai.metrics.absolute_volume_difference import compute_absolute_volume_difference

    pair = draw(kind, shape, seed)
    theirs = compute_absolute_volume_difference(*map(hot, pair), include_background=False, ignore_empty=False)
    ours, theirs, _ = both(pair, spacing, VolumeDifference(), theirs)
    np.testing.assert_allclose(ours, theirs * math.prod(spacing), rtol=1e-6)  # theirs is in voxels


@every_kind
@pytest.mark.parametrize("weight", ["square", "simple", "uniform"])
def test_generalized_dice(kind, shape, spacing, seed, weight):
    pair = draw(kind, shape, seed)
    theirs = monai.compute_generalized_dice(
        *map(hot, pair), include_background=False, weight_type=weight, sum_over_classes=True
    )
    metric = GeneralizedDice(weight)
    row = score_whole(*pair, spacing, range(1, 4), [metric], case="a", empty=EmptyPolicy("perfect"))
    assert row[metric.name] == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("seed", range(4))
def test_panoptic_quality(threshold, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 6, (7, 6)).repeat(2, 0).repeat(3, 1)
    found = np.where(rng.random(truth.shape) < 0.75, truth, 0)
    theirs = monai.compute_panoptic_quality(
        torch.from_numpy(found), torch.from_numpy(truth), match_iou_threshold=threshold, output_confusion_matrix=True
    )
    ours = match_instances(found, truth, threshold=threshold)
    assert (ours.matched, ours.spurious, ours.missed, ours.iou_sum) == pytest.approx(theirs.tolist(), rel=1e-6)
    quality = monai.compute_panoptic_quality(
        torch.from_numpy(found), torch.from_numpy(truth), match_iou_threshold=threshold
    )
    assert ours.panoptic_quality() == pytest.approx(float(quality), rel=1e-5)  # theirs adds 1e-6 below


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
@pytest.mark.parametrize("ties", [False, True])
def test_classification(average, ties):
    rng = np.random.default_rng(3)
    y, s = rng.integers(0, 3, 60), rng.random((60, 3))
    s = np.round(s, 1) if ties else s
    hot_y, hot_s = torch.from_numpy(np.eye(3)[y]), torch.from_numpy(s)
    for ours, theirs in ((roc_auc, monai.compute_roc_auc), (average_precision, monai.compute_average_precision)):
        assert over_classes(ours, y, s, average) == pytest.approx(float(theirs(hot_s, hot_y, average)), rel=1e-6)
        np.testing.assert_allclose(each_class(ours, y, s), np.array(theirs(hot_s, hot_y, "none")), rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 24, 26), (2, 15, 14, 17)])
def test_images(shape):
    rng = np.random.default_rng(0)
    truth = rng.random(shape).astype(np.float32)
    found = (truth + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    x, y = (torch.from_numpy(m)[None] for m in (found, truth))
    dims = len(shape) - 1
    row = score_image(found, truth, [MAE(), MSE(), RMSE(), PSNR(2.0), SSIM(2.0), SSIMUniform], case="a")
    theirs = {
        "mae": monai.MAEMetric(),
        "mse": monai.MSEMetric(),
        "rmse": monai.RMSEMetric(),
        "psnr": monai.PSNRMetric(2.0),
        "ssim": monai.SSIMMetric(dims, 2.0),
        "ssim_uniform": monai.SSIMMetric(dims, 2.0, kernel_type="uniform", win_size=5),
    }
    for name, metric in theirs.items():
        assert row[name] == pytest.approx(float(metric(x, y).mean()), rel=2e-5), name


class _Uniform:
    """SSIM with a uniform window under a name of its own."""

    name = "ssim_uniform"

    def value(self, prediction, reference, mask):
        return SSIM(2.0, "uniform", 5).value(prediction, reference, mask)


SSIMUniform = _Uniform()


def test_several_scales():
    rng = np.random.default_rng(0)
    truth = rng.random((1, 64, 72))
    found = truth + 0.1 * rng.standard_normal(truth.shape)
    x, y = (torch.from_numpy(m)[None].float() for m in (found, truth))
    weights = (0.2, 0.3, 0.5)
    theirs = monai.MultiScaleSSIMMetric(2, 1.0, kernel_size=5, weights=weights)(x, y)
    row = score_image(found, truth, [MultiScaleSSIM(1.0, win_size=5, weights=weights)], case="a")
    assert row["ms_ssim"] == pytest.approx(float(theirs.mean()), rel=1e-4)


def test_features():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((40, 6)), rng.standard_normal((40, 6)) * 1.3 + 0.2
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    assert mmd(a, b, LinearKernel()) == pytest.approx(float(monai.MMDMetric()(x, y)), rel=1e-9)
    ours = frechet_distance(FeatureMoments.of(a), FeatureMoments.of(b))
    try:
        theirs = float(monai.FIDMetric()(x, y))
    except TypeError:
        pytest.skip("MONAI 1.6.1 calls sqrtm with an argument that newer SciPy has no more")
    assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(
    ("reduction", "ours"), [("expected", "expected_error"), ("average", "average_error"), ("maximum", "largest_error")]
)
def test_calibration(reduction, ours):
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.standard_normal((1, 3, 12, 11)))
    p, y = logits.softmax(dim=1), rng.integers(0, 3, (12, 11))
    target = torch.from_numpy(np.moveaxis(np.eye(3)[y], -1, 0))[None]
    metric = monai.CalibrationErrorMetric(num_bins=10, calibration_reduction=reduction)
    theirs = metric(p, target).reshape(-1).tolist()
    found = [getattr(reliability(p[0], y, bins=10, label=k), ours) for k in range(3)]
    assert found == pytest.approx(theirs, rel=1e-5)


def test_variance():
    x = torch.rand(5, 2, 6, 7) + 0.1
    found = RepeatedPredictions.of(x[:, :1])
    theirs = monai.compute_variance(x[:, :1].clone(), spatial_map=True)
    np.testing.assert_allclose(found.variance()[0], theirs, rtol=1e-4, atol=1e-8)
    assert found.mean_variance() == pytest.approx(float(monai.compute_variance(x[:, :1].clone())), rel=1e-4)
    # of two channels theirs is one variance over repetitions and channels together: how far channels are apart counts
    apart = torch.stack([torch.zeros(4, 3, 3), torch.ones(4, 3, 3)], dim=1) + 0.1
    assert RepeatedPredictions.of(apart).mean_variance() == pytest.approx(0, abs=1e-12)
    assert float(monai.compute_variance(apart.clone())) == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_froc(seed):
    from monai.metrics.froc import compute_fp_tp_probs_nd

    rng = np.random.default_rng(seed)
    entries, alarms, hits, lesions = [], [], [], 0
    for k in range(6):
        mask = np.zeros((12, 12), int)
        for label, (y, x) in enumerate(rng.integers(0, 4, (3, 2)) * 3, start=1):
            mask[y : y + 2, x : x + 2] = label
        mask = np.unique(mask, return_inverse=True)[1].reshape(mask.shape)
        points, scores = rng.integers(0, 12, (9, 2)), rng.random(9)
        entries.append(Candidates(f"case {k}", scores, region_hits(points, mask)))
        fp, tp, n = compute_fp_tp_probs_nd(scores, points, mask)
        alarms, hits, lesions = [*alarms, *fp], [*hits, *tp], lesions + n
    curve = froc(Detections(entries))
    assert min(hits) == 0  # some lesion is missed, or theirs would leave out the point of the lowest score
    rates, sensitivity = monai.compute_froc_curve_data(np.array(alarms), np.array(hits), lesions, 6)
    np.testing.assert_allclose(curve.false_positives[::-1], rates)
    np.testing.assert_allclose(curve.sensitivity[::-1], sensitivity, rtol=1e-6)
    levels = (0.25, 0.5, 1, 2, 4, 8)
    assert curve.score(levels) == pytest.approx(monai.compute_froc_score(rates, sensitivity, levels), rel=1e-6)


def test_froc_where_every_lesion_is_found():
    # theirs drops the lowest threshold as if it were the score 0 of a missed lesion: the point (1, 1) is not there
    curve = froc(Detections([Candidates("a", np.array([0.9, 0.5, 0.3]), np.array([[1.0, 0], [0, 0], [0, 1]]))]))
    rates, sensitivity = monai.compute_froc_curve_data(np.array([0.5]), np.array([0.9, 0.3]), 2, 1)
    assert curve.false_positives.tolist() == [0, 0, 1, 1]
    assert curve.sensitivity.tolist() == [0, 0.5, 0.5, 1]
    assert (rates.tolist(), sensitivity.tolist()) == ([1, 0, 0], [0.5, 0.5, 0])


@pytest.mark.parametrize("threshold", [0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_boxes(threshold, seed):
    from monai.apps.detection.metrics.coco import COCOMetric
    from monai.apps.detection.metrics.matching import matching_batch
    from monai.data.box_utils import box_iou as their_iou

    rng = np.random.default_rng(seed)

    def boxes(n):
        low = rng.uniform(0, 12, (n, 3))
        return np.hstack([low, low + rng.uniform(2, 8, (n, 3))])

    cases = []
    for _ in range(8):
        truth = boxes(int(rng.integers(1, 4)))
        found = np.vstack([truth + rng.uniform(-0.8, 0.8, truth.shape), boxes(3)])
        cases.append((found, rng.random(len(found)), truth))
    entries = []
    for k, (found, scores, truth) in enumerate(cases):
        overlap = box_iou(found, truth)
        np.testing.assert_allclose(overlap, their_iou(found, truth), rtol=1e-5, atol=1e-7)  # theirs is single
        entries.append(Candidates(f"case {k}", scores, overlap))
    metric = COCOMetric(["lesion"], iou_list=[threshold], iou_range=(0.1, 0.5, 0.4), max_detection=[100], verbose=False)
    matches = matching_batch(
        their_iou,
        metric.iou_thresholds,
        pred_boxes=[c[0] for c in cases],
        pred_classes=[np.zeros(len(c[1]), int) for c in cases],
        pred_scores=[c[1] for c in cases],
        gt_boxes=[c[2] for c in cases],
        gt_classes=[np.zeros(len(c[2]), int) for c in cases],
    )
    theirs = metric(matches)[0][f"AP_IoU_{threshold:.2f}_MaxDet_100"]
    assert box_average_precision(Detections(entries), 1, threshold) == pytest.approx(theirs, abs=1e-9)
