"""The label vote against one-hot volumes that are interpolated and compared."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medframe.base import Rng
from medframe.geometry import Interpolation, Space, Warp, homogeneous, rotation, vote
from medframe.image import LabelMap, TensorSource
from medframe.transforms import Rotate

law = settings(max_examples=25, deadline=None, database=None)


@law
@given(st.integers(0, 10**9), st.sampled_from([2, 3]), st.sampled_from(["zero", "border", "reflect", "wrap"]))
def test_the_vote_is_the_largest_of_the_interpolated_classes(seed, d, border):
    random = Rng(seed).generator()
    labels = random.integers(0, 4, (1, *random.integers(2, 9, d))).astype(np.uint8)
    linear = rotation(random.uniform(-3, 3, 1 if d == 2 else 3)) * random.uniform(0.5, 1, d)
    offset = random.uniform(0, 5, d)
    warp = Warp((5, 6, 4)[:d], (homogeneous(linear, offset),))
    out = vote(TensorSource(torch.from_numpy(labels)), warp, Interpolation(1, border, fill=2, antialias=False))
    mode = {"zero": "grid-constant", "border": "nearest", "reflect": "mirror", "wrap": "grid-wrap"}[border]
    how = {"output_shape": warp.shape, "order": 1, "mode": mode}
    classes = [(labels[0] == c) * 1.0 for c in range(4)]
    shares = [ndimage.affine_transform(share, linear, offset, cval=c == 2, **how) for c, share in enumerate(classes)]
    shares = np.stack(shares)
    top = np.sort(shares, 0)
    clear = top[-1] - top[-2] > 1e-5
    assert out.dtype == torch.uint8
    np.testing.assert_array_equal(out[0].numpy()[clear], shares.argmax(0)[clear])
    assert (shares[out[0].numpy(), *np.indices(warp.shape)] > top[-1] - 1e-5).all()


def test_by_hand():
    labels = TensorSource(torch.tensor([[4, 4, 9, 9, 0]], dtype=torch.int16))
    # at 0.6, 1.3, 2.0, 2.7, 3.4
    warp = Warp((5,), (homogeneous([[0.7]], [0.6]),))
    assert vote(labels, warp, Interpolation(1)).tolist() == [[4, 4, 9, 9, 9]]
    # half way between two voxels the lower label wins, wherever it lies
    halves = Warp((4,), (homogeneous([[1.0]], [0.5]),))
    assert vote(labels, halves, Interpolation(1)).tolist() == [[4, 4, 9, 0]]
    # beyond the edge by more than half a voxel the fill wins
    beyond = Warp((2,), (homogeneous([[0.2]], [-0.6]),))
    assert vote(labels, beyond, Interpolation(1)).tolist() == [[0, 4]]
    assert vote(labels, beyond, Interpolation(1, fill=7)).tolist() == [[7, 4]]


def test_three_classes_may_leave_a_minority_in_front():
    """Shares 0.4 of one class and 0.3 each of two others: the nearest voxel need not win, nor a majority exist."""
    labels = TensorSource(torch.tensor([[[1, 2], [1, 3]]], dtype=torch.uint8))
    warp = Warp((1, 1), (homogeneous(np.eye(2), [0.5, 0.6]),))  # nearest is column 1: 2 or 3, with 0.3 each
    assert vote(labels, warp, Interpolation(1)).tolist() == [[[1]]]
    assert vote(labels, warp, Interpolation(0)).tolist() == [[[3]]]


def test_whole_voxels_are_copied_and_shrinking_is_antialiased():
    labels = torch.from_numpy(Rng(0).generator().integers(0, 9, (1, 6, 6)).astype(np.int32))
    assert torch.equal(vote(TensorSource(labels), Warp.window((1, 1), (3, 3)), Interpolation(1)), labels[:, 1:4, 1:4])
    # one voxel in nine is labelled: when shrunk by three the background outvotes it, nearest would take it all
    dots = torch.zeros(1, 27, 27, dtype=torch.uint8)
    dots[:, 1::3, 1::3] = 1
    space = Space((27, 27), np.eye(3))
    warp = Warp.between(space, space.with_spacing((3.0, 3.0)))
    assert vote(TensorSource(dots), warp, Interpolation(1)).sum() == 0
    assert vote(TensorSource(dots), warp, Interpolation(0)).sum() == 81


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int64])
@pytest.mark.parametrize("fill", [0, -1000.0, 0.6])
def test_dtypes_stay_and_the_fill_fits(dtype, fill):
    labels = torch.tensor([[[1, 0], [1, 1]]]).to(dtype)
    warp = Warp((4, 4), (homogeneous(rotation([0.3]), [-1, -1]),))
    for order in (0, 1, 3):
        out = vote(TensorSource(labels), warp, Interpolation(order, fill=fill))
        assert out.dtype == dtype
        beyond = {0: 0, 0.6: 1, -1000.0: {torch.int8: -128, torch.int16: -1000, torch.int64: -1000}.get(dtype, 0)}[fill]
        if dtype == torch.bool and fill:
            beyond = 1  # not nothing
        assert set(out.to(torch.int64).unique().tolist()) <= {0, 1, beyond}
        assert int(out[0, 0, 0]) == beyond


def test_label_maps_vote_when_asked_to():
    disc = torch.from_numpy((np.hypot(*(np.indices((21, 21)) - 10)) < 6).astype(np.uint8))[None]
    for degrees in (20, 33, 40):  # a disc turns into itself
        nearest = Rotate(degrees)(LabelMap(disc)).data
        voted = Rotate(degrees)(LabelMap(disc, interpolation=Interpolation(1))).data
        assert voted.dtype == torch.uint8
        assert (voted != disc).sum() < (nearest != disc).sum()
