"""What goes into an entry comes out of it, to the bit."""

import math
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch

from medframe.base.container import read_container, write_container
from medframe.base.errors import BadArgument
from medframe.base.rng import Rng
from medframe.data.entry import decode, encode, in_memory, settle
from medframe.geometry import Interpolation, Space, Warp
from medframe.image import Boxes, Image, LabelMap, Points
from medframe.transforms import Elastic, Rotate

SPACE = Space((5, 4, 3), np.array([[0.7, 0.2, 0, -3.3], [-0.1, 1.1, 0, 1 / 3], [0, 0.05, 2.5, 1e-9], [0, 0, 0, 1]]))
VOXELS = torch.linspace(-1, 1, 120).reshape(2, 5, 4, 3)


def image(dtype=torch.float32, kind=Image, **more):
    return kind((VOXELS * 100).to(dtype), space=SPACE, **more)


def deformed() -> Image:
    big = Image(torch.rand(1, 16, 16, 16), np.diag([2.0, 2.0, 2.0, 1.0]))
    return settle({"x": Elastic((1.0, 2.0))(Rotate((5, 9))(big, Rng(1)), Rng(2))})["x"]


def with_both_directions() -> Image:
    there = deformed()
    place = replace(there.place, deformation=(there.place.deformation[0], there.place.deformation[0].inverted))
    return Image.at(there.data, place)


MEMBERS = {
    "float32": image(),
    "float64": image(torch.float64),
    "float16": image(torch.float16),
    "bfloat16": image(torch.bfloat16),
    "int16": image(torch.int16),
    "labels": image(torch.uint8, LabelMap),
    "labels that vote": image(torch.int32, LabelMap).with_interpolation(Interpolation(1)),
    "spline": image(interpolation=Interpolation(3, "reflect", -1024.5, False)),
    "special values": Image(torch.tensor([[[math.nan, -0.0, math.inf, 1e-45]]])),
    "plane": Image(torch.ones(1, 2, 3), np.array([[0, 1, 2], [1, 0, 0], [0, 0, 1.0]])),
    "meta": image(meta={"file": "a.nii", "notes": ("x", 1), "deep": {"n": [1, 2.5, None]}, 3: True}),
    "another source": image().to_space(Space((3, 3, 3), np.diag([2.0, 1, 1, 1]))).settled(),
    "deformation": deformed(),
    "deformation and its inverse": with_both_directions(),
    "points": Points(np.array([[1 / 3, 2, 3], [4, 5, 1e300]]), ("a", "b"), np.array([7, -1]), {"by": "x"}),
    "no points": Points(np.zeros((0, 3)), labels=np.zeros(0, np.int64)),
    "boxes": Boxes(np.array([[[0, 1, 2], [3, 4, 5.5]]]), (9,), {"k": (1,)}),
    "texts": ["ä\n", "", "!"],
    "numbers": [0, -1, 2**80, True, None, 0.1, -0.0, math.inf, -math.inf, math.nan, 5e-324],
    "nesting": {"!": ({"a": (1, [2, (3,)])}, []), "b": MappingProxyType({}) or {}},
    "order": {"z": 1, "a": 2, "m": 3},
    "path": Path("a/b"),
    "numpy scalars": [np.float32(0.1), np.int8(-3), np.bool_(True), np.float64(1 / 3), np.uint64(2**64 - 1)],
    "arrays": [np.arange(6).reshape(2, 3).astype(d) for d in ("u1", "i2", "u4", "i8", "f2", "f4", "f8", "?")],
    "odd arrays": [np.float64(2.5) * np.ones(()), np.zeros((0, 3)), np.asfortranarray(np.eye(3)), np.eye(4)[::2]],
    "tensors": [torch.arange(3), torch.tensor(2.5), torch.zeros(0)],
    "space": SPACE,
}


@pytest.mark.parametrize("name", MEMBERS)
def test_round_trip(name, tmp_path, same):
    sample = {"case": "a", "x": MEMBERS[name], "after": 1}
    taken = encode(sample)
    write_container(tmp_path / "e", "cache", taken.tensors, {"sample": taken.json})
    read = read_container(tmp_path / "e", "cache")
    back = decode(read.json["sample"], read.tensors)
    if name == "odd arrays":  # arrays come back in C order
        sample["x"] = [np.ascontiguousarray(a) if a.ndim else a for a in sample["x"]]
    same(back, sample)


def test_a_list_of_samples(same):
    samples = [{"image": image(), "k": k} for k in range(3)]
    taken = encode(samples)
    same(decode(taken.json, taken.tensors), samples)
    assert taken.nbytes == 3 * 120 * 4


def test_big_endian_arrays_keep_their_values():
    taken = encode({"x": np.array([1, 2, 300], ">i2")})
    assert decode(taken.json, taken.tensors)["x"].tolist() == [1, 2, 300]


class Own(Image):
    __slots__ = ()


@pytest.mark.parametrize(
    "value", [object(), lambda: 1, 1j, np.array(["a"]), np.longdouble(1), {1, 2}, b"raw", Own(torch.zeros(1, 2, 2))]
)
def test_what_cannot_be_stored_is_named(value):
    with pytest.raises(
        BadArgument, match=r"extra\.1: a member of the sample cannot be cached; found .*(?i:expected images)"
    ):
        encode({"image": image(), "extra": [1, value]})


def test_settling_pays_and_cuts():
    whole = torch.rand(1, 40, 40, 40)
    crop = Image(whole).warped(Warp.window((10, 10, 10), (4, 5, 6)))
    mirrored = Image(whole[:, ::2].permute(0, 3, 2, 1))
    out = settle({"crop": crop, "mirrored": mirrored, "case": "x"})
    assert list(out) == ["crop", "mirrored", "case"]
    for settled, due in ((out["crop"], whole[:, 10:14, 10:15, 10:16]), (out["mirrored"], mirrored.data)):
        assert settled.pending is None
        assert settled.data.equal(due)
        assert settled.data.is_contiguous()
        assert settled.data.untyped_storage().nbytes() == settled.data.numel() * 4  # holds on to nothing else
    assert out["crop"].source_space == Image(whole).space
    copied = in_memory([out])[0]
    assert copied["crop"].data.data_ptr() != out["crop"].data.data_ptr()
    assert copied["crop"].data.equal(out["crop"].data)
