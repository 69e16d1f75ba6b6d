"""ITK's transform files move a place of the RAS world as SimpleITK moves its LPS twin."""

import numpy as np
import pytest
import SimpleITK as sitk

from medframe.base.errors import BadFile, BadGeometry, MedframeError
from medframe.io import read_transform


def affine(rng):
    t = sitk.AffineTransform(3)
    t.SetMatrix((np.eye(3) + rng.normal(0, 0.2, (3, 3))).ravel().tolist())
    t.SetTranslation(rng.normal(0, 9, 3).tolist())
    t.SetCenter(rng.normal(0, 50, 3).tolist())
    return t


def euler(rng, zyx=False):
    t = sitk.Euler3DTransform()
    t.SetParameters([*rng.uniform(-1, 1, 3), *rng.normal(0, 9, 3)])
    t.SetCenter(rng.normal(0, 50, 3).tolist())
    t.SetComputeZYX(zyx)
    return t


def versor(rng):
    t = sitk.VersorRigid3DTransform()
    t.SetParameters([*rng.uniform(-0.5, 0.5, 3), *rng.normal(0, 9, 3)])
    t.SetCenter(rng.normal(0, 50, 3).tolist())
    return t


def similarity(rng):
    t = sitk.Similarity3DTransform()
    t.SetParameters([*rng.uniform(-0.5, 0.5, 3), *rng.normal(0, 9, 3), 1.3])
    t.SetCenter(rng.normal(0, 50, 3).tolist())
    return t


def euler2d(rng):
    t = sitk.Euler2DTransform()
    t.SetParameters([0.4, 3.0, -2.0])
    t.SetCenter((5.0, 6.0))
    return t


def similarity2d(rng):
    t = sitk.Similarity2DTransform()
    t.SetParameters([1.2, 0.4, 3.0, -2.0])
    t.SetCenter((5.0, 6.0))
    return t


def scale(rng):
    t = sitk.ScaleTransform(3, (1.1, 0.9, 1.3))
    t.SetCenter((1.0, 2.0, 3.0))
    return t


MAKE = {
    "affine": affine,
    "euler": euler,
    "euler zyx": lambda rng: euler(rng, True),
    "versor": versor,
    "similarity": similarity,
    "translation": lambda rng: sitk.TranslationTransform(3, rng.normal(0, 9, 3).tolist()),
    "identity": lambda rng: sitk.Transform(3, sitk.sitkIdentity),
    "euler 2-D": euler2d,
    "similarity 2-D": similarity2d,
    "scale": scale,
    "composite": lambda rng: sitk.CompositeTransform([affine(rng), euler(rng), versor(rng)]),
}


@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".mat"])
@pytest.mark.parametrize("name", MAKE)
def test_places_move_as_in_simpleitk(tmp_path, rng, name, suffix):
    transform = MAKE[name](rng)
    path = tmp_path / f"x{suffix}"
    if suffix == ".mat" and name == "composite":
        return  # ITK writes no composites into .mat files
    sitk.WriteTransform(transform, str(path))
    matrix = read_transform(path)
    d = transform.GetDimension()
    assert matrix.shape == (d + 1, d + 1)
    mirror = np.array([-1, -1, 1])[:d]
    for _ in range(5):
        place = rng.normal(0, 60, d)
        due = mirror * np.array(transform.TransformPoint((mirror * place).tolist()))
        assert np.allclose((matrix @ [*place, 1])[:d], due, atol=1e-6)


def test_refusals(tmp_path, rng):
    spline = sitk.BSplineTransform(3)
    spline.SetTransformDomainMeshSize((2, 2, 2))
    sitk.WriteTransform(spline, str(tmp_path / "b.tfm"))
    with pytest.raises(BadFile, match=r"not linear.*BSpline"):
        read_transform(tmp_path / "b.tfm")
    with pytest.raises(BadFile, match="HDF5"):
        read_transform(tmp_path / "x.h5")
    with pytest.raises(BadFile, match="no such file"):
        read_transform(tmp_path / "absent.tfm")
    sitk.WriteTransform(affine(rng), str(tmp_path / "a.tfm"))
    text = (tmp_path / "a.tfm").read_text()
    for change, kind in [
        (lambda t: t.replace("Parameters: ", "Parameters: nan ", 1), MedframeError),
        (lambda t: t.replace("Transform: Affine", "Transform: Evil"), BadFile),
        (lambda t: "x" + t, BadFile),
        (lambda t: t[: t.index("Parameters")], BadFile),
        (lambda t: t.replace("AffineTransform_double_3_3", "Euler3DTransform_double_3_2"), BadFile),
    ]:
        (tmp_path / "c.tfm").write_text(change(text))
        with pytest.raises(kind):
            read_transform(tmp_path / "c.tfm")
    flat = sitk.AffineTransform(3)
    flat.SetMatrix([1, 0, 0, 0, 1, 0, 0, 0, 1])
    sitk.WriteTransform(flat, str(tmp_path / "f.tfm"))
    text = (tmp_path / "f.tfm").read_text().replace("Parameters: 1 0 0 0 1 0 0 0 1", "Parameters: 1 0 0 0 1 0 0 0 0", 1)
    (tmp_path / "f.tfm").write_text(text)
    with pytest.raises(BadGeometry, match=r"no length|singular"):
        read_transform(tmp_path / "f.tfm")
    sitk.WriteTransform(affine(rng), str(tmp_path / "a.mat"))
    whole = (tmp_path / "a.mat").read_bytes()
    for size in (0, 5, 30, len(whole) - 3):
        (tmp_path / "a.mat").write_bytes(whole[:size])
        with pytest.raises(BadFile):
            read_transform(tmp_path / "a.mat")
