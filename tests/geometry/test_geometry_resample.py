"""The one door: against scipy and SimpleITK, window by window, with antialiasing."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medframe.base import BadArgument, Rng
from medframe.geometry import CUBIC, LINEAR, NEAREST, Interpolation, Space, Warp, homogeneous, resample, rotation
from medframe.geometry.resample import antialias_sigma
from medframe.image import TensorSource
from medframe.kernels import gaussian, pull

law = settings(max_examples=40, deadline=None, database=None)
ODD = Path(__file__).parents[3] / "shared" / "data" / "nifti_odd"
SCIPY = {"zero": "grid-constant", "border": "nearest", "reflect": "mirror", "wrap": "grid-wrap"}


@dataclass
class Watched:
    """A source that remembers which windows were read."""

    tensor: torch.Tensor
    windows: list = field(default_factory=list)

    @property
    def shape(self):
        return tuple(self.tensor.shape)

    @property
    def dtype(self):
        return self.tensor.dtype

    @property
    def device(self):
        return self.tensor.device

    def read(self, window):
        self.windows.append(window)
        return self.tensor[(slice(None), *window)].clone()


def volume(shape, seed=0, dtype=np.float32):
    return torch.from_numpy((Rng(seed).generator().random(shape) * 100).astype(dtype))


def turned(d, seed, scale=(0.6, 1.0)):
    random = Rng(seed).generator()
    linear = rotation(random.uniform(-3, 3, 1 if d == 2 else 3)) if d > 1 else np.array([[random.choice([-1.0, 1.0])]])
    return linear * random.uniform(*scale, d), random


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(
    ("order", "border"),
    [(0, "zero"), (0, "border"), *[(1, border) for border in SCIPY], (3, "reflect"), (3, "wrap")],
)
def test_as_scipy_resamples(d, order, border):
    block = volume((1, *(9, 8, 7)[:d]), d)
    linear, random = turned(d, d)
    offset = random.uniform(0, 6, d)
    warp = Warp((8, 9, 6)[:d], (homogeneous(linear, offset),))
    out = resample(TensorSource(block), warp, Interpolation(order, border, 7.0, antialias=False))
    due = ndimage.affine_transform(
        block[0].numpy(), linear, offset, warp.shape, order=order, mode=SCIPY[border], cval=7.0
    )
    np.testing.assert_allclose(out[0].numpy(), due, atol=2e-3)


def odd_volume(name):
    path = ODD / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    file = nib.load(path)
    data = np.asarray(file.dataobj, np.float32)[:64, :64, :24]
    return torch.from_numpy(data)[None], Space(data.shape, file.affine)


@pytest.mark.parametrize("name", ["sct/mt_mt0.nii.gz", "niivue/CT_pitch.nii.gz", "sct/t2_t2.nii.gz"])
@pytest.mark.parametrize(
    ("how", "kind"), [(NEAREST, sitk.sitkNearestNeighbor), (LINEAR, sitk.sitkLinear), (CUBIC, sitk.sitkBSpline)]
)
def test_as_itk_resamples_a_real_oblique_volume(name, how, kind):
    data, space = odd_volume(name)
    lps = np.diag([-1.0, -1.0, 1.0])
    image = sitk.GetImageFromArray(data[0].numpy().T)
    image.SetSpacing(space.spacing.tolist())
    image.SetDirection((lps @ space.direction).ravel().tolist())
    image.SetOrigin((lps @ space.origin).tolist())
    target = Space((30, 31, 12), np.eye(4))
    affine = np.eye(4)
    affine[:3, :3] = rotation([0.2, -0.1, 0.3]) @ space.direction * space.spacing * 0.7
    affine[:3, 3] = space.world_centre - affine[:3, :3] @ target.centre
    target = Space(target.shape, affine)
    reference = sitk.Image(target.shape, sitk.sitkFloat32)
    reference.SetSpacing(target.spacing.tolist())
    reference.SetDirection((lps @ target.direction).ravel().tolist())
    reference.SetOrigin((lps @ target.origin).tolist())
    due = sitk.GetArrayFromImage(sitk.Resample(image, reference, sitk.Transform(), kind, 0.0)).T
    warp = Warp.between(space, target)
    out = resample(TensorSource(data), warp, Interpolation(how.order, antialias=False))[0].numpy()
    places = warp(np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), -1))
    inside = ((places >= 0) & (places <= np.array(space.shape) - 1)).all(-1)
    tied = (np.abs(places % 1 - 0.5) < 1e-4).any(-1) if how.order == 0 else np.zeros_like(inside)
    assert inside.mean() > 0.3
    spread = float(data.max() - data.min())
    np.testing.assert_allclose(out[inside & ~tied], due[inside & ~tied], atol=2e-4 * spread)


@law
@given(
    st.integers(0, 10**9),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([0, 1, 3]),
    st.sampled_from(sorted(SCIPY)),
    st.sampled_from([(0.5, 1.0), (1.5, 3.0)]),
)
def test_a_windowed_read_equals_a_full_one(seed, d, order, border, scale):
    """Only what is needed is read, and whoever reads all gets the same."""
    linear, random = turned(d, seed, scale)
    block = volume((1, *random.integers(1, 40, d)), seed)
    shape = tuple(random.integers(1, 6, d))
    warp = Warp(shape, (homogeneous(linear, random.uniform(-5, 40, d)),))
    how = Interpolation(order, border, 7.0)
    source = Watched(block)
    out = resample(source, warp, how)
    sigma = antialias_sigma(warp) if order else (0.0,) * d
    whole = gaussian(block, sigma) if any(sigma) else block
    due = pull(whole, warp.kernel_stages, shape, order=order, border=border, fill=7.0)
    torch.testing.assert_close(out, due, atol=2e-3, rtol=0)
    assert len(source.windows) == 1


def test_a_patch_reads_a_patch():
    source = Watched(volume((1, 60, 60, 60)))
    resample(source, Warp((8, 8, 8), (homogeneous(rotation([0.1, 0.2, 0.3]), [25, 25, 25]),)), LINEAR)
    (window,) = source.windows
    assert all(part.stop - part.start <= 16 for part in window)
    source = Watched(volume((1, 60, 60, 60)))
    resample(source, Warp.window((5, 6, 7), (8, 8, 8)), LINEAR)
    assert source.windows == [(slice(5, 13), slice(6, 14), slice(7, 15))]


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0, 4.0])
def test_the_blur_before_shrinking_matches_the_coarser_voxel(factor):
    """The widths of Gaussians add in squares, and a voxel's full width at half maximum is its size."""
    (sigma, none) = antialias_sigma(Warp((4, 4), (np.diag([factor, 1.0, 1.0]),)))
    full_width = sigma * 2 * math.sqrt(2 * math.log(2))
    assert full_width**2 + 1 == pytest.approx(factor**2)
    assert none == 0


def test_the_blur_follows_the_axes_that_shrink():
    quarter = rotation([0, 0, np.pi / 2]) @ np.diag([3.0, 1.0, 1.0])
    sigma = antialias_sigma(Warp((4, 4, 4), (homogeneous(quarter, [0, 0, 0]),)))
    assert [s > 0 for s in sigma] == [False, True, False]
    assert antialias_sigma(Warp((4, 4), (homogeneous(rotation([0.7]), [0, 0]),))) == (0.0, 0.0)
    assert antialias_sigma(Warp((4, 4), (np.diag([0.3, 0.9, 1]),))) == (0.0, 0.0)


def test_a_checkerboard_shrinks_to_its_mean():
    board = torch.from_numpy(np.indices((48, 48)).sum(0) % 2).float()[None]
    space = Space((48, 48), np.eye(3))
    warp = Warp.between(space, space.with_spacing((3.0, 3.0)))
    smooth = resample(TensorSource(board), warp, LINEAR)[:, 2:-2, 2:-2]
    raw = resample(TensorSource(board), warp, Interpolation(antialias=False))[:, 2:-2, 2:-2]
    assert float((smooth - 0.5).abs().max()) < 0.01
    assert float((raw - 0.5).abs().max()) == 0.5  # every third voxel of the board, which is a board again
    labels = resample(TensorSource(board.int()), warp, NEAREST)
    assert set(labels.unique().tolist()) <= {0, 1}  # never blurred


def test_a_plane_stays_a_plane_when_shrunk():
    ramp = torch.arange(60.0).expand(60, 60).contiguous()[None]
    space = Space((60, 60), np.eye(3))
    target = space.with_spacing((2.5, 2.5))
    out = resample(TensorSource(ramp), Warp.between(space, target), LINEAR)
    due = target.to_world(np.stack([np.zeros(24), np.arange(24)], -1))[:, 1]
    np.testing.assert_allclose(out[0, 12, 3:-3].numpy(), due[3:-3], atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float64])
def test_dtypes_stay_and_integers_are_rounded_once(dtype):
    block = volume((1, 9, 9), 3, dtype)
    warp = Warp((6, 6), (homogeneous(rotation([0.3]) * 0.8, [2, 1]),))
    out = resample(TensorSource(block), warp, LINEAR)
    exact = resample(TensorSource(block), warp, LINEAR, torch.float64)
    assert out.dtype == block.dtype
    assert exact.dtype == torch.float64
    np.testing.assert_allclose(out.double().numpy(), exact.numpy(), atol=0.501 if dtype != np.float64 else 1e-9)
    if dtype != np.float64:
        assert float((exact % 1).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Interpolation(2), "found 2; expected 0 nearest, 1 linear or 3 cubic"),
        (lambda: Interpolation(border="mirror"), "found mirror; expected zero, border, reflect, wrap"),
        (lambda: Interpolation(fill=float("nan")), "must be finite"),
    ],
)
def test_unknown_ways_are_refused(make, match):
    with pytest.raises(BadArgument, match=match):
        make()
    assert LINEAR.with_fill(3) == Interpolation(1, fill=3)
