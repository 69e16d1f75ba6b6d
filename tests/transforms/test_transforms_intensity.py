"""Intensity steps against numbers found by hand, and against scipy and numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medframe.base import BadArgument, BadVoxels, LogUniform, Rng
from medframe.image import Image
from medframe.transforms import (
    BrightnessContrast,
    Gamma,
    GaussianBlur,
    GaussianNoise,
    LowResolution,
    Normalize,
    RescaleIntensity,
)

law = settings(max_examples=30, deadline=None, database=None)


def t(*values):
    return torch.tensor([values], dtype=torch.float32)  # (1, n): one channel of a line


def volume(shape=(2, 9, 10, 11), seed=0):
    return torch.from_numpy(Rng(seed).generator().normal(3, 2, shape).astype(np.float32))


@pytest.mark.parametrize(
    ("step", "given_", "due"),
    [
        # mean 2, population deviation sqrt((4 + 0 + 4) / 3)
        (Normalize(), t(0, 2, 4), t(-1.2247449, 0, 1.2247449)),
        # over 2 and 4 alone: mean 3, deviation 1; the zeros stay
        (Normalize(nonzero=True), t(0, 2, 4, 0), t(0, -1, 1, 0)),
        (Normalize(), t(7, 7, 7), t(0, 0, 0)),
        (Normalize(nonzero=True), t(0, 0), t(0, 0)),
        (Normalize(nonzero=True), t(0, 5, 5), t(0, 0, 0)),
        (Normalize(mean=10, std=5), t(0, 10, 30), t(-2, 0, 4)),
        (Normalize(mean=10), t(8, 12), t(-1, 1)),
        (Normalize(std=2), t(0, 4), t(-1, 1)),
        (Normalize(clip=(0, 4)), t(-9, 99), t(-1, 1)),
        (Normalize(mean=0, std=1, clip=(-1, 1)), t(-9, 0.5, 99), t(-1, 0.5, 1)),
        (RescaleIntensity(), t(-1, 0, 3), t(0, 0.25, 1)),
        (RescaleIntensity((1, -1)), t(0, 1, 4), t(1, 0.5, -1)),
        (RescaleIntensity(source=(-100, 100)), t(-500, 0, 50, 500), t(0, 0.5, 0.75, 1)),
        (RescaleIntensity(source=(-100, 100), clip=False), t(-300, 0, 300), t(-1, 0.5, 2)),
        (RescaleIntensity((5, 6)), t(2, 2), t(5, 5)),
        # percentiles 25 and 75 of 0..4 are 1 and 3
        (RescaleIntensity(percentiles=(25, 75)), t(0, 1, 2, 3, 4), t(0, 0, 0.5, 1, 1)),
        # (x / 4)^2 * 4
        (Gamma(2.0, retain=False), t(0, 2, 4), t(0, 1, 4)),
        # upside down and back: 4 - ((4 - x) / 4)^2 * 4
        (Gamma(2.0, retain=False, invert=True), t(0, 2, 4), t(0, 3, 4)),
        (Gamma(0.5, retain=False), t(1, 2, 5), t(1, 3, 5)),
        (Gamma(3.0), t(2, 2), t(2, 2)),
        # mean 2; spread by 1.5 gives -1, 2, 5; cut to what was there
        (BrightnessContrast(1, 1.5), t(0, 2, 4), t(0, 2, 4)),
        (BrightnessContrast(1, 1.5, preserve_range=False), t(0, 2, 4), t(-1, 2, 5)),
        (BrightnessContrast(1, 0.5), t(0, 2, 4), t(1, 2, 3)),
        (BrightnessContrast(1.5, 1), t(0, 2, 4), t(0, 3, 6)),
        (BrightnessContrast(2, 0.5, 10), t(0, 2, 4), t(12, 14, 16)),
        # kept: voxels 1 and 3 (the middles of pairs round up); linear between 0.5 and 2.5, level beyond
        (LowResolution(0.5, order=1), t(0, 1, 5, 3), t(1, 1.5, 2.5, 3)),
        (LowResolution(1.0), t(0, 1, 5, 3), t(0, 1, 5, 3)),
        (GaussianBlur(0.0), t(0, 1, 5, 3), t(0, 1, 5, 3)),
        (GaussianNoise(0.0), t(0, 1, 5, 3), t(0, 1, 5, 3)),
    ],
    ids=lambda v: repr(v) if not isinstance(v, torch.Tensor) else "",
)
def test_hand_computed(step, given_, due):
    torch.testing.assert_close(step(given_), due, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(step(given_.double()), due.double(), atol=1e-6, rtol=1e-6)
    assert step(given_.half()).dtype == torch.float16


def test_channels_together_or_apart():
    data = torch.tensor([[0.0, 2.0], [4.0, 10.0]])
    torch.testing.assert_close(Normalize()(data), torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]))
    # all: mean 4, variance (16 + 4 + 0 + 36) / 4 = 14
    torch.testing.assert_close(Normalize(per_channel=False)(data), (data - 4) / 14**0.5)
    torch.testing.assert_close(RescaleIntensity(per_channel=False)(data), data / 10)
    given = Normalize(mean=(0, 4), std=(1, 2), clip=((0, 1), (5, 9)))
    torch.testing.assert_close(given(data), torch.tensor([[0.0, 1.0], [0.5, 2.5]]))
    apart = {"per_channel": True}
    for step in (
        Gamma((0.5, 2.0), retain=False, **apart),
        BrightnessContrast((0.5, 2.0), 1, **apart),
        GaussianBlur((0.5, 2.0), **apart),
        LowResolution((0.3, 0.9), **apart),
    ):
        same = torch.stack([volume()[0]] * 2)
        one, two = step(same, Rng(0))
        assert not torch.allclose(one, two)
    for step in (GaussianBlur((0.5, 2.0)), LowResolution((0.3, 0.7))):
        same = torch.stack([volume()[0]] * 2)
        one, two = step(same, Rng(0))
        assert torch.equal(one, two)


@pytest.mark.parametrize(("mean", "std"), [(0, 1), (1000, 1), (-3000, 0.5), (1e-3, 1e-5)])
@pytest.mark.parametrize("nonzero", [False, True])
def test_normalize_is_exact_far_from_zero(mean, std, nonzero):
    data = (volume((1, 30, 30, 30)).double() * std + mean).float()
    data[0, :10] = 0 if nonzero else data[0, :10]
    kept = data[data != 0].double()
    due = torch.where(data != 0, (data.double() - kept.mean()) / kept.std(correction=0), 0.0)
    torch.testing.assert_close(Normalize(nonzero=nonzero)(data).double(), due, atol=2e-3, rtol=1e-3)


def test_normalize_leaves_positive_zeros():
    out = Normalize(nonzero=True)(t(0, -2, 4))
    assert not torch.signbit(out[0, 0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "step", [Normalize(), RescaleIntensity(), RescaleIntensity(percentiles=(0, 100)), Normalize(mean=1)]
)
def test_voxels_that_are_no_numbers_are_named(step, value):
    data = volume((1, 5, 5))
    data[0, 2, 2] = value
    with pytest.raises(BadVoxels, match=r"1 of 25 NaN or infinite.*expected finite voxels"):
        step(data)


@law
@given(st.integers(1, 400), st.floats(0, 49), st.floats(51, 100), st.integers(0, 99))
def test_percentiles_are_those_of_numpy(size, low, high, seed):
    data = volume((1, size), seed)
    lo, hi = np.percentile(data.numpy(), (low, high))
    out = RescaleIntensity((lo, hi) if hi > lo else (lo, lo), percentiles=(low, high))(data)
    np.testing.assert_allclose(out.numpy(), np.clip(data.numpy(), lo, hi), atol=1e-5)


def test_rescale_never_passes_the_ends():
    for seed in range(20):
        out = RescaleIntensity((-0.1, 0.7))(volume((1, 100), seed))
        assert float(out.min()) == np.float32(-0.1)
        assert float(out.max()) == pytest.approx(0.7, abs=1e-7)
        assert float(out.max()) <= np.float32(0.7)


def test_gamma_retains_mean_and_deviation_of_each_channel():
    data = volume() * torch.tensor([1.0, 30.0]).reshape(2, 1, 1, 1)
    for invert in (False, True):
        out = Gamma((0.7, 1.5), invert=invert)(data, Rng(3))
        torch.testing.assert_close(out.mean((1, 2, 3)), data.mean((1, 2, 3)), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(out.std((1, 2, 3)), data.std((1, 2, 3)), rtol=1e-4, atol=1e-4)
        order = torch.argsort(data[0].flatten())
        assert (out[0].flatten()[order].diff() >= -1e-5).all()  # no two voxels change places


def test_log_uniform_is_fair_to_both_sides():
    draws = [float(Gamma(LogUniform(0.5, 2.0), retain=False)(t(0, 2, 4), Rng(k))[0, 1]) for k in range(400)]
    assert 160 < sum(value > 2 for value in draws) < 240


def test_noise_is_normal_of_the_drawn_deviation():
    data = torch.zeros(1, 40, 40, 40)
    out = GaussianNoise(0.25)(data, Rng(0))
    assert float(out.mean()) == pytest.approx(0, abs=0.005)
    assert float(out.std()) == pytest.approx(0.25, rel=0.02)
    levels = [float(GaussianNoise((0.1, 0.3))(data[:, :20], Rng(k)).std()) for k in range(12)]
    assert 0.09 < min(levels) < 0.18
    assert 0.22 < max(levels) < 0.31


def test_noise_differs_between_members_and_not_between_devices_or_dtypes():
    data = torch.zeros(1, 6, 6)
    out = GaussianNoise(1.0)({"a": Image(data), "b": Image(data)}, Rng(0))
    assert not torch.equal(out["a"].data, out["b"].data)
    half = GaussianNoise(1.0)(data.half(), Rng(1))
    torch.testing.assert_close(half.float(), GaussianNoise(1.0)(data, Rng(1)), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3])
def test_blur_is_that_of_scipy(sigma):
    data = volume()
    due = np.stack(
        [ndimage.gaussian_filter(c, sigma, mode="nearest", radius=int(np.ceil(3 * sigma))) for c in data.numpy()]
    )
    np.testing.assert_allclose(GaussianBlur(sigma)(data).numpy(), due, atol=2e-5)


def test_blur_keeps_the_mean_of_a_spot_and_the_level_of_a_plane():
    spot = torch.zeros(1, 21, 21)
    spot[0, 10, 10] = 1
    assert float(GaussianBlur(1.5)(spot).sum()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(GaussianBlur(1.5)(torch.full((1, 5, 1, 7), 3.0)), torch.full((1, 5, 1, 7), 3.0))


def test_low_resolution_keeps_the_lattice_and_loses_detail():
    image = Image(volume((1, 12, 13, 14)), np.diag([1.0, 2.0, 3.0, 1.0]))
    for order in (1, 3):
        out = LowResolution(0.5, order)(image)
        assert out.space == image.space
        assert out.shape == image.shape
        assert float(out.data.diff(dim=1).abs().mean()) < float(image.data.diff(dim=1).abs().mean())
    across = LowResolution(0.5, axes=(1, -1))(image).data
    # axis 0 is left alone: every slice stands for itself
    alone = torch.stack([LowResolution(0.5)(image.data[:, k]) for k in range(12)], 1)
    torch.testing.assert_close(across, alone, atol=1e-5, rtol=1e-5)


def test_low_resolution_on_a_ramp_is_the_ramp():
    ramp = torch.arange(64, dtype=torch.float32)[None]
    out = LowResolution(0.5, 3)(ramp)
    # the voxels kept are 1, 3, 5...: half a voxel above the middle of their pair, and so is the result
    torch.testing.assert_close(out[:, 20:-20], ramp[:, 20:-20] + 0.5, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Normalize(std=0),
        lambda: Normalize(clip=(1, 1)),
        lambda: Normalize(per_channel=False, mean=(1, 2)),
        lambda: RescaleIntensity(source=(0, 1), percentiles=(0, 1)),
        lambda: RescaleIntensity(source=(1, 0)),
        lambda: RescaleIntensity(percentiles=(0, 101)),
        lambda: GaussianNoise(-1),
        lambda: GaussianNoise((2, 1)),
        lambda: GaussianBlur((-0.5, 1)),
        lambda: Gamma(0),
        lambda: BrightnessContrast("1"),
        lambda: LowResolution((0, 1)),
        lambda: LowResolution(1.5),
        lambda: LowResolution(order=2),
        lambda: Normalize(mean=(1, 2), std=1)(torch.zeros(3, 4)),
        lambda: LowResolution(axes=(2,))(torch.zeros(1, 4, 4)),
    ],
)
def test_bad_parameters_are_refused(make):
    with pytest.raises(BadArgument, match="found"):
        make()


@pytest.mark.parametrize(
    "step",
    [
        Normalize(),
        Normalize(nonzero=True),
        RescaleIntensity(percentiles=(1, 99)),
        GaussianNoise(),
        GaussianBlur(),
        Gamma(),
        BrightnessContrast(),
        LowResolution(),
    ],
    ids=repr,
)
def test_the_number_of_threads_does_not_show(step):
    """Loader workers have one thread, the main process several: their sums must not differ in the last bit."""
    data = volume((1, 32, 33, 34))  # more than the 32768 voxels at which torch starts to share out sums
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            made.append(step(data, Rng(0)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])
