"""Going on from the newest checkpoint that can be read."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

from medframe.base.container import read_container
from medframe.base.errors import BadFile, Incompatible, MedframeWarning, TooLarge, shown_path
from medframe.base.files import sweep
from medframe.engines.distributed import from_first, is_first
from medframe.engines.progress import TrainingState
from medframe.engines.state import join_state
from medframe.engines.steps import TrainStep
from medframe.handlers.checkpoint import FORMAT, KIND, checkpoints


def resume(folder: Path | str, step: TrainStep) -> TrainingState | None:
    """Bring a training step to where the newest readable checkpoint was written.

    A damaged file is set aside under another name with a MedframeWarning, and the one before it is taken. With
    several ranks the first one chooses, and all read the same file.

    Args:
        folder: that of `Checkpoint`.
        step: new, with the same network and optimiser; it is changed in place.

    Returns:
        What `trainer` takes, or None when there is no checkpoint: training then begins anew.

    Raises:
        BadFile: there are checkpoints, but all are damaged.
        Incompatible: the checkpoint belongs to another network or optimiser, or is of a newer format.
    """
    chosen = from_first(_choose(Path(folder)) if is_first() else None)
    if chosen is None:
        return None
    path = Path(chosen)
    about, state = _read(path)
    try:
        step.load_state_dict(state)
    except Incompatible as error:
        raise Incompatible(error.what, where=path, found=error.found, due=error.due, mend=error.mend) from None
    return TrainingState(
        iteration=about["iteration"],
        samples=about["samples"],
        epoch_length=about["epoch_length"],
        max_iters=about["max_iters"],
        max_epochs=about["max_epochs"],
        notes=about["notes"],
        extra=about["extra"],
        path=path,
    )


def _choose(folder: Path) -> str | None:
    """The newest readable checkpoint; damaged ones before it are set aside."""
    sweep(folder)
    damaged: list[tuple[Path, str]] = []
    for path in checkpoints(folder):
        try:
            _read(path)
        except BadFile as error:
            damaged.append((path, error.what))
            continue
        for bad, why in damaged:
            text = f"{shown_path(bad)} is damaged ({why}); training goes on from {path.name}"
            warnings.warn(text, MedframeWarning, stacklevel=4)
            with contextlib.suppress(OSError):  # a read-only folder: it stays where it is
                bad.rename(bad.with_name(f"damaged-{bad.name}"))
        return str(path)
    if damaged:
        raise BadFile(
            "no checkpoint can be read",
            where=folder,
            found="; ".join(f"{bad.name}: {why}" for bad, why in damaged),
            due="at least one whole checkpoint",
            mend="Copy one from a backup, or move these files away to begin anew.",
        )
    return None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        stored = read_container(path, KIND)
    except TooLarge as error:  # so a file that was cut is refused
        raise BadFile(error.what, where=path, found=error.found, due=error.due, mend=error.mend) from None
    if stored.json.get("format") != FORMAT:
        found, due = stored.json.get("format"), FORMAT
        raise Incompatible("the checkpoint is of another format", where=path, found=found, due=due, mend="Update.")
    return stored.json, join_state(stored.tensors, stored.json["step"])
