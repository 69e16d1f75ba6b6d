"""Errors and structural similarity of images against scikit-image and by hand."""

import math

import numpy as np
import pytest
import torch

from medframe.base import BadArgument, BadGeometry, BadVoxels
from medframe.losses import MultiScaleSSIMLoss, SSIMLoss
from medframe.metrics import MAE, MSE, PSNR, RMSE, SSIM, MultiScaleSSIM, score_image

ERRORS = (MAE(), MSE(), RMSE(), PSNR(4.0))


def images(shape, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.random(shape)
    return truth + 0.2 * rng.standard_normal(shape), truth


def values(found, truth, metrics, **options):
    row = score_image(found, truth, metrics, case="a", **options)
    return dict(zip(row.columns, row.values, strict=True))


def test_errors_by_hand():
    found, truth = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), torch.tensor([[[1.0, 1.0, 1.0, 2.0]]])
    expected = {"mae": 5 / 4, "mse": 9 / 4, "rmse": 1.5, "psnr": 10 * math.log10(16 / (9 / 4))}
    assert values(found, truth, ERRORS) == pytest.approx(expected)
    inside = torch.tensor([[1, 1, 0, 0]])
    expected = {"mae": 1 / 2, "mse": 1 / 2, "rmse": math.sqrt(1 / 2), "psnr": 10 * math.log10(32)}
    assert values(found, truth, ERRORS, mask=inside) == pytest.approx(expected)
    assert values(found, truth, ERRORS, mask=inside[None].bool()) == pytest.approx(expected)


def test_equal_images_are_perfect():
    _, truth = images((1, 24, 24))
    got = values(truth, truth.copy(), (*ERRORS, SSIM(1.0), MultiScaleSSIM(1.0, weights=(0.5, 0.5))))
    expected = {"mae": 0, "mse": 0, "rmse": 0, "psnr": math.inf, "ssim": 1, "ms_ssim": 1}
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(40,), (31, 24), (13, 15, 14)])
@pytest.mark.parametrize("kernel", ["gaussian", "uniform"])
def test_similarity_equals_scikit_image(shape, kernel):
    metrics = pytest.importorskip("skimage.metrics")
    found, truth = images(shape)
    size = 11 if kernel == "gaussian" else 7
    options = {"gaussian_weights": True, "sigma": 1.5} if kernel == "gaussian" else {"win_size": 7}
    expected = metrics.structural_similarity(found, truth, data_range=2.0, use_sample_covariance=False, **options)
    got = values(found[None], truth[None], (SSIM(2.0, kernel, size),))
    assert got["ssim"] == pytest.approx(expected, rel=1e-9)
    peak = metrics.peak_signal_noise_ratio(truth, found, data_range=2.0)
    assert values(found[None], truth[None], (PSNR(2.0),))["psnr"] == pytest.approx(peak)


def test_similarity_inside_a_mask_equals_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    found, truth = images((40, 44))
    mask = np.zeros((40, 44), bool)
    mask[:20, 7:30] = True
    _, whole = metrics.structural_similarity(
        found, truth, data_range=1.0, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    expected = whole[5:20, 7:30].mean()  # windows that reach beyond the image do not count
    assert values(found[None], truth[None], (SSIM(1.0),), mask=mask)["ssim"] == pytest.approx(expected)
    mask[:] = False
    mask[0, 0] = True
    assert math.isnan(values(found[None], truth[None], (SSIM(1.0),), mask=mask)["ssim"])


def test_channels_are_averaged():
    found, truth = images((3, 20, 21))
    each = [values(found[k : k + 1], truth[k : k + 1], (SSIM(1.0), MSE())) for k in range(3)]
    got = values(found, truth, (SSIM(1.0), MSE()))
    assert got == pytest.approx({k: np.mean([e[k] for e in each]) for k in got})


@pytest.mark.parametrize("shape", [(64, 60), (30, 28, 33)])
def test_metrics_are_one_minus_the_losses(shape):
    found, truth = (torch.from_numpy(x)[None] for x in images(shape))
    weights = (0.4, 0.6)
    got = values(found, truth, (SSIM(1.0), MultiScaleSSIM(1.0, weights=weights)))
    assert got["ssim"] == pytest.approx(1 - float(SSIMLoss()(found[None], truth[None])))
    loss = MultiScaleSSIMLoss(weights=weights)(found[None], truth[None])
    assert got["ms_ssim"] == pytest.approx(1 - float(loss))


def test_several_scales_by_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    found, truth = images((64, 64))
    halved = [x.reshape(32, 2, 32, 2).mean(axis=(1, 3)) for x in (found, truth)]
    coarse = metrics.structural_similarity(*halved, data_range=1.0, gaussian_weights=True, use_sample_covariance=False)
    # without its constant the luminance term is the ratio of the whole to the contrast term
    (contrast,) = values(found[None], truth[None], (MultiScaleSSIM(1.0, weights=(1.0, 1e-12)),)).values()
    both = values(found[None], truth[None], (MultiScaleSSIM(1.0, weights=(0.3, 0.7)),))["ms_ssim"]
    assert both == pytest.approx(contrast**0.3 * coarse**0.7)


def test_a_negative_term_counts_as_zero():
    _, truth = images((1, 32, 32))
    assert values(1 - truth, truth, (MultiScaleSSIM(1.0, weights=(0.5, 0.5)),)) == {"ms_ssim": 0.0}


IMAGE = np.zeros((1, 8, 8))


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (BadGeometry, lambda: score_image(IMAGE, IMAGE[:, :4], [MAE()], case="a")),
        (BadGeometry, lambda: score_image(IMAGE[0, 0], IMAGE[0, 0], [MAE()], case="a")),
        (BadGeometry, lambda: score_image(IMAGE, IMAGE, [SSIM(1.0)], case="a")),
        (BadGeometry, lambda: score_image(IMAGE, IMAGE, [MAE()], case="a", mask=np.ones((4, 4)))),
        (BadVoxels, lambda: score_image(IMAGE, IMAGE * np.nan, [MAE()], case="a")),
        (BadArgument, lambda: score_image(IMAGE, IMAGE, [MAE(), MAE()], case="a")),
        (BadArgument, lambda: score_image(IMAGE, IMAGE, [MAE()], case="a", mask=IMAGE)),
        (BadArgument, lambda: score_image(IMAGE, IMAGE, [MultiScaleSSIM(1.0)], case="a", mask=IMAGE + 1)),
        (BadArgument, lambda: PSNR(0)),
        (BadArgument, lambda: SSIM(1.0, win_size=4)),
        (BadArgument, lambda: SSIM(1.0, "box")),
        (BadArgument, lambda: SSIM(1.0, k1=0)),
        (BadArgument, lambda: MultiScaleSSIM(1.0, weights=())),
    ],
)
def test_bad_arguments(error, make):
    with pytest.raises(error):
        make()
