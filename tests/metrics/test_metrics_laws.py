"""Laws that hold for any two label maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medframe.metrics import AverageSurfaceDistance, Dice, EmptyPolicy, FBeta, Hausdorff, IoU, SurfaceDice, score_case

SYMMETRIC = (
    Dice(),
    IoU(),
    *(
        metric
        for by in ("voxels", "area")
        for metric in (Hausdorff(by=by), Hausdorff(95, by), AverageSurfaceDistance(by=by), SurfaceDice(1.5, by))
    ),
)
METRICS = (*SYMMETRIC, AverageSurfaceDistance(False), AverageSurfaceDistance(False, "area"), FBeta(2))
law = settings(max_examples=60, deadline=None, database=None)


@st.composite
def label_pairs(draw):
    shape = draw(
        st.one_of(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), hnp.array_shapes(min_dims=3, max_dims=3))
    )
    labels = hnp.arrays(np.uint8, shape, elements=st.integers(0, 2))
    spacing = draw(st.tuples(*[st.floats(0.2, 5.0)] * len(shape)))
    return draw(labels), draw(labels), spacing


def values(a, b, spacing, metrics=METRICS, **options):
    return np.array([row.values for row in score_case(a, b, spacing, [1, 2], metrics, case="a", **options)])


@law
@given(label_pairs())
def test_symmetry(pair):
    a, b, spacing = pair
    np.testing.assert_allclose(values(a, b, spacing, SYMMETRIC), values(b, a, spacing, SYMMETRIC), rtol=1e-12)


@law
@given(label_pairs())
def test_identity_is_perfect(pair):
    a, _, spacing = pair
    perfect = [metric.perfect for metric in METRICS]
    assert values(a, a.copy(), spacing, empty=EmptyPolicy(both="perfect")).tolist() == [perfect] * 2


@law
@given(label_pairs(), st.data())
def test_flips_and_permuted_axes_change_nothing(pair, data):
    a, b, spacing = pair
    axes = data.draw(st.permutations(range(a.ndim)))
    flips = tuple(data.draw(st.sets(st.sampled_from(range(a.ndim)))))
    moved = [np.flip(x.transpose(axes), flips) for x in (a, b)]
    np.testing.assert_allclose(values(*moved, [spacing[i] for i in axes]), values(a, b, spacing), rtol=1e-9)


@law
@given(label_pairs(), st.floats(0.1, 10))
def test_distances_scale_with_spacing(pair, factor):
    a, b, spacing = pair
    scaled = values(a, b, [s * factor for s in spacing], [m for m in METRICS if m.perfect == 0])
    np.testing.assert_allclose(
        scaled, values(a, b, spacing, [m for m in METRICS if m.perfect == 0]) * factor, rtol=1e-9
    )


@law
@given(label_pairs())
def test_orders_and_bounds(pair):
    a, b, spacing = pair
    metrics = (
        Dice(),
        IoU(),
        SurfaceDice(1),
        SurfaceDice(3),
        AverageSurfaceDistance(),
        Hausdorff(50),
        Hausdorff(95),
        Hausdorff(),
    )
    for dice, iou, near, far, assd, hd50, hd95, hd in values(
        a, b, spacing, metrics, empty=EmptyPolicy("perfect", "diagonal")
    ):
        assert 0 <= iou <= dice <= 1
        assert iou == pytest.approx(dice / (2 - dice))
        assert 0 <= near <= far <= 1
        assert 0 <= hd50 <= hd95 <= hd
        assert assd <= hd * (1 + 1e-12)
