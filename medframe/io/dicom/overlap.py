"""Regions that may overlap become one label map, or a channel each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadLabel
from medframe.io.stored import Block

Overlap = Literal["error", "channels"]
Mask = tuple[int, tuple[Any, ...], NDArray[np.bool_]]  # number of the region, where in the volume, its voxels there


def check_overlap(overlap: str, where: Path) -> None:
    """Raise BadArgument unless `overlap` is one of its words."""
    if overlap not in get_args(Overlap):
        raise BadArgument("unknown overlap", where=where, found=repr(overlap), due=", ".join(get_args(Overlap)))


def channels_of(names: Sequence[str]) -> dict[str, str]:
    """How `meta` names channels of zeros and ones: "channel/value", as in NRRD segmentations."""
    return {f"{channel}/1": name for channel, name in enumerate(names)}


def stacked(
    masks: Iterable[Mask],
    labels: Sequence[int],
    names: Sequence[str],
    *,
    shape: tuple[int, ...],
    dtype: str,
    where: Path,
) -> Block:
    """Masks as labels (1, D, H, W), or as zeros and ones (C, D, H, W) where the shape has a channel for each region.

    Raises:
        BadLabel: in a label map two regions hold one voxel.
    """
    out = np.zeros(shape, dtype)
    if shape[0] > 1 or len(names) == 1:
        value = 1 if shape[0] > 1 else labels[0]
        for number, place, mask in masks:
            out[(number, *place)][mask] = value
        return out
    shared: dict[tuple[int, int], int] = {}
    number_of = {label: number for number, label in enumerate(labels)}
    for number, place, mask in masks:
        view = out[(0, *place)]
        taken = view[mask]
        for label in np.unique(taken[taken > 0]).tolist():
            other = number_of[label]
            if other != number:
                pair = (min(other, number), max(other, number))
                shared[pair] = shared.get(pair, 0) + int((taken == label).sum())
        view[mask] = labels[number]
    if shared:
        pairs = [f"{names[a]} and {names[b]} in {count} voxels" for (a, b), count in list(shared.items())[:6]]
        raise BadLabel(
            "regions overlap, and a voxel has one label",
            where=where,
            found="; ".join(pairs) + ("; ..." if len(shared) > 6 else ""),
            due="regions apart",
            mend='Read overlap="channels" for a channel each, or only some of the regions.',
        )
    return out
