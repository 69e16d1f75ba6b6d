"""Random series, each spoiled in a known way or in none: none is read wrongly, none is refused without cause."""

import re

import numpy as np
import pytest
from dicom_maker import Maker, orthogonal, save

from medframe.base.errors import BadGeometry, MedframeError
from medframe.io import read

COUNT = 300
FAULTS = ("none", "drop", "double", "copy", "move", "resize", "turn", "second")
WORDS = {
    "drop": "missing|not evenly spaced",
    "double": "one position",
    "copy": "one position",
    "move": "not evenly spaced|missing|lie behind each other",
    "resize": "mixed",
    "turn": "mixed",
    "second": "not said",
}


def spoiled(rng, maker, folder, fault):
    """Write the series; the names say nothing, and numbers contradict places."""
    count = maker.volume.shape[2]
    slopes = rng.integers(1, 4, count) if rng.random() < 0.4 else np.ones(count, int)
    inters = rng.integers(-1000, 1000, count) if rng.random() < 0.4 else np.zeros(count, int)
    names = [f"{n:06x}{rng.choice(['.dcm', '', '.IMA'])}" for n in rng.choice(1 << 24, 2 * count + 1, replace=False)]
    numbers = rng.permutation(count) + 1
    odd = int(rng.integers(1, count - 1))
    slices = {}
    for k in range(count):
        slices[k] = maker.slice(
            k, InstanceNumber=int(numbers[k]), RescaleSlope=int(slopes[k]), RescaleIntercept=int(inters[k])
        )
    extra = []
    if fault == "drop":
        del slices[odd]
    elif fault == "double":
        extra = [maker.slice(odd, pixels=maker.volume[:, :, odd].T + 1)]
    elif fault == "copy":
        extra = [slices[odd]]
    elif fault == "move":
        off = maker.axes @ rng.uniform(-1, 1, 3)
        off *= rng.uniform(0.05, 0.4) * maker.spacing[2] / np.linalg.norm(off)
        slices[odd].ImagePositionPatient = [f"{v:.8g}" for v in maker.position(odd) + off]
    elif fault == "resize":
        slices[odd].PixelSpacing = [f"{v:.6g}" for v in maker.spacing[1::-1] * 1.1]
    elif fault == "turn":
        slices[odd].ImageOrientationPatient = [f"{v:.8g}" for v in orthogonal(rng)[:, :2].T.ravel()]
    elif fault == "second":
        extra = [maker.slice(k, pixels=maker.volume[:, :, k].T + 5) for k in range(count)]
    for ds, name in zip([*slices.values(), *extra], names, strict=False):
        save(ds, folder / name)
    return maker.volume * slopes + inters


@pytest.mark.parametrize("part", range(4))
def test_random_series_are_judged_right(tmp_path, part):
    rng = np.random.default_rng(100 + part)
    wrong = []
    for number in range(part * COUNT // 4, (part + 1) * COUNT // 4):
        shape = tuple(int(n) for n in (*rng.integers(2, 7, 2), rng.integers(4, 12)))
        shear = rng.uniform(-0.4, 0.4, 2) if rng.random() < 0.25 else np.zeros(2)
        spacing = rng.uniform(0.4, 6, 3)
        maker = Maker(
            rng.integers(0, 4000, shape),
            axes=np.eye(3) if rng.random() < 0.3 else orthogonal(rng),
            origin=rng.uniform(-300, 300, 3),
            spacing=spacing,
            shear=shear * spacing[2],
        )
        folder = tmp_path / str(number)
        folder.mkdir()
        fault = FAULTS[number % len(FAULTS)]
        due = spoiled(rng, maker, folder, fault)
        try:
            image = read(folder)
            found = image.data[0].numpy()
        except MedframeError as error:
            if fault == "none" or not isinstance(error, BadGeometry) or not re.search(WORDS[fault], str(error)):
                wrong.append((number, fault, str(error)))
            continue
        if fault != "none":
            wrong.append((number, fault, "read without a word"))
            continue
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1).T
        world = corners @ maker.affine[:3, :3].T + maker.affine[:3, 3]
        index = image.space.to_index(world)
        at = np.rint(index).astype(int)
        same = np.array_equal(found[tuple(at.T)], due[tuple(corners.T)]) and np.array_equal(
            np.sort(found, None), np.sort(due, None)
        )
        if np.abs(index - at).max() > 1e-3 or not same:
            wrong.append((number, fault, "other values or places"))
    assert not wrong, wrong[:5]
