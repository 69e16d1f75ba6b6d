"""Real label pairs against values computed by SimpleITK, DeepMind and MONAI, at isotropic and anisotropic spacing."""

import csv
from pathlib import Path

import numpy as np
import pytest

from medframe.metrics import (
    AverageSurfaceDistance,
    Dice,
    Hausdorff,
    IoU,
    SurfaceDice,
    Volume,
    VolumeDifference,
    Voxels,
    score_case,
)

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
VALUES = DATA / "reference_metrics" / "hippocampus_pairs.csv"
LABELS = DATA / "msd_hippocampus" / "labelsTr"

pytestmark = pytest.mark.skipif(not (VALUES.is_file() and LABELS.is_dir()), reason=f"no reference data in {DATA}")

METRICS = (
    Dice(),
    IoU(),
    Hausdorff(),
    Hausdorff(95),
    AverageSurfaceDistance(False),
    AverageSurfaceDistance(),
    SurfaceDice(1.0),
    Voxels("prediction"),
    Voxels("reference"),
    Volume("reference"),
    VolumeDifference("symmetric"),
    Hausdorff(95, by="area"),
    Hausdorff(by="area"),
    AverageSurfaceDistance(False, by="area"),
    SurfaceDice(1.0, by="area"),
)

# our column, their column, tolerance (they print six decimals; MONAI works in single precision)
COLUMNS = [
    ("dice", "sitk_dice", 1e-6),
    ("dice", "monai_dice", 1e-6),
    ("iou", "sitk_jaccard", 1e-6),
    ("hd", "sitk_hausdorff", 1e-5),
    ("hd", "monai_hd", 1e-5),
    ("hd95", "monai_hd95", 1e-4),
    ("asd", "monai_asd", 1e-5),
    ("assd", "monai_assd", 1e-5),
    ("nsd_1mm", "monai_surface_dice_1mm", 1e-6),
    ("hd95_area", "sd_hd95", 1e-5),
    ("hd_area", "sd_hd100", 1e-5),
    ("asd_area", "sd_asd_pred_to_gt", 1e-5),
    ("nsd_1mm_area", "sd_surface_dice_1mm", 1e-5),
    ("voxels_prediction", "n_pred", 0),
    ("voxels_reference", "n_gt", 0),
]


def load(name):
    nibabel = pytest.importorskip("nibabel")
    return np.asarray(nibabel.load(LABELS / name).dataobj).astype(np.uint8)


def fit(labels, shape):
    """Centre-crop or zero-pad each axis, as the reference values' README says."""
    out = np.zeros(shape, labels.dtype)
    sizes = [(n, m, min(n, m)) for n, m in zip(labels.shape, shape, strict=True)]
    source = tuple(slice((n - k) // 2, (n - k) // 2 + k) for n, _, k in sizes)
    target = tuple(slice((m - k) // 2, (m - k) // 2 + k) for _, m, k in sizes)
    out[target] = labels[source]
    return out


@pytest.fixture(scope="module")
def measured():
    """(their row, our row) for every line of the file."""
    with VALUES.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    ours = {}
    for line in lines:
        key = line["gt"], line["pred_from"], line["sx"], line["sy"], line["sz"]
        if key not in ours:
            truth = load(line["gt"])
            found = fit(load(line["pred_from"]), truth.shape)
            ours[key] = score_case(found, truth, [float(s) for s in key[2:]], [1, 2], METRICS, case=line["gt"])
    return [
        (line, ours[line["gt"], line["pred_from"], line["sx"], line["sy"], line["sz"]][int(line["label"]) - 1])
        for line in lines
    ]


def test_all_pairs_are_there(measured):
    assert len(measured) == 48
    assert len({(line["sx"], line["sy"], line["sz"]) for line, _ in measured}) == 2


@pytest.mark.parametrize(("column", "theirs", "tolerance"), COLUMNS, ids=[f"{c[0]}-{c[1]}" for c in COLUMNS])
def test_values_match(measured, column, theirs, tolerance):
    differences = [abs(row[column] - float(line[theirs])) for line, row in measured]
    assert max(differences) <= tolerance


def test_volume_is_voxels_times_spacing(measured):
    for line, row in measured:
        voxel = float(line["sx"]) * float(line["sy"]) * float(line["sz"])
        assert row["volume_reference"] == pytest.approx(int(line["n_gt"]) * voxel)


def test_symmetric_volume_difference_is_the_negative_volume_similarity_of_simpleitk(measured):
    for line, row in measured:
        assert row["volume_difference_symmetric"] == pytest.approx(-float(line["sitk_volume_similarity"]), abs=1e-6)
