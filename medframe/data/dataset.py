"""Records become samples: what is fixed is done once and kept, what is random is done anew each time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch.utils import data

from medframe.base.errors import BadArgument, BadDataset, MedframeError
from medframe.base.rng import Rng
from medframe.data.cache import Cache
from medframe.data.entry import in_memory, settle
from medframe.data.prepare import prepare
from medframe.data.recipe import Recipe, recipe
from medframe.data.records import Record, check_unique
from medframe.data.sampler import Key
from medframe.transforms import Transform
from medframe.transforms.base import walk


@dataclass(frozen=True, eq=False)
class Dataset(data.Dataset[Any]):
    """Samples by key.

    `fixed` runs once a case and its result is settled: warps are paid and the past is cut. `random` runs on that with
    the random stream (seed, epoch, case id), so the answer to a key depends on nothing else: no order, no worker, no
    cache.

    Args:
        records: the cases, with ids of their own.
        fixed: steps without chance, from paths to voxels.
        random: steps for each time.
        seed: of all chance.
        cache: where settled samples are kept on disk.
        memory: keep settled samples in memory. Each worker process keeps its own; those that `prepare` made before the
            workers were forked are shared.

    Raises:
        BadArgument: `fixed` holds chance; the message names the step.
        BadDataset: no records, or a case id occurs twice.

    Example:
        >>> from medframe.transforms import Compose, Load, RandomCrop, Spacing
        >>> fixed = Compose([Load(labels="label"), Spacing((1, 1, 1))])
        >>> dataset = Dataset(cohort.records, fixed, RandomCrop((64, 64, 64)))  # doctest: +SKIP
        >>> dataset[Key(epoch=3, index=0)]["image"].shape  # doctest: +SKIP
        (1, 64, 64, 64)
    """

    records: Sequence[Record]
    fixed: Transform
    random: Transform | None = None
    seed: int = 0
    cache: Cache | None = None
    memory: bool = False
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", tuple(self.records))
        if not self.records:
            raise BadDataset("a dataset needs records", found="none", due="at least one")
        check_unique(self.records)
        for name, steps in (("fixed", self.fixed), ("random", self.random)):
            if not (isinstance(steps, Transform) or (steps is None and name == "random")):
                found = type(steps).__name__
                raise BadArgument(f"{name!r} is no transform", found=found, due="a Transform, such as Compose([...])")
        step = _chance_in(self.fixed)
        if step is not None:
            raise BadArgument(
                "the fixed steps hold chance, which would be drawn once and kept",
                where="fixed",
                found=repr(step),
                due="steps whose parameters are plain values and whose p is 0 or 1",
                mend="Move this step to `random`.",
            )

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Key | int) -> Any:
        """The sample of a key; of an integer i, that of Key(0, i). A list of samples where a step makes several."""
        key = key if isinstance(key, Key) else Key(0, int(key))
        record = self.record(key.index)
        sample = self.settled(key.index)
        if self.random is None:
            return sample
        with _about(record):
            return _run(self.random, sample, Rng(self.seed, int(key.epoch), record.case))

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def record(self, index: int) -> Record:
        """The record at a place of the dataset.

        Raises:
            BadArgument: there is none.
        """
        if not 0 <= index < len(self.records):
            raise BadArgument("no such case in the dataset", found=index, due=f"0 to {len(self.records) - 1}")
        return self.records[index]

    def settled(self, index: int) -> Any:
        """The sample after the fixed steps alone."""
        record = self.record(index)
        kept = self._kept.get(record.case)
        if kept is None:
            with _about(record):
                kept = self._made(record)
        return [dict(one) for one in kept] if isinstance(kept, list) else dict(kept)

    def prepare(self, workers: int | None = None, progress: bool = True) -> None:
        """Build all settled samples now, so that the first epoch is as fast as the others.

        With a cache they are built in worker processes, else (`memory`) in threads.

        Args:
            workers: how many at a time; default one a processor, at most 8.
            progress: show a bar, where tqdm is installed.

        Raises:
            BadArgument: there is neither a cache nor `memory` to keep them.
            BadDataset: several cases cannot be built; all the others were. A single one raises its own error.
        """
        if self.cache is None and not self.memory:
            raise BadArgument("there is nowhere to keep samples", mend="Give the dataset a cache, or memory=True.")
        prepare(self, workers, progress)

    @cached_property
    def recipe(self) -> Recipe:
        """What a cache knows the fixed steps by."""
        return recipe(self.fixed)

    def _made(self, record: Record) -> Any:
        def build() -> Any:
            # a fixed key: a step that claims to be fixed cannot bring in chance
            return settle(_run(self.fixed, record.sample(), Rng("fixed")))

        sample = build() if self.cache is None else self.cache.sample(record, self.recipe, build)
        if self.memory:
            sample = in_memory(sample)
            self._kept[record.case] = sample
        return sample

    def __getstate__(self) -> dict[str, Any]:
        # a spawned worker gets what describes the dataset, not gigabytes of samples
        return {**self.__dict__, "_kept": {}}


def _run(steps: Transform, sample: Any, rng: Rng) -> Any:
    # a list where the fixed steps made several samples of a case
    if isinstance(sample, list):
        return [_run(steps, one, rng.fork("item", i)) for i, one in enumerate(sample)]
    return steps(sample, rng)


def _chance_in(fixed: Transform) -> Transform | None:
    """The innermost step that makes a pipeline random."""
    if not fixed.random:
        return None
    guilty = [step for step in walk(fixed) if step.random]
    return next((s for s in guilty if not any(inner.random for inner in walk(s) if inner is not s)), fixed)


@contextlib.contextmanager
def _about(record: Record) -> Iterator[None]:
    """Let errors say which case they are about."""
    case = f"case {record.case}"
    try:
        yield
    except MedframeError as error:
        if case not in (error.where or ""):
            error.where = f"{case}: {error.where}" if error.where else case
            error.args = (str(error),)
        raise
    except StopIteration:  # would end the epoch in silence
        raise RuntimeError(f"a step raised StopIteration in {case}") from None
    except Exception as error:
        error.add_note(f"It happened in {case}.")
        raise
