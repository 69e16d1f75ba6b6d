"""Label steps against numbers found by hand, and against scipy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medframe.base import BadArgument, BadLabel, Rng
from medframe.geometry import LINEAR, NEAREST
from medframe.image import Image, LabelMap
from medframe.transforms import Argmax, KeepLargest, OneHot, Remap, Spacing

law = settings(max_examples=40, deadline=None, database=None)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32)


def picture(text):
    return torch.tensor([[[int(c) for c in row] for row in text.split()]], dtype=torch.uint8)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_one_hot(dtype):
    labels = torch.tensor([[0, 2, 1, 2]]).to(dtype)
    due = torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1]], dtype=torch.uint8)
    out = OneHot(3)(labels)
    assert torch.equal(out, due)
    assert out.dtype == torch.uint8
    made = OneHot(3)(LabelMap(labels))
    assert (type(made), made.channels, made.interpolation) == (LabelMap, 3, NEAREST)
    assert torch.equal(Argmax()(Image(made.data.float())).data.long(), labels.long())


def test_one_hot_of_many_classes_and_of_a_mask():
    labels = torch.tensor([[0, 299]], dtype=torch.int16)
    out = OneHot(300)(labels)
    assert out.shape == (300, 2)
    assert out.sum(0).tolist() == [1, 1]
    assert OneHot(2)(torch.tensor([[True, False]])).tolist() == [[0, 1], [1, 0]]
    assert OneHot(200)(torch.tensor([[7]], dtype=torch.uint8))[:, 0].argmax() == 7


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (torch.tensor([[0, 3]]), "found labels 0 to 3; expected 0 to 2"),
        (torch.tensor([[-1, 0]]), "found labels -1 to 0; expected 0 to 2"),
        (torch.zeros(2, 4, dtype=torch.uint8), "found 2 channels; expected 1"),
        (torch.zeros(1, 4), "an integer dtype"),
    ],
)
def test_one_hot_refuses(labels, match):
    with pytest.raises(BadLabel, match=match):
        OneHot(3)(labels)


def test_argmax():
    scores = torch.tensor([[1.0, 5.0, 2.0], [3.0, 5.0, 0.0], [2.0, 5.0, 2.5]])
    out = Argmax()(scores)
    assert out.tolist() == [[1, 0, 2]]  # of equals the first wins
    assert out.dtype == torch.uint8
    made = Argmax()(Image(scores))
    assert (type(made), made.interpolation) == (LabelMap, NEAREST)
    assert Argmax()(torch.eye(300)).tolist() == [list(range(300))]
    assert Argmax()(torch.tensor([[1, 2], [2, 1]])).tolist() == [[1, 0]]


@law
@given(st.integers(1, 7), st.integers(0, 99))
def test_argmax_is_that_of_torch(classes, seed):
    scores = torch.from_numpy(Rng(seed).generator().integers(-3, 3, (classes, 5, 6)).astype(np.float32))
    assert torch.equal(Argmax()(scores)[0].long(), torch.from_numpy(scores.numpy().argmax(0)))


def test_argmax_refuses_nan():
    with pytest.raises(BadLabel, match="found 1 voxels"):
        Argmax()(torch.tensor([[1.0, float("nan")], [0.0, 2.0]]))


def test_argmax_decides_after_the_scores_were_interpolated():
    scores = torch.stack([torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 1.0])])
    image = Spacing(0.5)(Image(scores, interpolation=LINEAR))
    assert Argmax()(image).data.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]


SPECKLED = """
1100200
1100020
0000220
0011002
"""


@pytest.mark.parametrize(
    ("step", "due"),
    [
        (KeepLargest(), "1100000 1100020 0000220 0000000"),
        (KeepLargest(connectivity="full"), "1100200 1100020 0000220 0000002"),
        (KeepLargest(classes=1), "1100200 1100020 0000220 0000002"),
        (KeepLargest(classes=(2,)), "1100000 1100020 0000220 0011000"),
        (KeepLargest(classes=(7,)), "1100200 1100020 0000220 0011002"),
        (KeepLargest(together=True), "1100000 1100000 0000000 0000000"),
        (KeepLargest(together=True, connectivity="full"), "0000200 0000020 0000220 0011002"),
    ],
    ids=repr,
)
def test_keep_largest(step, due):
    for dtype in (torch.uint8, torch.int64, torch.uint16):
        out = step(picture(SPECKLED).to(dtype))
        assert torch.equal(out.to(torch.uint8), picture(due))
        assert out.dtype == dtype
    stacked = torch.cat([picture(SPECKLED), picture(due)])
    assert torch.equal(step(stacked)[0], picture(due)[0])


@law
@given(st.integers(0, 9999), st.sampled_from([2, 3]), st.sampled_from(["face", "full"]), st.floats(0.2, 0.7))
def test_keep_largest_is_one_component_as_scipy_counts(seed, d, connectivity, share):
    labels = (Rng(seed).generator().random((1, *(8, 7, 6)[:d])) < share).astype(np.uint8)
    out = KeepLargest(connectivity=connectivity)(torch.from_numpy(labels)).numpy()[0]
    shape = ndimage.generate_binary_structure(d, 1 if connectivity == "face" else d)
    parts, count = ndimage.label(labels[0], shape)
    if count:
        sizes = ndimage.sum_labels(labels[0], parts, range(1, count + 1))
        assert ndimage.label(out, shape)[1] == 1
        assert out.sum() == sizes.max()
        assert (out <= labels[0]).all()
    else:
        assert not out.any()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_remap_is_all_at_once(dtype):
    labels = torch.tensor([[0, 1, 2, 3]]).to(dtype)
    assert Remap({1: 2, 2: 1})(labels).tolist() == [[0, 2, 1, 3]]
    assert Remap({2: 1, 3: 1}, rest=0)(labels).tolist() == [[0, 0, 1, 1]]
    assert Remap(((1, 5),))(labels).dtype == dtype
    assert Remap({})(labels).tolist() == labels.tolist()


def test_remap_passes_over_labels_that_the_dtype_cannot_hold():
    assert Remap({1000: 1})(torch.tensor([[232]], dtype=torch.uint8)).tolist() == [[232]]


@pytest.mark.parametrize("pairs", [{1: 300}, {1: -1}])
def test_remap_refuses_numbers_that_do_not_fit(pairs):
    with pytest.raises(BadLabel, match="expected 0 to 255"):
        Remap(pairs)(torch.zeros(1, 3, dtype=torch.uint8))


@pytest.mark.parametrize(
    "make",
    [
        lambda: OneHot(0),
        lambda: KeepLargest(connectivity="corner"),
        lambda: KeepLargest(classes=0),
        lambda: Remap(((1, 2), (1, 3))),
        lambda: Remap(((1, 2, 3),)),
        lambda: Remap(5),
    ],
)
def test_bad_parameters_are_refused(make):
    with pytest.raises(BadArgument, match="found"):
        make()


def test_label_steps_leave_images_alone():
    image = Image(torch.rand(1, 4, 4))
    sample = {"image": image, "label": LabelMap(torch.ones(1, 4, 4, dtype=torch.uint8))}
    for step in (OneHot(2), KeepLargest(), Remap({1: 2})):
        assert step(sample)["image"] is image
