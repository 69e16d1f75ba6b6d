"""What each command does with its parsed arguments."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from medframe.base.extras import has, install_line, known_extras
from medframe.base.files import write_json
from medframe.kernels import report as kernel_report
from medframe.metrics import Table, compare, read_table, summarise, write_comparison
from medframe.plan import evaluate, fit, parse_overrides, predict
from medframe.plan.convert import convert, known_ending
from medframe.plan.convert import told as conversion_told
from medframe.plan.demo import CLASSES, make_dataset, window_baseline
from medframe.plan.doctor import check
from medframe.plan.doctor.page import write_page
from medframe.plan.doctor.show import told
from medframe.plan.report import environment


def _fit(arguments: argparse.Namespace) -> int:
    settings = parse_overrides(arguments.settings)
    fit(arguments.dataset, arguments.out, fold=arguments.fold, minutes=arguments.minutes, settings=settings)
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    made = predict(
        arguments.run,
        arguments.inputs,
        arguments.out,
        probabilities=arguments.probabilities,
        overwrite=arguments.overwrite,
    )
    print(f"medframe: {len(made)} label maps in {arguments.out}", file=sys.stderr)
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    table = evaluate(
        arguments.predictions,
        arguments.labels,
        arguments.out,
        tolerance=arguments.tolerance,
        overwrite=arguments.overwrite,
    )
    print(shown(table))
    print(f"medframe: per-case scores in {arguments.out}", file=sys.stderr)
    return 0


def shown(table: Table) -> str:
    """A summary as text: one line a class and metric, with its bootstrap interval."""
    lines = [f"{'class':<20} {'metric':<18} {'mean':>9} {'95 % interval':>21} {'median':>9} {'cases':>6}"]
    for s in summarise(table):
        interval = f"[{s.lo:.4g}, {s.hi:.4g}]"
        count = f"{s.n}" + (f" (+{s.undefined} undefined)" if s.undefined else "")
        lines.append(f"{s.name:<20} {s.metric:<18} {s.mean:>9.4g} {interval:>21} {s.median:>9.4g} {count:>6}")
    return "\n".join(lines)


def _compare(arguments: argparse.Namespace) -> int:
    found = compare(read_table(arguments.first), read_table(arguments.second))
    head = ("class", "metric", "first", "second", "difference", "95 % interval", "p", "p (Holm)", "cases")
    print("{:<20} {:<18} {:>9} {:>9} {:>10} {:>21} {:>8} {:>8} {:>6}".format(*head))
    for d in found:
        interval = f"[{d.lo:.4g}, {d.hi:.4g}]"
        count = f"{d.n}" + (f" (+{d.undefined} undefined)" if d.undefined else "")
        print(
            f"{d.name:<20} {d.metric:<18} {d.first:>9.4g} {d.second:>9.4g} {d.mean:>10.4g} {interval:>21} "
            f"{d.p:>8.2g} {d.p_holm:>8.2g} {count:>6}"
        )
    if arguments.out is not None:
        write_comparison(arguments.out, found)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    found = check(arguments.dataset, voxels=arguments.voxels, jobs=arguments.jobs, progress=sys.stderr.isatty())
    print(told(found, most=len(found.looks) or 1) if arguments.all else told(found))
    if arguments.json is not None:
        write_json(arguments.json, found.to_json())
    if arguments.html is not None:
        write_page(arguments.html, found)
    return 0 if found.clean else 1


def _convert(arguments: argparse.Namespace) -> int:
    tree = arguments.source.is_dir() and not arguments.target.is_file()
    made = convert(
        arguments.source,
        arguments.target,
        to=arguments.to or (".nii.gz" if tree and not known_ending(arguments.target) else None),
        dtype=arguments.dtype,
        on_loss=arguments.on_loss,
        labels=arguments.labels,
        jobs=arguments.jobs or os.cpu_count() or 1,
        overwrite=arguments.overwrite,
        progress=sys.stderr.isatty(),
    )
    print(conversion_told(made))
    return 1 if made.failures else 0


def _demo(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.out
    print("medframe: making the demo's scans from the MNI152 template", file=sys.stderr)
    cases = make_dataset(folder / "data")
    run = fit(
        cases,
        folder / "run",
        minutes=arguments.minutes,
        settings={
            "name": "demo: grey and white matter",
            "classes": CLASSES,
            "patch": [40, 24, 40],  # small patches and a small network: many steps in little time
            "features": [12, 24, 48],
            "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
            "kernels": [[3, 3, 3]] * 3,
            "rotate": [-10, 10],
            "scale": [0.9, 1.1],
            "overlap": 0.25,  # a slab is many windows: looking at it costs as much as a hundred steps otherwise
            "monitor": 2,
        },
        baselines=lambda: {"best single window of intensities": window_baseline(folder / "data")},
    )
    held_out = sorted((run.folder / "held_out").glob("*.nii.gz"))
    print(
        "\nThe same on your own data:\n"
        "  medframe fit DATASET --out RUN --minutes 15\n"
        "  medframe predict RUN scan.nii.gz --out predictions\n"
        "  medframe evaluate predictions labels --out scores.csv\n"
        f"\n{len(held_out)} held-out scans were segmented and scored. Look at {run.report}",
    )
    return 0


def _info(arguments: argparse.Namespace) -> int:
    for what, found in environment():
        print(f"{what:<18} {found}")
    print("\nkernels")
    for op, answers in kernel_report().items():
        print(f"  {op}")
        for backend, answer in answers.items():
            print(f"    {backend:<10} {answer}")
    print("\nextras")
    for package, extra in sorted(known_extras().items()):
        print(f"  [{extra}] {package}: {'installed' if has(package) else install_line(package)}")
    return 0


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "check": _check,
    "compare": _compare,
    "convert": _convert,
    "demo": _demo,
    "evaluate": _evaluate,
    "fit": _fit,
    "info": _info,
    "predict": _predict,
}
