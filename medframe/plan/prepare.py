"""Before training: the settings, and which case plays which part. A run that is gone on with keeps both."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from medframe.base.errors import BadConfig, BadDataset, Incompatible
from medframe.base.files import remove_folder, write_json
from medframe.base.rng import Rng
from medframe.data import Cohort, split
from medframe.plan.config import RunConfig, read_config, write_config
from medframe.plan.doctor import check_cohort
from medframe.plan.job import CASES, SETTINGS, SURVEY, SURVEYED, Cases
from medframe.plan.rules import plan
from medframe.plan.survey import survey


@dataclass(frozen=True)
class Asked:
    """What the caller asked for.

    Args:
        fold: to hold out.
        minutes: of training; None for the usual.
        settings: by name.
    """

    fold: int
    minutes: float | None
    settings: Mapping[str, Any]


def settle(cohort: Cohort, folder: Path, asked: Asked, progress: bool) -> RunConfig:
    """The settings: those the run was begun with, or new ones from a survey of the cases that are not held out."""
    path = folder / SETTINGS
    if path.exists():
        return _same_settings(read_config(path), path, asked)
    fold, minutes, settings = asked.fold, asked.minutes, dict(asked.settings)
    # unknown names and wrong kinds are told before the survey takes its time
    RunConfig().changed(settings)
    folds, seed = int(settings.get("folds", 5)), int(settings.get("seed", 0))
    if not cohort.records:
        raise BadDataset("the dataset has no cases", where=cohort.root)
    folds = min(folds, len({r.group for r in cohort.records}))
    if folds < 2:
        raise BadDataset(
            "one case cannot be split into training and held-out cases",
            where=cohort.root,
            found=f"{len(cohort.records)} case(s) of {folds} patient(s)",
            due="at least 2",
        )
    settings = {**settings, "folds": folds} if folds != 5 or "folds" in settings else settings
    learn, _held_out = split(cohort.records, folds, int(settings.get("fold", fold)), seed)
    device = str(settings.get("device", "auto"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    _checked(cohort, progress)
    kept = folder / SURVEYED
    found = survey(learn, cohort.classes, threads=torch.get_num_threads(), progress=progress, store=kept)
    config, why = plan(cohort, found, device=device, overrides=settings, fold=fold, minutes=minutes)
    write_json(folder / SURVEY, found.to_json())
    write_config(path, config, why)
    remove_folder(kept)  # from here on the settings stand, and no survey is made again
    return config


def _checked(cohort: Cohort, progress: bool) -> None:
    """Stop where the headers show what cannot be trained on; the rest of the check-up is told.

    Raises:
        BadDataset, BadFile, BadGeometry, TooLarge: see `Checkup.require`.
    """
    found = check_cohort(cohort, jobs=torch.get_num_threads())
    found.require()
    warnings = found.counts["warning"]
    if warnings and progress:
        first = next(f for f in found.findings if f.severity == "warning")
        more = f" and {warnings - 1} more (see `medframe check`)" if warnings > 1 else ""
        print(f"medframe: check: {first.case or first.file}: {first.what}{more}", file=sys.stderr, flush=True)


def _same_settings(config: RunConfig, path: Path, wanted: Asked) -> RunConfig:
    """The settings a run was begun with; the length may be changed, nothing else."""
    asked = config.changed({**wanted.settings, **({"fold": wanted.fold} if wanted.fold else {})})
    if wanted.minutes is not None:
        asked = replace(asked, minutes=wanted.minutes)
    free = {"minutes", "steps", "workers", "threads"}
    for name in vars(config):
        if name not in free and getattr(asked, name) != getattr(config, name):
            raise BadConfig(
                "the run was begun with another setting",
                where=path,
                found=f"{name}={getattr(asked, name)}",
                due=f"{name}={getattr(config, name)}",
                mend="Leave it out to go on, or choose another --out for a new run.",
            )
    return asked


def choose_cases(cohort: Cohort, config: RunConfig) -> Cases:
    """Split by patient: the fold is held out; of the rest, whole groups are set aside as monitor cases."""
    learn, held_out = split(cohort.records, config.folds, config.fold, config.seed)
    if not config.monitor:
        return Cases(learn, (), held_out)
    groups = sorted({r.group for r in learn})
    order = [groups[i] for i in Rng(config.seed, "monitor").permutation(len(groups))]
    chosen: set[str] = set()
    size = {g: sum(r.group == g for r in learn) for g in groups}
    for group in order[: max(len(order) - 1, 0)]:
        if sum(size[g] for g in chosen) >= config.monitor:
            break
        chosen.add(group)
    monitor = tuple(r for r in learn if r.group in chosen)
    return Cases(tuple(r for r in learn if r.group not in chosen), monitor, held_out)


def check_cases(folder: Path, cases: Cases) -> None:
    """Write which case plays which part, or check that the dataset is the one the run was begun with."""
    path = folder / CASES
    parts = {part: [r.case for r in getattr(cases, part)] for part in ("train", "monitor", "held_out")}
    if not path.exists():
        write_json(path, parts)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    if before != parts:
        odd = sorted({c for p in parts for c in set(parts[p]) ^ set(before.get(p, []))})
        raise Incompatible(
            "the dataset is not the one this run was begun with",
            where=path,
            found=f"{len(odd)} cases added, removed or moved: {', '.join(odd[:5])}",
            due="the same cases in the same parts",
            mend="Choose another --out for a new run on the changed dataset.",
        )
