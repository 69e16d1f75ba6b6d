"""From label maps and references to a table of scores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medframe.base.errors import BadDataset, BadGeometry
from medframe.base.extras import need
from medframe.image import LabelMap
from medframe.io import read, stem
from medframe.metrics import (
    AverageSurfaceDistance,
    Dice,
    Hausdorff,
    IoU,
    Metric,
    Row,
    SurfaceDice,
    Table,
    Volume,
    score_case,
    summarise,
    write_summary,
    write_table,
)


def metrics(tolerance: float = 1.0) -> tuple[Metric, ...]:
    """What a run is judged by: overlap, distances in mm, surface Dice at `tolerance` mm, volumes."""
    return (
        Dice(),
        IoU(),
        Hausdorff(95),
        Hausdorff(),
        AverageSurfaceDistance(),
        SurfaceDice(tolerance),
        Volume("prediction"),
        Volume("reference"),
    )


def score_pair(
    case: str, prediction: LabelMap, reference: LabelMap, classes: Mapping[int, str], tolerance: float = 1.0
) -> list[Row]:
    """One row a class for one case.

    Raises:
        BadGeometry: the two do not lie on one lattice.
    """
    if not prediction.space.matches(reference.space):
        raise BadGeometry(
            "prediction and reference lie on different lattices",
            where=case,
            found=prediction.space,
            due=reference.space,
            mend="Score predictions on the lattice of the scan they were made for.",
        )
    spacing = tuple(float(s) for s in reference.space.spacing)
    names = {k: v for k, v in classes.items() if k != 0}
    return score_case(prediction.data[0], reference.data[0], spacing, names, metrics(tolerance), case=case)


def evaluate(
    predictions: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    classes: Mapping[int, str] | None = None,
    tolerance: float = 1.0,
    overwrite: bool = False,
    progress: bool = True,
) -> Table:
    """Score a folder of label maps against references of the same names.

    Args:
        predictions: folder of predicted label maps.
        labels: folder of reference label maps.
        out: the per-case table to write, `.csv`; the summary goes beside it as `<name>_summary.csv`.
        classes: label value -> name; default all values above 0 that occur on either side.
        tolerance: of the surface Dice, in mm.
        overwrite: replace tables that exist.
        progress: show a bar.

    Raises:
        BadDataset: a case is missing on either side.
        BadGeometry: a pair does not lie on one lattice.
        BadLabel: a value outside `classes`.
    """
    made, due = _by_case(predictions), _by_case(labels)
    missing, extra = sorted(due.keys() - made.keys()), sorted(made.keys() - due.keys())
    if missing or extra:
        parts = [f"{len(missing)} without a prediction ({', '.join(missing[:5])})"] if missing else []
        parts += [f"{len(extra)} without a reference ({', '.join(extra[:5])})"] if extra else []
        raise BadDataset(
            "predictions and references do not pair up",
            where=predictions,
            found=" and ".join(parts),
            due=f"the same names in both folders ({len(due)} references)",
            mend="Predict the missing cases, or move the surplus files away: a mean over some cases misleads.",
        )
    if classes is None:
        values = {int(v) for path in (*made.values(), *due.values()) for v in torch.unique(read(path, LabelMap).data)}
        classes = {v: f"label {v}" for v in sorted(values) if v != 0}
    rows: list[Row] = []
    cases: Any = sorted(due)
    if progress:
        cases = need("tqdm", "show progress").tqdm(cases, desc="evaluate", unit="case")
    for case in cases:
        rows += score_pair(case, read(made[case], LabelMap), read(due[case], LabelMap), classes, tolerance)
    table = Table(rows)
    write_scores(table, out, overwrite=overwrite)
    return table


def write_scores(table: Table, out: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """The per-case table as `out`, and its summary with bootstrap intervals beside it."""
    out = Path(out)
    write_table(out, table, overwrite=overwrite)
    write_summary(out.with_name(f"{out.stem}_summary.csv"), summarise(table), overwrite=overwrite)


def _by_case(folder: str | os.PathLike[str]) -> dict[str, Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise BadDataset("there is no such folder", where=folder, due="a folder of label maps")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        case = stem(path)
        if case is None or path.name.startswith(".") or case.endswith("_probabilities"):
            continue
        if case in found:
            raise BadDataset("a case has two files", where=path, found=f"{found[case].name}, {path.name}", due="one")
        found[case] = path
    if not found:
        raise BadDataset("the folder holds no label maps", where=folder, found="no image files", due=".nii or .nii.gz")
    return found
