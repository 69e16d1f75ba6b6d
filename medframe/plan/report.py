"""The report of a run: one HTML file that tells what was done, how it went, and what the predictions look like."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from medframe import __version__
from medframe.base.extras import has
from medframe.image import Image, LabelMap
from medframe.metrics import Table, summarise
from medframe.plan.config import RunConfig
from medframe.viz import Page, colour, curves, dots, overlay, to_png, to_svg

Shown = Callable[[str], tuple[Image, LabelMap, LabelMap]]


def write_report(
    path: str | os.PathLike[str],
    *,
    config: RunConfig,
    settings: str,
    table: Table,
    log: Sequence[Mapping[str, float]],
    show: Shown,
    notes: Sequence[str] = (),
    baselines: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Write the report.

    Args:
        path: of the HTML file.
        config: of the run.
        settings: the text of run.yaml.
        table: scores of the held-out cases; may be empty.
        log: rows of the training log, with `iteration`, `loss`, `learning_rate` and scores.
        show: gives image, reference and prediction of a case.
        notes: sentences about the run, such as how long it took.
        baselines: name -> class name -> Dice, to stand beside the network's.
    """
    names = {k: v for k, v in sorted(config.classes.items()) if k}
    page = Page(
        f"medframe: {config.name or Path(config.dataset).name}, fold {config.fold}",
        f"{len(table.cases)} held-out cases, never used for training or for any choice. " + " ".join(notes),
    )
    if len(table):
        _scores(page, table, names, baselines or {})
        _pictures(page, table, names, show)
    _training(page, log)
    if len(table):
        page.heading("Every case")
        columns = table.columns
        page.table(
            ("case", "class", *columns),
            [(row.case, row.name, *(row[c] for c in columns)) for row in table],
            summary=f"{len(table)} rows; the same as scores.csv",
        )
    page.heading("Settings")
    page.text("Every choice with its reason, as in run.yaml.")
    page.code(settings)
    page.heading("Environment")
    page.table(("what", "version"), environment())
    page.write(path)


def _scores(page: Page, table: Table, names: Mapping[int, str], baselines: Mapping[str, Mapping[str, float]]) -> None:
    page.heading("Scores")
    summary = summarise(table)
    kept = [c for c in table.columns if not c.startswith("volume")]
    rows = []
    for label, name in [*names.items(), *([(None, "all classes")] if len(names) > 1 else [])]:
        cells: list[object] = [name]
        for column in kept:
            s = summary.of(column, label)
            cells.append(
                f"{s.mean:.4g} [{s.lo:.4g}, {s.hi:.4g}]" + (f" ({s.undefined} undefined)" if s.undefined else "")
            )
        rows.append(cells)
    page.table(("mean [95 % interval]", *kept), rows)
    page.text(
        "Intervals are bootstrapped over cases (2,000 resamples). Distances are millimetres between edge voxels; "
        "hd95 is the larger of the two directed 95th percentiles; the surface Dice counts edge voxels "
        "within its tolerance."
    )
    for title, values in baselines.items():
        own = {name: float(np.nanmean(table.values("dice", label))) for label, name in names.items()}
        page.table(
            ("Dice", *own),
            [("this network", *own.values()), (title, *(values.get(name, float("nan")) for name in own))],
        )
    groups = {name: list(table.values("dice", label)) for label, name in names.items()}
    page.images((to_svg(dots(groups, ylabel="Dice")), "One dot a case; the bar is the median."))


def _pictures(page: Page, table: Table, names: Mapping[int, str], show: Shown) -> None:
    means = table.case_means("dice")
    order = np.argsort(np.where(np.isnan(means), np.inf, means))
    defined = [int(i) for i in order if not np.isnan(means[i])]
    if not defined:
        return
    page.heading("Best, median and worst case")
    page.key([(name, colour(label)) for label, name in names.items()], "solid: reference, dashed: prediction")
    picks = {"worst": defined[0], "median": defined[len(defined) // 2], "best": defined[-1]}
    for title in ("best", "median", "worst"):
        case = table.cases[picks[title]]
        image, reference, prediction = show(case)
        drawn = overlay(image, {"reference": reference, "prediction": prediction})
        page.images((to_png(drawn), f"{title}: {case}, mean Dice {means[picks[title]]:.3f}"))


def _training(page: Page, log: Sequence[Mapping[str, float]]) -> None:
    if not log:
        return
    page.heading("Training")
    pictures = []
    steps = [row["iteration"] for row in log if "loss" in row]
    pictures.append(
        (
            to_svg(curves({"loss": (steps, [r["loss"] for r in log if "loss" in r])}, xlabel="step", ylabel="loss")),
            "Mean loss over the steps since the last point.",
        )
    )
    scores = sorted({k for row in log for k in row if k.startswith("dice")})
    if scores:
        series = {}
        for name in scores:
            rows = [r for r in log if np.isfinite(r.get(name, float("nan")))]
            series[name] = ([r["iteration"] for r in rows], [r[name] for r in rows])
        pictures.append((to_svg(curves(series, xlabel="step", ylabel="Dice")), "Dice on the monitor cases."))
    rates = [(r["iteration"], r["learning_rate"]) for r in log if "learning_rate" in r]
    if rates:
        x, y = zip(*rates, strict=True)
        pictures.append((to_svg(curves({"rate": (x, y)}, xlabel="step", ylabel="learning rate")), "Learning rate."))
    page.images(*pictures)


def environment() -> list[tuple[str, str]]:
    """Versions and machine, for the report and `medframe info`."""
    from importlib.metadata import PackageNotFoundError, version

    rows = [
        ("medframe", __version__),
        ("Python", platform.python_version()),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("CPU cores", str(os.cpu_count())),
        ("threads", str(torch.get_num_threads())),
    ]
    for package in ("torch", "numpy", "scipy", "nibabel", "pytorch-ignite", "pydicom", "itk-io", "isal", "safetensors"):
        try:
            rows.append((package, version(package)))
        except PackageNotFoundError:
            rows.append((package, "not installed"))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    rows.append(("GPU", gpu))
    rows.append(("cupy", "installed" if has("cupy") else "not installed"))
    return rows
