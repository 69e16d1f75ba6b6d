"""Metrics beside MONAI's, each called as its users call it, on the same label maps in one run.

The label maps are 192^3 with three classes: blobs as smooth noise makes them, which fill the field of view, and organs,
which take a tenth of it. MONAI takes one-hot tensors; making them counts, since label maps are what networks are
evaluated by, and `one-hot given` shows its time without. Ratios are theirs over ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from measure import alternate, options, record, versions
from scipy import ndimage

from medframe.metrics import (
    AverageSurfaceDistance,
    Dice,
    Hausdorff,
    Metric,
    SurfaceDice,
    score_case,
)

SHAPE, CLASSES, SPACING = (192, 192, 192), [1, 2, 3], (0.8, 0.8, 1.5)
SURFACES: tuple[Metric, ...] = (Hausdorff(95), Hausdorff(), AverageSurfaceDistance(), SurfaceDice(1.0))
TARGETS = {"HD95": 6, "Dice": 50}  # least ratio to MONAI, without and with the making of one-hot
Ways = dict[str, Callable[[], object]]


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Classes everywhere, with long surfaces."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 10)
    truth = np.digitize(noise / noise.std(), (0.3, 0.9, 1.5)).astype(np.uint8)
    return ndimage.shift(truth, (2, -1, 1), order=0), truth


def organs() -> tuple[np.ndarray, np.ndarray]:
    """Three ellipsoids apart, the prediction with rough edges."""
    grid = np.indices(SHAPE).astype(np.float32)
    rough = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal(SHAPE), 3)
    truth, found = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    for label, (centre, radii) in enumerate(
        [((60, 60, 90), (36, 30, 44)), ((130, 70, 90), (24, 20, 30)), ((110, 140, 100), (30, 26, 40))], start=1
    ):
        away = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True))
        truth[away < 1] = label
        found[away + 4 * rough < 1] = label
    return found, truth


def surface_ways(found: np.ndarray, truth: np.ndarray) -> dict[str, Ways]:
    def ours(*metrics: Metric) -> Callable[[], object]:
        return lambda: score_case(found, truth, SPACING, CLASSES, metrics, case="a")

    ways: dict[str, Ways] = {
        "HD95": {"medframe": ours(Hausdorff(95))},
        "HD95, HD, ASSD, NSD": {"medframe": ours(*SURFACES)},
        "NSD by area": {"medframe": ours(SurfaceDice(1.0, by="area"))},
        "Dice": {"medframe": ours(Dice())},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from monai.metrics import (
                compute_average_surface_distance,
                compute_dice,
                compute_hausdorff_distance,
                compute_surface_dice,
            )
            from monai.networks import one_hot
        except ImportError:
            return ways
    labels = [torch.from_numpy(m)[None, None] for m in (found, truth)]
    hot = [one_hot(m, len(CLASSES) + 1) for m in labels]
    spaced = {"spacing": SPACING}
    limits = {"class_thresholds": [1.0] * len(CLASSES)}

    def everything() -> object:
        return (
            compute_hausdorff_distance(*hot, percentile=95, **spaced),
            compute_hausdorff_distance(*hot, **spaced),
            compute_average_surface_distance(*hot, symmetric=True, **spaced),
            compute_surface_dice(*hot, **limits, **spaced),
        )

    ways["HD95"]["MONAI"] = lambda: compute_hausdorff_distance(*hot, percentile=95, **spaced)
    ways["HD95, HD, ASSD, NSD"]["MONAI"] = everything
    ways["NSD by area"]["MONAI"] = lambda: compute_surface_dice(*hot, **limits, **spaced, use_subvoxels=True)
    dice = partial(compute_dice, include_background=False)
    ways["Dice"]["MONAI"] = lambda: dice(*(one_hot(m, len(CLASSES) + 1) for m in labels))
    ways["Dice"]["MONAI, one-hot given"] = lambda: dice(*hot)
    return ways


def main() -> None:
    arguments = options("metrics of label maps").parse_args()
    torch.set_num_threads(arguments.threads)
    result: dict[str, object] = {}
    for maps, make in (("blobs", blobs), ("organs", organs)):
        for name, ways in surface_ways(*make()).items():
            seconds = alternate(ways, arguments.repeats)
            ours = seconds["medframe"]
            rows = {way: {"ms": round(s * 1e3, 2), "ratio": round(s / ours, 1)} for way, s in seconds.items()}
            result[f"{name}, {maps}"] = rows
            due = TARGETS.get(name)
            print(
                f"{name + ', ' + maps:28}",
                *(f"{way} {row['ms']} ms ({row['ratio']}x)" for way, row in rows.items()),
                *([f"due {due}x"] if due else []),
                sep="  ",
                flush=True,
            )
    if arguments.record:
        about = {"shape": SHAPE, "threads": arguments.threads, "repeats": arguments.repeats, "cases": result}
        record("metrics", about | {"targets": TARGETS, "versions": versions("torch", "numpy", "scipy", "monai")})


if __name__ == "__main__":
    main()
