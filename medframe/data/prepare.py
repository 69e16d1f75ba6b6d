"""Building the settled samples of a dataset ahead of training."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from medframe.base.errors import BadDataset, MedframeWarning
from medframe.base.extras import has, need
from medframe.data.cache import Cache
from medframe.data.guard import Failure
from medframe.data.loader import loader
from medframe.data.recipe import Recipe
from medframe.data.records import Record
from medframe.data.sampler import Key

_MOST = 8
_SHOWN = 5


class Settles(Protocol):
    """What has settled samples to build: a Dataset."""

    @property
    def records(self) -> Sequence[Record]: ...

    @property
    def cache(self) -> Cache | None: ...

    @property
    def recipe(self) -> Recipe: ...

    def settled(self, index: int) -> Any: ...


def prepare(dataset: Settles, workers: int | None = None, progress: bool = True) -> None:
    """Build all settled samples of a dataset, in processes where there is a cache, else in threads.

    Args:
        dataset: what builds and keeps them.
        workers: how many at a time; default one a processor, at most 8; 0 builds here, one after the other.
        progress: show a bar, where tqdm is installed.

    Raises:
        BadDataset: several cases cannot be built; all the others were. A single one raises its own error.
    """
    count = len(dataset.records)
    workers = min(_processors(), _MOST, count) if workers is None else workers
    build = _Build(dataset)
    if workers and dataset.cache is not None:
        steps: Iterable[Any] = loader(build, workers=workers, collate=_first)
        failures = _watched(steps, count, progress)
    else:
        with ThreadPoolExecutor(max(workers, 1)) as pool:
            failures = _watched(pool.map(build, range(count)), count, progress)
    if len(failures) == 1:
        raise failures[0].again()
    if failures:
        shown = "".join(f"\n  {f.text}" for f in failures[:_SHOWN]) + ("\n  ..." if len(failures) > _SHOWN else "")
        raise BadDataset(
            f"{len(failures)} of {count} cases cannot be prepared:{shown}\n",
            due="cases that run through the fixed steps",
            mend="Mend them or leave them out; the others are kept.",
        )
    if dataset.cache is not None and dataset.cache.budget_bytes is not None:
        held = sum(dataset.cache.holds(record, dataset.recipe) for record in dataset.records)
        if held < count:
            text = f"{held} of {count} prepared cases fit into the cache's budget; the others are built each time"
            warnings.warn(text, MedframeWarning, stacklevel=3)


@dataclass(frozen=True)
class _Build:
    """A dataset whose samples are the errors that cases raise; small, for the way back from a worker."""

    dataset: Settles

    def __getitem__(self, key: Key) -> list[Failure]:
        return self(key.index)

    def __call__(self, index: int) -> list[Failure]:
        try:
            self.dataset.settled(index)
        except Exception as error:
            return [Failure.of(error)]
        return []

    def __len__(self) -> int:
        return len(self.dataset.records)


def _first(samples: Sequence[list[Failure]]) -> list[Failure]:
    return samples[0]


def _watched(steps: Iterable[Any], count: int, progress: bool) -> list[Failure]:
    if progress and has("tqdm"):
        steps = need("tqdm", "show progress").tqdm(steps, total=count, desc="prepare", unit="case", leave=False)
    return [failure for step in steps for failure in step]


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
