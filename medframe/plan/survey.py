"""The survey: every training case is looked at once, before anything is decided; what cannot be used is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medframe.base.container import read_container, write_container
from medframe.base.errors import (
    BadDataset,
    BadFile,
    BadGeometry,
    BadLabel,
    BadVoxels,
    Incompatible,
    MedframeError,
    TooLarge,
)
from medframe.base.extras import need
from medframe.base.fingerprint import fingerprint
from medframe.base.rng import Rng
from medframe.data import Record
from medframe.data.identity import identity
from medframe.image import Image, LabelMap
from medframe.io import read
from medframe.transforms.files import load

_KIND, _FORMAT = "survey", 1  # of the files that keep what was found; another format is another key
_FOREGROUND_SAMPLE = 4000  # voxels kept a case and channel for the intensity statistics of the dataset


@dataclass(frozen=True)
class CaseFacts:
    """What one case is like.

    Args:
        case: its id.
        shape: voxels per axis.
        spacing: mm per axis.
        axcodes: axis directions.
        dtype: as stored.
        filled: share of the volume within the box around all non-zero voxels.
        lowest: per channel, the smallest value.
        highest: per channel, the largest value.
        counts: voxels of each label value.
    """

    case: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    axcodes: str
    dtype: str
    filled: float
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    counts: Mapping[int, int]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CaseFacts:
        """From what `asdict` gave, through JSON."""
        rows: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        rows["counts"] = {int(k): int(n) for k, n in value["counts"].items()}
        return cls(**rows)


@dataclass(frozen=True)
class Survey:
    """What a dataset is like.

    Args:
        cases: facts of every case.
        foreground: per channel: 0.5 and 99.5 percentile, mean and standard deviation of labelled voxels, pooled over
            the cases in equal shares.
    """

    cases: tuple[CaseFacts, ...]
    foreground: tuple[tuple[float, float, float, float], ...]

    @property
    def values(self) -> tuple[int, ...]:
        """All label values that occur, by rising value."""
        return tuple(sorted({v for c in self.cases for v in c.counts}))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"cases": [asdict(c) for c in self.cases], "foreground": [list(f) for f in self.foreground]}


def survey(
    records: Sequence[Record],
    classes: Mapping[int, str],
    *,
    threads: int = 1,
    progress: bool = False,
    store: Path | None = None,
) -> Survey:
    """Read every case once: geometry, intensities, labels.

    Args:
        records: the cases.
        classes: the declared classes; empty to take whatever occurs.
        threads: cases read at the same time.
        progress: show a bar.
        store: folder that keeps what was found of each case, so that a call that was stopped, or that named a bad
            case, does not read the others again. A file that changed is read again.

    Raises:
        BadDataset: several cases cannot be used; all are named. A single one raises its own error.
    """
    if not records:
        raise BadDataset("there are no cases to look at", found=0, due="at least one labelled case")

    def one(record: Record) -> tuple[CaseFacts, list[np.ndarray[Any, Any]]] | MedframeError:
        try:
            return _kept(record, classes, store)
        except MedframeError as error:
            return error

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        found: Any = pool.map(one, records)
        if progress:
            found = need("tqdm", "show progress").tqdm(
                found, total=len(records), desc="survey", unit="case", leave=False
            )
        results = list(found)
    problems = [r for r in results if isinstance(r, MedframeError)]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        shown = "".join(f"\n  {p}" for p in problems[:8]) + ("\n  ..." if len(problems) > 8 else "")
        raise BadDataset(
            f"{len(problems)} of {len(records)} cases cannot be used:{shown}\n",
            due="cases that can be read, with labels on the lattice of their image",
            mend="Mend or remove these cases and run the same command again.",
        )
    facts = [r[0] for r in results if not isinstance(r, MedframeError)]
    channels = {len(f.lowest) for f in facts}
    ranks = {len(f.shape) for f in facts}
    if len(channels) > 1 or len(ranks) > 1:
        raise BadDataset("the cases are not alike", found=f"channels {channels}, spatial axes {ranks}", due="one each")
    pooled = []
    for c in range(channels.pop()):
        values = np.concatenate([r[1][c] for r in results if not isinstance(r, MedframeError)])
        values = values if values.size else np.zeros(1)
        lo, hi = np.percentile(values, [0.5, 99.5])
        pooled.append((float(lo), float(hi), float(values.mean()), float(max(values.std(), 1e-8))))
    return Survey(tuple(facts), tuple(pooled))


Found = tuple[CaseFacts, list[np.ndarray[Any, Any]]]


def _kept(record: Record, classes: Mapping[int, str], store: Path | None) -> Found:
    """What `examine` says, from the store where the case was looked at before."""
    if store is None:
        return examine(record, classes)
    files = [*record.images, *([record.label] if record.label is not None else [])]
    key = fingerprint(_FORMAT, record.case, sorted(classes), [identity(path) for path in files])
    path = store / f"{key}.safetensors"
    if path.exists():
        try:
            opened = read_container(path, _KIND)
            return CaseFacts.from_json(opened.json), [
                opened.tensors[f"{k}"].numpy() for k in range(len(opened.tensors))
            ]
        except (BadFile, Incompatible, TooLarge, KeyError, TypeError, ValueError):
            pass  # damaged: it is made anew
    facts, picked = examine(record, classes)
    write_container(path, _KIND, {f"{k}": torch.from_numpy(p) for k, p in enumerate(picked)}, asdict(facts))
    return facts, picked


def examine(record: Record, classes: Mapping[int, str]) -> tuple[CaseFacts, list[np.ndarray[Any, Any]]]:
    """Read one case and check all of it.

    Raises:
        BadFile, BadGeometry, BadLabel, BadVoxels, TooLarge: what is wrong, where, and what was due.
    """
    if record.label is None:
        raise BadDataset("the case has no label", where=record.case, found="no label file", due="one label map a case")
    image, label = load(record.images), read(record.label, LabelMap)
    check_pair(image, label, record)
    data = image.data.float()
    if not bool(torch.isfinite(data).all()):
        bad = torch.nonzero(~torch.isfinite(data))
        raise BadVoxels(
            "the image holds voxels that are NaN or infinite",
            where=record.images[0],
            found=f"{len(bad)} of {data.numel()} voxels, the first at {tuple(bad[0, 1:].tolist())}",
            due="finite values",
            mend="Replace them (0 outside the body is usual), or leave the case out.",
        )
    values, counts = torch.unique(label.data, return_counts=True)
    present = {int(v): int(n) for v, n in zip(values, counts, strict=True)}
    unknown = sorted(set(present) - set(classes) - {0}) if classes else [v for v in present if v < 0]
    if unknown:
        where = torch.nonzero(label.data == unknown[0])[0, 1:].tolist()
        raise BadLabel(
            "the label map holds values outside the declared classes",
            where=record.label,
            found=f"{unknown[:8]}, the first at voxel {tuple(where)}",
            due=f"values among {sorted({0, *classes})}",
            mend="Declare them in the dataset's list of labels, or mend the label map.",
        )
    nonzero = (data != 0).any(0)
    filled = 1.0
    if bool(nonzero.any()):
        box = torch.nonzero(nonzero)
        size = box.amax(0) - box.amin(0) + 1
        filled = float(size.prod()) / nonzero.numel()
    mask = label.data[0] > 0
    inside = [channel[mask].numpy() for channel in data]
    rng = Rng("survey", record.case)
    picked = []
    for k, channel in enumerate(inside):
        keep = rng.fork(k).permutation(len(channel))[:_FOREGROUND_SAMPLE]
        picked.append(channel[np.sort(keep)])
    facts = CaseFacts(
        case=record.case,
        shape=image.space.shape,
        spacing=tuple(float(s) for s in image.space.spacing),
        axcodes=image.space.axcodes,
        dtype=str(image.dtype).removeprefix("torch."),
        filled=filled,
        lowest=tuple(float(v) for v in data.flatten(1).amin(1)),
        highest=tuple(float(v) for v in data.flatten(1).amax(1)),
        counts=present,
    )
    return facts, picked


def check_pair(image: Image, label: LabelMap, record: Record) -> None:
    """Raise unless image and label lie on one lattice of the world.

    Raises:
        BadGeometry: with both lattices.
    """
    if not image.space.matches(label.space):
        far = image.space.distance(label.space)
        raise BadGeometry(
            "image and label lie on different lattices",
            where=record.label,
            found=f"{label.space}" + (f", up to {far:.3g} mm off" if np.isfinite(far) else ""),
            due=f"the image's {image.space}",
            mend="Resample the label onto the image (medframe.transforms.MatchSpace), or mend the wrong header.",
        )
    if label.channels != 1:
        raise BadLabel("a label map has one channel", where=record.label, found=label.channels, due=1)
