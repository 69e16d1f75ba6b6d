"""The demo's data: real anatomy that comes with the nilearn wheel, made hard enough to need a network.

The MNI152 T1 template (Fonov et al., "Unbiased nonlinear average age-appropriate brain templates from birth to
adulthood", NeuroImage 2009, doi:10.1016/S1053-8119(09)70884-5) and its grey and white matter maps are cut into slabs
from back to front, with gaps between them. Never left to right: the template equals its mirror image, so one half would
give away the other. Each slab is shown several times, with another bias field, contrast (half of them inverted) and
noise each time, so that no single window of intensities tells the tissues apart.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.errors import BadDataset
from medframe.base.extras import need
from medframe.base.files import write_text
from medframe.base.rng import Rng
from medframe.geometry import Interpolation, Space
from medframe.image import Image, LabelMap
from medframe.io import read, write
from medframe.kernels import normal_noise
from medframe.metrics import Dice, score_case
from medframe.transforms import Crop, Normalize, Orientation

CLASSES = {0: "background", 1: "grey matter", 2: "white matter"}
_SLABS = 7
_THICK, _GAP = 24, 4  # voxels, 1 mm each
_HELD_OUT = (2, 5)  # slabs kept for the end, one towards the back and one towards the front
_LOOKS = {"train": 4, "val": 2}  # appearances of each slab


def template() -> tuple[Image, LabelMap]:
    """The T1 template and its tissues as one label map, 1 mm, RAS.

    Raises:
        MissingPackage: nilearn is not installed; the message holds the pip line.
        BadDataset: the installed nilearn does not hold the template.
    """
    root = Path(str(need("nilearn", "load the demo's data").__file__)).parent / "datasets" / "data"
    paths = {kind: root / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz" for kind in ("t1", "gm", "wm")}
    missing = [p.name for p in paths.values() if not p.is_file()]
    if missing:
        raise BadDataset(
            "the installed nilearn lacks the template", found=f"no {missing}", mend="pip install -U nilearn"
        )
    t1, grey, white = (Orientation("RAS")(read(paths[kind])) for kind in ("t1", "gm", "wm"))
    tissue = torch.stack([grey.data[0].float(), white.data[0].float()])
    tissue = tissue / max(float(tissue.max()), 1.0)
    label = torch.where(tissue.amax(0) >= 0.5, tissue.argmax(0) + 1, 0).to(torch.uint8)[None]
    return t1, LabelMap(label, space=t1.space)


def make_dataset(folder: str | os.PathLike[str], seed: int = 0) -> Path:
    """Write the demo's cases as NIfTI files and a list of them; returns the list's path.

    Args:
        folder: is made; files in it are replaced.
        seed: of the appearances.
    """
    folder = Path(folder)
    t1, label = template()
    filled = torch.nonzero(label.data[0].amax((0, 2))).flatten()
    first = int(filled[0]) + (int(filled[-1]) + 1 - int(filled[0]) - _SLABS * _THICK - (_SLABS - 1) * _GAP) // 2
    rows = ["case,image,label,group,split"]
    for slab in range(_SLABS):
        start = (0, first + slab * (_THICK + _GAP), 0)
        size = (t1.space.shape[0], _THICK, t1.space.shape[2])
        window = Crop(start, size)
        part, truth = window(t1), window(label).settled()
        split = "val" if slab in _HELD_OUT else "train"
        for look in range(_LOOKS[split]):
            case = f"slab{slab}_look{look}"
            voxels = appearance(part.data.float() / 255, truth.data, part.space, Rng(seed, slab, look))
            write(Image(voxels, space=part.space), folder / "images" / f"{case}.nii.gz", overwrite=True)
            write(truth, folder / "labels" / f"{case}.nii.gz", overwrite=True)
            rows.append(f"{case},images/{case}.nii.gz,labels/{case}.nii.gz,slab{slab},{split}")
    table = folder / "cases.csv"
    write_text(table, "\n".join(rows) + "\n")
    return table


def appearance(t1: Tensor, label: Tensor, space: Space, rng: Rng) -> Tensor:
    """One look of a slab: contrast, bias field, noise and an arbitrary unit; int16 (1, *spatial).

    Args:
        t1: values in 0 to 1.
        label: the tissues; the noise is scaled by their contrast.
        space: the slab's lattice.
        rng: of this look.
    """
    inside = t1 > 0.02
    values = t1 ** float(rng.fork("gamma").uniform((0.6, 1.6)))
    if rng.fork("invert").coin(0.5):
        values = torch.where(inside, 1.05 - values, values)
    field = bias_field(space, rng.fork("bias"))
    values = values * field
    tissue = label > 0
    contrast = float(values[tissue].std()) if bool(tissue.any()) else float(values.std())
    values = values + normal_noise(values.shape, rng.fork("noise").seed) * contrast * float(
        rng.fork("level").uniform((0.1, 0.25))
    )
    unit = float(rng.fork("unit").uniform((200.0, 3000.0)))
    return (values * unit).round().clamp(-32768, 32767).to(torch.int16)


def bias_field(space: Space, rng: Rng) -> Tensor:
    """A smooth positive factor around 1, (1, *spatial): a cubic B-spline through 4 random values an axis."""
    knots = torch.from_numpy(rng.uniform((-0.5, 0.5), (1, 4, 4, 4)).astype(np.float32))
    coarse = Image(knots, interpolation=Interpolation(order=3, border="border", antialias=False))
    # knots span the whole head, so that a thin slab sees a slowly changing part of the field
    matrix = np.diag([*(np.array(space.shape) - 1) / 3.0, 1.0])
    smooth = Image(coarse.data, space.affine @ matrix, interpolation=coarse.interpolation)
    return torch.exp(smooth.to_space(space).data)


def best_windows(
    cases: list[tuple[NDArray[Any], NDArray[Any]]], classes: dict[int, str]
) -> dict[int, tuple[float, float]]:
    """For each class the one window of intensities that scores the best Dice over training cases, found exhaustively.

    Args:
        cases: (normalised image, labels) of the training cases.
        classes: label values and names; 0 is left out.
    """
    edges = np.linspace(-4, 4, 161)
    total = np.zeros(len(edges) - 1)
    hits = {c: np.zeros(len(edges) - 1) for c in classes if c}
    for image, label in cases:
        total += np.histogram(image, edges)[0]
        for c in hits:
            hits[c] += np.histogram(image[label == c], edges)[0]
    windows = {}
    for c, counts in hits.items():
        below, inside = np.r_[0, np.cumsum(counts)], np.r_[0, np.cumsum(total)]
        overlap = below[None, :] - below[:, None]
        chosen = inside[None, :] - inside[:, None]
        dice = np.where(np.triu(np.ones_like(overlap), 1) > 0, 2 * overlap / (chosen + counts.sum() + 1e-9), -1)
        lo, hi = np.unravel_index(int(dice.argmax()), dice.shape)
        windows[c] = (float(edges[lo]), float(edges[hi]))
    return windows


def window_baseline(folder: str | os.PathLike[str]) -> dict[str, float]:
    """The Dice of the best intensity windows on the held-out cases, class by class: what a network must beat.

    Args:
        folder: what `make_dataset` wrote.
    """
    folder = Path(folder)
    cases: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {"train": [], "val": []}
    for line in (folder / "cases.csv").read_text().splitlines()[1:]:
        _case, scan, truth, _group, part = line.split(",")
        voxels = Normalize()(read(folder / scan)).data[0].numpy()
        cases[part].append((voxels, read(folder / truth, LabelMap).data[0].numpy()))
    windows = best_windows(cases["train"], CLASSES)
    scores: dict[str, list[float]] = {CLASSES[c]: [] for c in windows}
    for k, (image, label) in enumerate(cases["val"]):
        for c, (lo, hi) in windows.items():
            found = ((image >= lo) & (image < hi)).astype(np.uint8)
            (row,) = score_case(
                found, (label == c).astype(np.uint8), (1, 1, 1), {1: CLASSES[c]}, (Dice(),), case=str(k)
            )
            scores[CLASSES[c]].append(float(row["dice"]))
    return {name: float(np.mean(values)) for name, values in scores.items()}
