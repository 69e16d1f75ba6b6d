"""Images as values: what they refuse, what they put off, and what survives pickling."""

import copy
import pickle

import numpy as np
import pytest
import torch

from medframe.base import BadArgument, BadGeometry, BadLabel, Rng
from medframe.geometry import (
    CUBIC,
    LINEAR,
    NEAREST,
    Displacement,
    Interpolation,
    Space,
    Warp,
    homogeneous,
    knot_lattice,
    rotation,
)
from medframe.image import Image, LabelMap, Stack, TensorSource, reads_of

DATA = torch.from_numpy(Rng(0).generator().random((2, 6, 7, 8)).astype(np.float32))
AFFINE = np.array([[0, 0, -2.0, 10], [-1.0, 0, 0, 20], [0, 3.0, 0, 30], [0, 0, 0, 1]])


def bend(space, seed=0, most=0.6):
    knots = knot_lattice(space, np.full(space.ndim, 6.0))
    values = Rng(seed).uniform((-most, most), (space.ndim, *knots.shape)).astype(np.float32)
    return Displacement(torch.from_numpy(values), knots)


def deformed(image, seed=0):
    return image.warped(Warp.through_world(image.space, bend(image.space, seed)))


class Counted(TensorSource):
    """A source that counts its reads."""

    reads = 0

    def read(self, window):
        type(self).reads += 1
        return super().read(window)


def test_what_an_image_knows():
    image = Image(DATA, AFFINE, meta={"case": "a"})
    assert (image.shape, image.channels, image.ndim) == ((2, 6, 7, 8), 2, 3)
    assert (image.dtype, image.device.type) == (torch.float32, "cpu")
    assert image.space.axcodes == "PSL"
    assert image.source_space is image.space
    assert image.data is DATA
    assert image.pending is None
    assert image.meta["case"] == "a"
    assert image.with_meta(side="left").meta == {"case": "a", "side": "left"}
    assert repr(image) == (
        "<Image: 2 channel(s), torch.float32, 6 x 7 x 8 voxels of 1 x 3 x 2 mm, PSL, origin (10, 20, 30)>"
    )
    with pytest.raises(TypeError):
        image.meta["case"] = "b"
    with pytest.raises(AttributeError):
        image.colour = "red"
    np.testing.assert_array_equal(Image(DATA).affine, np.eye(4))
    assert (Image(DATA).interpolation, LabelMap(DATA.int()).interpolation) == (LINEAR, NEAREST)


def test_nothing_is_read_until_somebody_looks_and_then_once():
    Counted.reads = 0
    image = Image(Counted(DATA), AFFINE)
    moved = image.warped(Warp.window((1, 1, 1), (4, 4, 4))).warped(Warp.window((0, 1, 2), (2, 2, 2)))
    assert Counted.reads == 0
    assert "a warp waiting" in repr(moved)
    first = moved.data
    assert moved.data is first
    assert Counted.reads == 1
    log = []
    token = reads_of.set(log)
    try:
        moved.read(torch.float64)
    finally:
        reads_of.reset(token)
    assert [(r.kind, r.shape) for r in log] == [("copy", (2, 2, 2, 2))]


def test_an_array_is_taken_whatever_its_order_or_rights():
    array = DATA.numpy().astype(">f4")
    frozen = DATA.numpy().copy()
    frozen.setflags(write=False)
    for given in (array, frozen, DATA.numpy()[:, ::-1][:, ::-1], np.asfortranarray(DATA.numpy())):
        assert torch.equal(Image(given).data, DATA)
    image = Image(frozen)
    image.data[0, 0, 0, 0] = 9  # its own memory: writing cannot reach what was read-only
    assert frozen[0, 0, 0, 0] != 9
    assert LabelMap(np.arange(6, dtype=">i2")[None]).data.dtype == torch.int16


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Image(torch.zeros(4)), BadGeometry, r"found \(4,\)"),
        (lambda: Image(torch.zeros(1, 2, 2, 2, 2)), BadGeometry, r"\(C, \*spatial\)"),
        (lambda: Image(torch.zeros(0, 2, 2)), BadGeometry, "at least one channel"),
        (lambda: Image(torch.zeros(1, 0, 2)), BadGeometry, r"found shape \(0, 2\)"),
        (lambda: Image(DATA, np.eye(3)), BadGeometry, r"found \(3, 3\); expected \(4, 4\)"),
        (lambda: Image(DATA, space=Space((1, 2, 3), AFFINE)), BadGeometry, r"found \(6, 7, 8\); expected \(1, 2, 3\)"),
        (lambda: Image(DATA, AFFINE, space=Space((6, 7, 8), AFFINE)), BadArgument, "not both"),
        (lambda: Image(DATA.to(torch.complex64)), BadArgument, "real numbers"),
        (lambda: Image(np.array([["a", "b"]])), BadArgument, "an array of <U1"),
        (lambda: Image(DATA).with_data(torch.zeros(2, 3, 3, 3)), BadGeometry, r"found \(3, 3, 3\)"),
        (lambda: LabelMap(DATA), BadLabel, "holds integers; found torch.float32"),
        (lambda: LabelMap(DATA.int()).with_data(DATA), BadLabel, "Round it knowingly"),
        (lambda: Image(DATA).as_labels(), BadLabel, "holds integers"),
        (lambda: Stack((TensorSource(DATA), TensorSource(DATA[:, 1:]))), BadGeometry, "different shapes"),
    ],
)
def test_mistakes_are_named(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_a_displacement_acts_in_the_images_world_or_is_refused():
    image = Image(DATA, AFFINE)
    made = bend(image.space)
    assert image.warped(Warp.through_world(image.space, made)).place.deformation == (made,)
    elsewhere = Warp(image.space.shape, (np.eye(4), made, np.eye(4)))
    with pytest.raises(BadGeometry, match=r"Warp\.through_world"):
        image.warped(elsewhere)


def test_to_space_reads_the_patients_world():
    image = Image(DATA, AFFINE)
    space = Space((3, 3, 3), homogeneous(np.eye(3), [0, 15, 33]))
    out = image.to_space(space)
    assert out.space == space
    for index in ((0, 0, 0), (2, 1, 0), (1, 2, 2)):
        i, j, k = image.space.to_index(space.to_world(index))
        lo, t = int(np.floor(j)), j % 1  # the other axes meet voxel centres or lie halfway
        assert abs(i - round(i)) < 1e-9
        a, b = int(np.floor(k)), k % 1
        corner = DATA[:, round(i)]
        near = (1 - t) * ((1 - b) * corner[:, lo, a] + b * corner[:, lo, a + 1])
        far = t * ((1 - b) * corner[:, lo + 1, a] + b * corner[:, lo + 1, a + 1])
        torch.testing.assert_close(out.data[(slice(None), *index)], (near + far).float(), atol=1e-5, rtol=1e-5)


def test_deformations_are_undone_on_the_way_back():
    image = Image(DATA, AFFINE)
    bent = deformed(deformed(image, 1), 2)
    assert len(bent.place.deformation) == 2
    back = bent.to_source()
    assert back.place.deformation == ()
    assert torch.equal(back.data, image.data)  # the chain cancels, nothing is solved
    places = image.space.to_world(Rng(1).generator().uniform(1, 5, (20, 3)))
    # a place of the bent image shows the tissue at its deformed place
    through = bent.pending(bent.space.to_index(places))
    told = places
    for displacement in bent.place.deformation:
        told = displacement(told)
    np.testing.assert_allclose(image.space.to_world(through), told, atol=1e-9)
    # a settled image has no chain to cancel with: the way back is solved, and reads the same places
    settled = bent.settled().to_source()
    np.testing.assert_allclose(settled.pending(back.space.to_index(told)), bent.space.to_index(places), atol=1e-4)


def test_with_interpolation_changes_what_waits():
    image = Image(DATA, AFFINE).warped(Warp((4, 4, 4), (homogeneous(rotation([0.1, 0.2, 0.3]), [1, 1, 1]),)))
    linear, nearest, cubic = image, image.with_interpolation(NEAREST), image.with_interpolation(CUBIC)
    assert set(nearest.data.flatten().tolist()) <= set(DATA.flatten().tolist()) | {0.0}
    assert not torch.equal(linear.data, nearest.data)
    assert not torch.equal(linear.data, cubic.data)


def test_settling_forgets_what_lies_beyond():
    image = Image(DATA, AFFINE)
    window = Warp.window((2, 2, 2), (3, 3, 3))
    wide = Warp.window((-1, -1, -1), (5, 5, 5))
    assert torch.equal(image.warped(window).warped(wide).data, DATA[:, 1:6, 1:6, 1:6])
    cut = image.warped(window).settled()
    assert cut.pending is None
    assert cut.source_space == image.space
    due = torch.zeros(2, 5, 5, 5)
    due[:, 1:4, 1:4, 1:4] = DATA[:, 2:5, 2:5, 2:5]
    assert torch.equal(cut.warped(wide).data, due)


def test_integers_are_read_as_floats_without_rounding():
    labels = Image(torch.tensor([[0, 10]], dtype=torch.uint8))
    moved = labels.warped(Warp((1,), (homogeneous([[1.0]], [0.25]),)))
    assert moved.data.tolist() == [[2]]
    assert moved.read(torch.float32).tolist() == [[2.5]]
    assert labels.read(torch.float64).dtype == torch.float64


def test_values_of_another_kind_keep_the_place():
    image = deformed(Image(DATA, AFFINE, meta={"case": "a"}))
    made = LabelMap.at(torch.ones(1, *image.space.shape, dtype=torch.uint8), image.place)
    assert (type(made), made.interpolation, made.meta["case"]) == (LabelMap, NEAREST, "a")
    assert made.source_space == image.source_space
    assert made.place.deformation == image.place.deformation
    fill = Interpolation(0, fill=255)
    assert LabelMap.at(made.data, LabelMap(made.data, interpolation=fill).place).interpolation == fill
    assert type(Image((DATA * 9).int()).as_labels()) is LabelMap
    assert image.with_data(DATA.double()).dtype == torch.float64
    assert torch.equal(image.to("cpu").data, image.data)


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_images_survive_pickling_warps_and_all(protocol):
    image = deformed(Image(DATA, AFFINE, meta={"case": "a"}, interpolation=CUBIC))
    image = image.warped(Warp.window((1, 1, 1), (3, 4, 5)))
    again = pickle.loads(pickle.dumps(image, protocol))
    assert again.pending is not None
    assert torch.equal(again.data, image.data)
    assert again.space == image.space
    assert again.source_space == image.source_space
    assert again.interpolation == CUBIC
    assert dict(again.meta) == {"case": "a"}
    assert not again.affine.flags.writeable
    assert torch.equal(again.to_source().data, DATA)  # the chain still cancels
    assert torch.equal(copy.deepcopy(image).data, image.data)
    labels = pickle.loads(pickle.dumps(LabelMap(DATA.int(), AFFINE), protocol))
    assert type(labels) is LabelMap


def test_channels_from_several_sources():
    stack = Stack((TensorSource(DATA), TensorSource((DATA[:1] * 9).to(torch.int16))))
    assert (stack.shape, stack.dtype) == ((3, 6, 7, 8), torch.float32)
    image = Image(stack, AFFINE)
    assert torch.equal(image.data[:2], DATA)
    assert torch.equal(image.warped(Warp.window((1, 1, 1), (2, 2, 2))).data, image.data[:, 1:3, 1:3, 1:3])
