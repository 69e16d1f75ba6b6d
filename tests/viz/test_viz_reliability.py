"""Reliability diagrams show what the bins hold."""

import numpy as np

from medframe.metrics import reliability
from medframe.viz import reliability as diagram
from medframe.viz import to_svg


def bins(seed):
    rng = np.random.default_rng(seed)
    p = rng.uniform(size=(2, 300))
    return reliability(p / p.sum(axis=0), rng.integers(0, 2, 300), bins=10)


def test_points_are_the_bins():
    found = {"before": bins(0), "after": bins(1)}
    drawn = diagram(found)
    assert len(drawn.axes) == 4
    for ax, one in zip(drawn.axes[:2], found.values(), strict=True):
        known = one.counts > 0
        x, y = ax.lines[1].get_data()
        np.testing.assert_allclose(x, one.mean_confidence[known])
        np.testing.assert_allclose(y, one.accuracy[known])
        assert f"ECE {one.expected_error:.3f}" in ax.get_title()
    shares = [bar.get_height() for bar in drawn.axes[2].patches]
    np.testing.assert_allclose(shares, found["before"].counts / 300)
    assert to_svg(drawn).startswith("<svg")


def test_no_predictions_draw_an_empty_diagram():
    nothing = reliability(np.zeros((2, 0)), np.zeros(0, int))
    assert to_svg(diagram({"none": nothing})).startswith("<svg")
