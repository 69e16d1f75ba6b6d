"""From survey to settings: a few rules, each of which says why.

The order of thought is nnU-Net's (Isensee et al., "nnU-Net: a self-configuring method for deep learning-based
biomedical image segmentation", Nature Methods 2021, doi:10.1038/s41592-020-01008-z): spacing from the dataset, patch
and network from the spacing and the machine. The numbers are our own, measured on small budgets (docs/first_training).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from medframe.base.errors import BadDataset
from medframe.data import Cohort
from medframe.plan.config import RunConfig
from medframe.plan.survey import Survey

_VOXELS = {"cpu": 64 * 1024, "cuda": 128**3}  # of a patch: what a step can afford
_FEATURES = {"cpu": 16, "cuda": 32}  # channels of the finest level
# reasons that hold for every dataset; "measured" means on hippocampus MR, 15 minutes on two cores (docs/first_training)
_USUAL = {
    "dataset": "read once; the cache in the run's folder is used from then on",
    "name": "as the dataset calls itself",
    "channels": "as the dataset declares them",
    "folds": "by patient: a group is never on both sides",
    "seed": "of the split, the weights, the order of cases and every augmentation",
    "network": "nnU-Net's plain U-Net",
    "steps": "instead of minutes: for runs that must be repeated to the bit",
    "optimiser": "learns faster than sgd in few steps",
    "learning_rate": "measured: 0.001 was worse by 0.008 Dice after 600 steps",
    "weight_decay": "usual with adamw; norms and biases are left out",
    "warmup": "steps of rising learning rate, against early divergence",
    "clip": "against single bad steps; seldom reached",
    "accumulate": "one: memory allows whole batches",
    "validate_every": "a look at the monitor cases costs about as much as ten steps; of a time budget a fifth at most",
    "rotate": "measured: 30 degrees and zoom 0.7 to 1.4 were worse by 0.008 Dice after 1,000 steps",
    "scale": "see rotate",
    "spatial_p": "nearly every patch is turned and zoomed: it costs one interpolation either way",
    "noise": "light intensity augmentation, as nnU-Net has it",
    "blur": "see noise",
    "brightness": "see noise",
    "contrast": "see noise",
    "low_resolution": "see noise",
    "gamma": "see noise",
    "intensity_p": "of each of these",
    "overlap": "half a window; cases up to three patches are predicted at once",
    "mirror": "off: no use without mirrored training; costs time",
    "device": "a GPU where there is one",
    "threads": "all cores",
}
_SMALLEST = 4  # voxels an axis may shrink to at the coarsest level


def plan(
    cohort: Cohort, survey: Survey, *, device: str, overrides: dict[str, Any], fold: int, minutes: float | None
) -> tuple[RunConfig, dict[str, str]]:
    """Choose all settings.

    Args:
        cohort: what the dataset says of itself.
        survey: what its training cases are like.
        device: "cpu" or "cuda": what a step can afford.
        overrides: settings the user gave; rules that follow from them see them.
        fold: the fold to hold out.
        minutes: time for training; None for the usual, or where steps are given.

    Returns:
        The settings, and for each of them the reason.
    """
    why: dict[str, str] = {}
    n = len(survey.cases)
    ndim = len(survey.cases[0].shape)
    found = len(survey.cases[0].lowest)
    channels = cohort.channels or (("image",) if found == 1 else tuple(f"channel {k}" for k in range(found)))
    if len(channels) != found:
        raise BadDataset(
            "the dataset declares another number of channels than its images have",
            where=cohort.root,
            found=f"{found} in {survey.cases[0].case}",
            due=f"{len(channels)}: {', '.join(channels)}",
        )
    classes = dict(cohort.classes) or {v: "background" if v == 0 else f"class {v}" for v in (0, *survey.values)}
    why["classes"] = "as the dataset declares" if cohort.classes else "the values that occur"
    config = RunConfig(
        dataset=str(cohort.root),
        name=cohort.name,
        classes=classes,
        channels=channels,
        fold=fold,
        minutes=15.0 if minutes is None else minutes,
        orientation="RAS"[:ndim] if ndim > 1 else "R",
    )
    why["fold"] = "held out: not trained on, not used to choose anything, scored at the end"
    why["orientation"] = "one orientation for all, whatever the files' own (" + _tally(survey) + ")"

    spacings = np.array([c.spacing for c in survey.cases])
    spacing, why["spacing"] = _spacing(spacings)
    sizes = np.array([np.array(c.shape) * np.array(c.spacing) for c in survey.cases])
    config = replace(config, spacing=spacing)
    config, reasons = _intensity(config, survey)
    why |= reasons
    if "spacing" in overrides:
        config = config.changed({"spacing": overrides["spacing"]})

    median = np.median(sizes, axis=0) / np.array(config.spacing)
    largest = np.max(sizes, axis=0) / np.array(config.spacing)
    patch, strides, kernels, why["patch"] = _topology(median, largest, np.array(config.spacing), _VOXELS[device])
    features = tuple(min(_FEATURES[device] * 2**k, 320) for k in range(len(strides)))
    why["features"] = f"doubled at every level from {features[0]}, what a {device.upper()} affords"
    why["strides"] = f"halved per axis while {_SMALLEST} voxels remain and spacings stay within a factor of two"
    why["kernels"] = "3, or 1 across slices that are much thicker than the voxels are wide"
    config = replace(config, patch=patch, strides=strides, kernels=kernels, features=features)
    if "patch" in overrides:
        config = config.changed({"patch": overrides["patch"]})
        _, strides, kernels, _ = _topology(np.array(config.patch), np.array(config.patch), np.array(config.spacing), 0)
        features = tuple(min(_FEATURES[device] * 2**k, 320) for k in range(len(strides)))
        config = replace(config, strides=strides, kernels=kernels, features=features)

    share = max(sum(v for k, v in c.counts.items() if k > 0) / float(np.prod(c.shape)) for c in survey.cases)
    whole = bool((np.array(config.patch) >= median * 0.85).all())
    config = replace(
        config,
        foreground=0.0 if whole else 0.67,
        monitor=min(max(n // 12, 2), 12) if n >= 12 else 0,
        batch=2,
        workers=0 if device == "cpu" else 4,
        deep_supervision=device == "cuda",
    )
    why["foreground"] = (
        "patches show whole cases: anywhere will do"
        if whole
        else f"labels fill at most {share:.1%} of a case: patches must look for them"
    )
    why["monitor"] = (
        "training cases set aside to choose the best weights by"
        if config.monitor
        else f"{n} cases are too few to set some aside: the last weights are kept"
    )
    why["batch"] = "small batches make more steps in the same time"
    why["flip"] = "off: in short trainings mirrored cases cost more than they bring; for long ones try flip=" + _flips(
        classes, ndim
    )
    why["elastic"] = "off: not seen to help in short trainings; for long ones try elastic=[0, 4]"
    why["deep_supervision"] = "for long trainings on a GPU" if device == "cuda" else "costs steps on a CPU"
    why["workers"] = (
        "a patch costs milliseconds and a step tenths of seconds: no processes needed"
        if config.workers == 0
        else "patches are prepared beside the GPU"
    )
    why |= {name: reason for name, reason in _USUAL.items() if name not in why}
    why["minutes"] = "as asked; the survey and preparation are included"
    why["ema"] = "the running mean of the weights is steadier than the weights"
    why["decay"] = "the learning rate falls to zero over this last share of the steps"
    why["precision"] = "measured on one step at the start; the log tells the times"
    why["keep_largest"] = "off; give classes that must be one piece, such as [1]"
    config = config.changed(overrides)
    for name in overrides:
        why[name] = "given on the command line"
    return config, why


def _tally(survey: Survey) -> str:
    codes = [c.axcodes for c in survey.cases]
    return ", ".join(f"{codes.count(c)} {c}" for c in sorted(set(codes)))


def _spacing(spacings: np.ndarray[Any, Any]) -> tuple[tuple[float, ...], str]:
    """The median; on an axis three times coarser than the others, the tenth percentile, so thin slices keep detail."""
    target = np.median(spacings, axis=0)
    why = f"median of {len(spacings)} training cases"
    if np.allclose(spacings, spacings[0], rtol=1e-3):
        why = f"all {len(spacings)} training cases have it"
    elif target.max() > 3 * np.sort(target)[-2]:
        axis = int(target.argmax())
        target[axis] = max(np.percentile(spacings[:, axis], 10), np.sort(target)[-2])
        why += f"; on axis {axis}, far coarser than the others, the 10th percentile"
    return tuple(float(f"{v:.6g}") for v in target), why


def _intensity(config: RunConfig, survey: Survey) -> tuple[RunConfig, dict[str, str]]:
    how, reasons = [], []
    filled = float(np.median([c.filled for c in survey.cases]))
    for name in config.channels:
        if name.strip().lower() in ("ct", "cbct"):
            how.append("ct")
            reasons.append(f"{name}: clipped to the labelled voxels' 0.5 to 99.5 percentile, then mean and std")
        else:
            how.append("zscore_nonzero" if filled < 0.75 else "zscore")
            reasons.append(f"{name}: each image by its own mean and std, units are arbitrary")
    crop = "nonzero" if filled < 0.75 else "none"
    config = replace(config, normalise=tuple(how), intensity=survey.foreground, crop=crop)
    return config, {
        "normalise": "; ".join(reasons),
        "intensity": "lowest, highest, mean, std of labelled voxels over the training cases; used by ct",
        "crop": f"the box around non-zero voxels fills {filled:.0%} of a median case",
    }


def _topology(
    median: np.ndarray[Any, Any], largest: np.ndarray[Any, Any], spacing: np.ndarray[Any, Any], budget: int
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...], str]:
    """Patch, strides and kernels from sizes in voxels, spacing in mm and a budget of voxels (0: take `median`)."""
    ndim = len(median)
    if ndim == 2 and budget:
        budget *= 2
    all_fit = bool(budget) and np.prod(np.ceil(largest / 8) * 8) <= budget
    patch = (largest if all_fit else median).copy()
    fits = "holds the largest case" if all_fit else "about a median case: all of it is seen, in one crop or another"
    if budget:
        while np.prod(patch) > budget:
            # shorten the axis that is longest in millimetres: patches become as cubic as the cases allow
            patch[int((patch * spacing).argmax())] *= 0.95
            fits = f"as much of a case as {budget} voxels hold"
    strides: list[tuple[int, ...]] = [(1,) * ndim]
    kernels: list[tuple[int, ...]] = []
    size, step = patch.copy(), spacing.copy()
    while True:
        kernels.append(tuple(3 if s <= 2 * step.min() else 1 for s in step))
        stride = tuple(2 if size[a] / 2 >= _SMALLEST and step[a] < 2 * step.min() else 1 for a in range(ndim))
        if max(stride) == 1 or len(strides) >= 6:
            break
        strides.append(stride)
        size, step = size / stride, step * stride
    multiple = np.prod(np.array(strides), axis=0)
    # rounded up to hold every case; else to the nearest, rather down: smaller patches make more steps
    blocks = np.ceil(patch / multiple - 1e-6) if all_fit else np.floor(patch / multiple + 0.45)
    whole = np.maximum(blocks, 1).astype(int) * multiple
    return tuple(int(n) for n in whole), tuple(strides), tuple(kernels), f"{fits}; sizes the network can halve"


def _flips(classes: dict[int, str], ndim: int) -> str:
    """Directions that may be mirrored: not left to right where class names tell the sides apart."""
    words = " ".join(classes.values()).lower().replace("_", " ").replace("-", " ").split()
    sided = {"left", "right", "l", "r", "lh", "rh"} & set(words)
    return "AS"[: ndim - 1] if sided else "RAS"[:ndim]


def parts(shape: Sequence[int]) -> str:
    """40 x 56 x 40."""
    return " x ".join(map(str, shape))


def device_of(config: RunConfig) -> str:
    """The device a run uses: a GPU where there is one, unless told otherwise."""
    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return config.device
