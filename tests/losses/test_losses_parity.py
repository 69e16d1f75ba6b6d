"""The same values and gradients as MONAI's losses, over random, empty and one-class inputs.

Run as a script, `python tests/losses/test_losses_parity.py FILE`, it writes the table of docs/losses.md as JSON.
"""

import importlib.util
import json
import platform
import sys
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from medframe.losses import (
    BarlowTwinsLoss,
    BendingEnergyLoss,
    BoundaryLoss,
    ContrastiveLoss,
    DeepSupervisionLoss,
    DiceCELoss,
    DiceFocalLoss,
    DiceLoss,
    DiffusionLoss,
    FocalLoss,
    GeneralizedDiceFocalLoss,
    GeneralizedDiceLoss,
    GeneralizedWassersteinDiceLoss,
    GlobalMutualInformationLoss,
    HausdorffDTLoss,
    LocalNormalizedCrossCorrelationLoss,
    MCCLoss,
    NACLLoss,
    PatchAdversarialLoss,
    SoftclDiceLoss,
    SoftDiceclDiceLoss,
    SSIMLoss,
    TverskyLoss,
    UnifiedFocalLoss,
)

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="monai is not installed"),
    pytest.mark.filterwarnings("ignore"),
]

SOFT, SIG = {"softmax": True, "to_onehot_y": True}, {"sigmoid": True, "to_onehot_y": True}
KINDS = ("random", "empty", "one class")


@dataclass(frozen=True)
class Row:
    """Ours, theirs by name and options, the factor between them, and inputs on which they differ, with the reason."""

    ours: Any
    theirs: str
    options: dict = field(default_factory=dict)
    times: float = 1.0
    apart: tuple[str, ...] = ()
    why: str = ""


FOCAL = "under softmax the mean is over voxels, so that gamma 0 is cross-entropy; theirs also divides by the classes"
FAR = ((0, 1, 1), (2, 0, 0.5), (1, 0.5, 0))
LABELS = [
    Row(DiceLoss(), "DiceLoss", SOFT),
    Row(
        DiceLoss(include_background=False, batch=True), "DiceLoss", {**SOFT, "include_background": False, "batch": True}
    ),
    Row(DiceLoss(squared_pred=True, activation="sigmoid"), "DiceLoss", {**SIG, "squared_pred": True}),
    Row(DiceCELoss(), "DiceCELoss", SOFT),
    Row(
        DiceCELoss(weight=(1.0, 2.0, 3.0)),
        "DiceCELoss",
        {**SOFT, "weight": torch.tensor([1.0, 2.0, 3.0])},
        apart=KINDS,
        why="the weights apply to the mean of Dice as an average here, in theirs they scale it",
    ),
    Row(GeneralizedDiceLoss(), "GeneralizedDiceLoss", SOFT),
    Row(GeneralizedDiceLoss(w_type="simple", activation="sigmoid"), "GeneralizedDiceLoss", {**SIG, "w_type": "simple"}),
    Row(FocalLoss(activation="sigmoid", alpha=0.25), "FocalLoss", {"to_onehot_y": True, "alpha": 0.25}),
    Row(
        FocalLoss(alpha=0.25),
        "FocalLoss",
        {"to_onehot_y": True, "use_softmax": True, "alpha": 0.25},
        times=1 / 3,
        why=FOCAL,
    ),
    Row(DiceFocalLoss(activation="sigmoid"), "DiceFocalLoss", SIG),
    Row(GeneralizedDiceFocalLoss(activation="sigmoid"), "GeneralizedDiceFocalLoss", SIG),
    Row(TverskyLoss(0.3, 0.7), "TverskyLoss", {**SOFT, "alpha": 0.3, "beta": 0.7}),
    Row(
        TverskyLoss(0.3, 0.7, batch=True, activation="sigmoid"),
        "TverskyLoss",
        {**SIG, "alpha": 0.3, "beta": 0.7, "batch": True},
    ),
    Row(
        MCCLoss(smooth=0.0),
        "MCCLoss",
        {**SOFT, "smooth_dr": 1e-12},
        why="counts are shares of the voxels here, so that smooth weighs otherwise; without smooth nothing differs",
    ),
    *[
        Row(
            GeneralizedWassersteinDiceLoss(FAR, weighting),
            "GeneralizedWassersteinDiceLoss",
            {"dist_matrix": torch.tensor(FAR), "weighting_mode": weighting},
        )
        for weighting in ("default", "GDL")
    ],
    Row(BoundaryLoss(), "BoundaryLoss", SOFT),
    Row(HausdorffDTLoss(), "HausdorffDTLoss", SOFT),
    Row(
        HausdorffDTLoss(include_background=True, activation="sigmoid"),
        "HausdorffDTLoss",
        {**SIG, "include_background": True},
    ),
    Row(SoftDiceclDiceLoss(activation="sigmoid"), "SoftDiceclDiceLoss", SIG, apart=KINDS, why="see SoftclDiceLoss"),
]
UNIFIED_FOCAL = Row(
    UnifiedFocalLoss(1.0, 0.7),
    "AsymmetricUnifiedFocalLoss",
    {"weight": 1.0},
    times=0.5,
    why="the paper sums the focal part over classes, theirs takes their mean",
)
UNIFIED_TVERSKY = Row(UnifiedFocalLoss(0.0, 0.7), "AsymmetricUnifiedFocalLoss", {"weight": 0.0})


def labels_of(kind, shape, classes=3):
    g = torch.Generator().manual_seed(11)
    if kind == "random":
        return torch.randint(0, classes, shape, generator=g)
    return torch.full(shape, 0 if kind == "empty" else 1)


def logits_of(shape):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def theirs(row):
    return getattr(importlib.import_module("monai.losses"), row.theirs)(**row.options)


def apart(ours, other, x, times):
    """The largest difference of the values, and of the gradients: of numbers above one as a share of them."""
    found = []
    for call in (ours, other):
        z = x.clone().requires_grad_()
        value = call(z)
        value.sum().backward()
        found.append((value.detach().double(), z.grad.double()))
    return max(((times * a - b).abs() / b.abs().clamp(min=1)).max().item() for a, b in zip(*found, strict=True))


def of_labels(row, kind, spatial=(5, 6, 7)):
    labels = labels_of(kind, (2, 1, *spatial))
    other = theirs(row)
    return apart(lambda z: row.ours(z, labels), lambda z: other(z, labels), logits_of((2, 3, *spatial)), row.times)


def of_two_classes(row, kind, spatial=(5, 6, 7)):
    labels = labels_of(kind, (2, 1, *spatial), 2)
    other, hot = theirs(row), torch.cat([labels == 0, labels == 1], 1).float()
    return apart(
        lambda z: row.ours(z, labels), lambda z: other(z.softmax(1), hot), logits_of((2, 2, *spatial)), row.times
    )


def of_one_channel(kind, spatial):
    """The centreline loss where both mean the same: one channel."""
    labels = (labels_of(kind, (2, 1, *spatial)) > 0).float()
    other = theirs(Row(None, "SoftclDiceLoss", {"sigmoid": True, "smooth": 1e-7}))
    ours = SoftclDiceLoss(activation="sigmoid")
    return apart(lambda z: ours(z, labels), lambda z: other(z, labels), logits_of((2, 1, *spatial)), 1)


def of_nacl(kind, spatial):
    labels = labels_of(kind, (2, *spatial))
    other = theirs(Row(None, "NACLLoss", {"classes": 3, "dim": len(spatial)}))
    return apart(lambda z: NACLLoss()(z, labels), lambda z: other(z, labels), logits_of((2, 3, *spatial)), 1)


def of_levels(kind):
    """Logits of three resolutions, cut from one tensor; theirs reads targets by nearest neighbours."""
    labels = labels_of(kind, (2, 1, 8, 12))
    other = importlib.import_module("monai.losses").DeepSupervisionLoss(theirs(Row(None, "DiceCELoss", SOFT)))
    ours = DeepSupervisionLoss(DiceCELoss(), (1.0, 0.5, 0.25))

    def levels(z):
        return [z, z[..., :4, :6], z[..., 4:6, 6:9]]

    return apart(
        lambda z: ours(levels(z), labels), lambda z: other(levels(z), labels.float()), logits_of((2, 3, 8, 12)), 1
    )


IMAGES = [
    (LocalNormalizedCrossCorrelationLoss(5), "LocalNormalizedCrossCorrelationLoss", {"kernel_size": 5}),
    (
        LocalNormalizedCrossCorrelationLoss(5, "triangular"),
        "LocalNormalizedCrossCorrelationLoss",
        {"kernel_size": 5, "kernel_type": "triangular"},
    ),
    (
        LocalNormalizedCrossCorrelationLoss(7, "gaussian"),
        "LocalNormalizedCrossCorrelationLoss",
        {"kernel_size": 7, "kernel_type": "gaussian"},
    ),
    (GlobalMutualInformationLoss(), "GlobalMutualInformationLoss", {}),
    (GlobalMutualInformationLoss("b-spline"), "GlobalMutualInformationLoss", {"kernel_type": "b-spline"}),
    (SSIMLoss(win_size=5), "SSIMLoss", {"spatial_dims": 3, "win_size": 5}),
    (
        SSIMLoss(win_size=3, kernel_type="uniform"),
        "SSIMLoss",
        {"spatial_dims": 3, "win_size": 3, "kernel_type": "uniform"},
    ),
]
FIELDS = [
    (BendingEnergyLoss(), "BendingEnergyLoss", {}),
    (BendingEnergyLoss(normalize=True), "BendingEnergyLoss", {"normalize": True}),
    (DiffusionLoss(), "DiffusionLoss", {}),
    (DiffusionLoss(normalize=True), "DiffusionLoss", {"normalize": True}),
]
FEATURES = [(ContrastiveLoss(0.3), "ContrastiveLoss", {"temperature": 0.3}), (BarlowTwinsLoss(), "BarlowTwinsLoss", {})]


def of_images(ours, name, options):
    g = torch.Generator().manual_seed(8)
    a, b = (torch.rand(1, 1, 8, 9, 10, generator=g) for _ in range(2))
    other = theirs(Row(ours, name, options))
    return apart(lambda z: ours(z, b), lambda z: other(z, b), a, 1)


def of_fields(ours, name, options):
    x = torch.randn(2, 3, 6, 7, 8, generator=torch.Generator().manual_seed(8))
    return apart(ours, theirs(Row(ours, name, options)), x, 1)


def of_features(ours, name, options):
    g = torch.Generator().manual_seed(8)
    a, b = torch.randn(7, 5, generator=g), torch.randn(7, 5, generator=g)
    other = theirs(Row(ours, name, options))
    return apart(lambda z: ours(z, b), lambda z: other(z, b), a, 1)


def of_answers(criterion, real):
    options = {"criterion": criterion, **({"no_activation_leastsq": True} if criterion == "least_squares" else {})}
    other = theirs(Row(None, "PatchAdversarialLoss", options))
    ours = PatchAdversarialLoss(criterion)
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(8))
    # theirs squashes what a hinge judges by tanh
    return apart(
        lambda z: ours(z.tanh() if criterion == "hinge" else z, real),
        lambda z: other(z, target_is_real=real, for_discriminator=True),
        x,
        1,
    )


def name(row):
    return f"{row.ours!r}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", LABELS, ids=name)
def test_losses_of_labels(row, kind):
    found = of_labels(row, kind)
    assert (found > 1e-4) if kind in row.apart else (found <= 1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [UNIFIED_FOCAL, UNIFIED_TVERSKY], ids=name)
def test_unified_focal_part_by_part(row, kind):
    assert of_two_classes(row, kind) <= 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spatial", [(9, 10), (6, 7, 8)])
def test_centreline_and_calibration(spatial, kind):
    assert of_one_channel(kind, spatial) <= 1e-6
    assert of_nacl(kind, spatial) <= 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_deep_supervision(kind):
    assert of_levels(kind) <= 1e-6


@pytest.mark.parametrize("row", IMAGES, ids=lambda r: repr(r[0]))
def test_losses_of_images(row):
    assert of_images(*row) <= 1e-6


@pytest.mark.parametrize("row", FIELDS, ids=lambda r: repr(r[0]))
def test_losses_of_fields(row):
    assert of_fields(*row) <= 1e-6


@pytest.mark.parametrize("row", FEATURES, ids=lambda r: repr(r[0]))
def test_losses_of_features(row):
    assert of_features(*row) <= 1e-6


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("criterion", ["least_squares", "bce", "hinge"])
def test_adversarial(criterion, real):
    assert of_answers(criterion, real) <= 1e-6


def table():
    """The rows of the table in docs/losses.md."""

    def line(ours, source, where, found, note=""):
        return {"loss": ours, "source": f"monai {source}", "equal on": where, "apart": found, "note": note}

    def short(loss):
        plain = type(loss)
        shown = ", ".join(f"{k}={v!r}" for k, v in vars(loss).items() if getattr(plain, k, None) != v)
        return f"{plain.__name__}({shown})"

    for rows, measure in ((LABELS, of_labels), ([UNIFIED_FOCAL, UNIFIED_TVERSKY], of_two_classes)):
        for row in rows:
            kinds = [k for k in KINDS if k not in row.apart]
            note = row.why + ("" if row.times == 1 else f" (ours times {row.times:.3g})")
            if kinds:
                found = max(measure(row, k) for k in kinds)
                yield line(short(row.ours), row.theirs, ", ".join(kinds), found, note)
            else:
                yield line(short(row.ours), row.theirs, "differs", max(measure(row, k) for k in KINDS), note)
    found = max(of_one_channel(k, s) for k in KINDS for s in ((9, 10), (6, 7, 8)))
    note = "one channel; with several, each class has its own score here, theirs pools them with the background"
    yield line("SoftclDiceLoss(activation='sigmoid')", "SoftclDiceLoss", ", ".join(KINDS), found, note)
    found = max(of_nacl(k, s) for k in KINDS for s in ((9, 10), (6, 7, 8)))
    yield line("NACLLoss()", "NACLLoss", ", ".join(KINDS), found)
    found = max(of_levels(k) for k in KINDS)
    note = "weights given; by default ours are divided by their sum"
    yield line(
        "DeepSupervisionLoss(DiceCELoss(), (1.0, 0.5, 0.25))", "DeepSupervisionLoss", ", ".join(KINDS), found, note
    )
    for rows, measure in ((IMAGES, of_images), (FIELDS, of_fields), (FEATURES, of_features)):
        for row in rows:
            note = "by case; theirs takes the range of the whole batch" if "b-spline" in repr(row[0]) else ""
            yield line(short(row[0]), row[1], "random", measure(*row), note)
    notes = {"least_squares": "without theirs' leaky ReLU"}
    notes |= {"hinge": "theirs squashes answers by tanh first, for the generator too; ours is Lim and Ye's"}
    for criterion in ("least_squares", "bce", "hinge"):
        found = max(of_answers(criterion, real) for real in (True, False))
        yield line(
            f"PatchAdversarialLoss('{criterion}')",
            "PatchAdversarialLoss",
            "random",
            found,
            notes.get(criterion, ""),
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kept = {"versions": {p: version(p) for p in ("torch", "monai")}, "python": platform.python_version()}
    Path(sys.argv[1]).write_text(json.dumps({**kept, "losses": list(table())}, indent=1) + "\n")
