"""What pyradiomics published about its images holds for what we read: values, lattice and places inside the label.

Every number of the tables was computed by the authors of pyradiomics; the definitions are those of its documentation.
"""

import ast
import csv
import hashlib

import numpy as np
import pytest
from scipy import ndimage

from medframe.image import LabelMap
from medframe.io import read

SHIFT = 2000  # added to the values before energies, as the published settings say ('voxelArrayShift')


@pytest.fixture(params=["brain1", "breast1"])
def published(request, data_folder):
    """The image, its label map, and what was published: by name, of the run without resampling and of the others."""
    folder = data_folder / "pyradiomics"
    facts = {}
    for table in ("firstorder", "shape"):
        with open(folder / "baseline" / f"baseline_{table}.csv", newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                known = [row[c] for c in row if c == request.param and row[c]]
                # facts of the original images stand in the later columns alone, equal in all
                known += [
                    v for c, v in row.items() if c.startswith(f"{request.param}_") and "original_" in row["featureName"]
                ]
                known = [v for v in known if v]
                if known:
                    facts.setdefault(row["featureName"], known[0])
    image = read(folder / f"{request.param}_image.nrrd")
    label = read(folder / f"{request.param}_label.nrrd", LabelMap)
    return image, label, facts


def test_lattice_and_bytes(published):
    image, label, facts = published
    assert image.space == label.space
    assert image.space.shape == ast.literal_eval(facts["diagnostics_Image-original_Size"])
    spacing = ast.literal_eval(facts["diagnostics_Image-original_Spacing"])
    assert np.allclose(image.space.spacing, spacing, rtol=1e-9)
    # SHA-1 of the voxels in the order of the file
    raw = np.ascontiguousarray(image.data[0].numpy().transpose(2, 1, 0))
    assert hashlib.sha1(raw.tobytes()).hexdigest() == facts["diagnostics_Image-original_Hash"]


def test_the_label(published):
    _, label, facts = published
    mask = label.data[0].numpy() == 1
    assert int(mask.sum()) == int(facts["diagnostics_Mask-original_VoxelNum"])
    assert ndimage.label(mask, np.ones((3, 3, 3)))[1] == int(facts["diagnostics_Mask-original_VolumeNum"])
    where = np.argwhere(mask)
    low, size = where.min(0), np.ptp(where, 0) + 1
    assert (*low, *size) == ast.literal_eval(facts["diagnostics_Mask-original_BoundingBox"])
    centre = ast.literal_eval(facts["diagnostics_Mask-original_CenterOfMassIndex"])
    assert np.allclose(where.mean(0), centre, rtol=1e-9)
    lps = ast.literal_eval(facts["diagnostics_Mask-original_CenterOfMass"])
    assert np.allclose(label.space.to_world(where.mean(0)), np.array(lps) * [-1, -1, 1], atol=1e-6)


def test_values_inside_the_label(published):
    image, label, facts = published
    x = image.data[0].numpy()[label.data[0].numpy() == 1].astype(float)
    around = x - x.mean()
    robust = x[(x >= np.percentile(x, 10)) & (x <= np.percentile(x, 90))]
    due = {
        "Mean": x.mean(),
        "Median": np.median(x),
        "Minimum": x.min(),
        "Maximum": x.max(),
        "Range": np.ptp(x),
        "10Percentile": np.percentile(x, 10),
        "90Percentile": np.percentile(x, 90),
        "InterquartileRange": np.subtract(*np.percentile(x, (75, 25))),
        "Variance": (around**2).mean(),
        "Skewness": (around**3).mean() / (around**2).mean() ** 1.5,
        "Kurtosis": (around**4).mean() / (around**2).mean() ** 2,
        "MeanAbsoluteDeviation": np.abs(around).mean(),
        "RobustMeanAbsoluteDeviation": np.abs(robust - robust.mean()).mean(),
        "Energy": ((x + SHIFT) ** 2).sum(),
        "TotalEnergy": ((x + SHIFT) ** 2).sum() * label.space.voxel_volume,
        "RootMeanSquared": np.sqrt(((x + SHIFT) ** 2).mean()),
    }
    for name, value in due.items():
        assert value == pytest.approx(float(facts[f"original_firstorder_{name}"]), rel=1e-8), name
    whole = image.data.numpy()
    assert whole.mean(dtype=float) == pytest.approx(float(facts["diagnostics_Image-original_Mean"]), rel=1e-9)
    assert (whole.min(), whole.max()) == tuple(
        int(facts[f"diagnostics_Image-original_{end}"]) for end in ("Minimum", "Maximum")
    )


def test_lengths_in_the_world(published):
    _, label, facts = published
    places = label.space.to_world(np.argwhere(label.data[0].numpy() == 1))
    widths = np.linalg.eigvalsh(np.cov(places.T, bias=True))
    for name, width in zip(("LeastAxisLength", "MinorAxisLength", "MajorAxisLength"), widths, strict=True):
        assert 4 * np.sqrt(width) == pytest.approx(float(facts[f"original_shape_{name}"]), rel=1e-6)
