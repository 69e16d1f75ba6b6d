"""Fréchet distance and MMD against SciPy, known answers, and merging."""

import numpy as np
import pytest
import torch
from scipy import linalg

from medframe.base import BadArgument, BadGeometry, BadVoxels
from medframe.metrics import FeatureMoments, GaussianKernel, LinearKernel, PolynomialKernel, frechet_distance, mmd


def features(n, d, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + shift


def test_distance_equals_the_matrix_root_of_scipy():
    a, b = features(60, 8, 1), features(80, 8, 2, 0.5)
    ca, cb = np.cov(a.T), np.cov(b.T)
    away = a.mean(axis=0) - b.mean(axis=0)
    expected = away @ away + np.trace(ca + cb) - 2 * np.trace(linalg.sqrtm(ca @ cb)).real
    assert frechet_distance(FeatureMoments.of(a), FeatureMoments.of(torch.from_numpy(b))) == pytest.approx(expected)


def test_distance_of_known_gaussians():
    # one dimension: (m - n)^2 + (s - t)^2
    a = np.array([[-1.0], [1.0]]) / np.sqrt(2)  # variance 1
    b = 3 * a + 2
    assert frechet_distance(FeatureMoments.of(a), FeatureMoments.of(b)) == pytest.approx(4 + 4)


def test_fewer_images_than_features_stay_real():
    a, b = features(5, 20, 1), features(6, 20, 2)
    there, back = (frechet_distance(FeatureMoments.of(x), FeatureMoments.of(y)) for x, y in ((a, b), (b, a)))
    assert np.isfinite(there)
    assert there == pytest.approx(back)
    assert frechet_distance(FeatureMoments.of(a), FeatureMoments.of(a)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("cuts", [(1, 2), (10, 49), (25, 30)])
def test_moments_of_parts_merge_to_the_whole(cuts):
    x = features(50, 4, shift=1e4)  # far from 0, where sums of squares lose everything
    parts = [FeatureMoments.of(part) for part in np.split(x, cuts)]
    merged = parts[1].merge(parts[2], parts[0])
    assert merged.count == 50
    np.testing.assert_allclose(merged.mean, x.mean(axis=0))
    np.testing.assert_allclose(merged.covariance, np.cov(x.T), rtol=1e-8)


@pytest.mark.parametrize("kernel", [LinearKernel(), PolynomialKernel(), GaussianKernel(2.0)])
def test_mmd_equals_a_loop(kernel):
    a, b = features(7, 3, 1), features(9, 3, 2, 0.4)
    one = {
        "LinearKernel": lambda x, y: x @ y,
        "PolynomialKernel": lambda x, y: (x @ y / 3 + 1) ** 3,
        "GaussianKernel": lambda x, y: np.exp(-((x - y) ** 2).sum() / 8),
    }[type(kernel).__name__]
    within = [np.mean([one(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    between = np.mean([one(x, y) for x in a for y in b])
    assert mmd(a, torch.from_numpy(b), kernel) == pytest.approx(sum(within) - 2 * between)


def test_mmd_is_without_bias_and_grows_with_the_distance():
    rng = np.random.default_rng(0)
    same = [mmd(rng.standard_normal((20, 2)), rng.standard_normal((20, 2)), GaussianKernel(1.0)) for _ in range(300)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(300)
    far = mmd(rng.standard_normal((20, 2)), rng.standard_normal((20, 2)) + 3, GaussianKernel(1.0))
    assert far > max(same)


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (BadGeometry, lambda: FeatureMoments.of(np.zeros(4))),
        (BadGeometry, lambda: FeatureMoments.of(np.zeros((0, 4)))),
        (BadVoxels, lambda: FeatureMoments.of(np.full((2, 2), np.inf))),
        (BadGeometry, lambda: FeatureMoments.of(np.ones((2, 2))).merge(FeatureMoments.of(np.ones((2, 3))))),
        (BadArgument, lambda: FeatureMoments.of(np.ones((1, 2))).covariance),
        (BadGeometry, lambda: frechet_distance(FeatureMoments.of(np.ones((2, 2))), FeatureMoments.of(np.ones((2, 3))))),
        (BadGeometry, lambda: mmd(np.ones((2, 2)), np.ones((2, 3)), LinearKernel())),
        (BadArgument, lambda: mmd(np.ones((1, 2)), np.ones((2, 2)), LinearKernel())),
        (BadArgument, lambda: GaussianKernel(0.0)),
    ],
)
def test_bad_arguments(error, make):
    with pytest.raises(error):
        make()
