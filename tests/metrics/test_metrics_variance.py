"""Spread of repeated predictions against NumPy, and merging."""

import numpy as np
import pytest
import torch

from medframe.base import BadArgument, BadGeometry
from medframe.metrics import RepeatedPredictions

X = np.random.default_rng(0).random((7, 2, 3, 4)) + 1e3


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("cuts", [(), (3,), (1, 2, 6)])
def test_equals_numpy_however_divided(correction, cuts):
    parts = [RepeatedPredictions.of(torch.from_numpy(p)) for p in np.split(X, cuts)]
    found = parts[-1].merge(*parts[:-1])
    assert found.count == 7
    np.testing.assert_allclose(found.mean, X.mean(axis=0))
    np.testing.assert_allclose(found.variance(correction=correction), X.var(axis=0, ddof=correction), rtol=1e-9)
    assert found.mean_variance() == pytest.approx(X.var(axis=0).mean())
    mask = torch.arange(12).reshape(3, 4) > 6
    assert found.mean_variance(mask) == pytest.approx(X.var(axis=0)[:, mask.numpy()].mean())


def test_one_prediction_has_no_spread():
    one = RepeatedPredictions.of(torch.ones(1, 2, 3, dtype=torch.float16))
    assert one.variance().abs().max() == 0
    with pytest.raises(BadArgument):
        one.variance(correction=1)


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (BadGeometry, lambda: RepeatedPredictions.of(torch.zeros(0, 2, 3))),
        (BadGeometry, lambda: RepeatedPredictions.of(torch.zeros(3))),
        (BadGeometry, lambda: RepeatedPredictions.of(X_).merge(RepeatedPredictions.of(X_[:, :1]))),
        (BadGeometry, lambda: RepeatedPredictions.of(X_).mean_variance(torch.ones(3, 3))),
        (BadArgument, lambda: RepeatedPredictions.of(X_).mean_variance(torch.zeros(3, 4))),
    ],
)
def test_bad_arguments(error, make):
    with pytest.raises(error):
        make()


X_ = torch.from_numpy(X)
