"""From a dataset to batches: torch's DataLoader, set up so that workers change nothing but the time it takes."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Sampler

from medframe.base.errors import BadArgument
from medframe.data.guard import Failure, Guarded, GuardedCollate, died, quiet_worker
from medframe.data.sampler import Key, OnceSampler
from medframe.image import Batch, collate


class Loader(DataLoader[Any]):
    """torch's DataLoader, whose errors are those of the dataset.

    An error in a worker is raised here as what it was, with the worker's traceback as a note; the loader can be used
    again afterwards. A worker that dies raises a MedframeError that says so. Workers end with the loader, at once.
    """

    _end: weakref.finalize[..., Any] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch's iterator class is private
        if self.num_workers == 0:
            yield from super().__iter__()
            return
        batches: Any = super().__iter__()
        if self._end is None or not self._end.alive:
            # holds torch's iterator whole until the loader is gone: were both collected as garbage, its queues would be
            # closed before it can tell its workers to stop
            self._end = weakref.finalize(self, _shut_down, batches, os.getpid())
            self._end.atexit = False
        while True:
            failed: Exception | None = None
            batch: Any = None
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:
                failed = died(error)
                if failed is None:
                    raise
            if failed is not None:
                self._iterator = None  # the next pass starts anew
                self._end()
            elif isinstance(batch, Failure):
                failed, batch = batch.again(), None
            if failed is None:
                yield batch
                continue
            try:
                raise failed
            finally:
                failed = None  # the error refers to this frame, so the frame must not refer to the error

    def check_worker_number_rationality(self) -> None:
        """Torch warns of more workers than processors; the number was asked for."""


def _shut_down(batches: Any, owner: int) -> None:
    if os.getpid() == owner:  # a forked process inherits loaders, and must not end another's workers
        batches._shutdown_workers()


def loader(
    dataset: Any,
    batch_size: int = 1,
    sampler: Sampler[Key] | None = None,
    *,
    workers: int = 0,
    drop_last: bool = False,
    prefetch: int = 2,
    start_method: str | None = None,
    pin_memory: bool = True,
    timeout: float = 0.0,
    collate: Callable[[Sequence[Any]], Any] = collate,
) -> DataLoader[Batch]:
    """Batches of a dataset.

    Batches are the same for any number of workers and any start method, since chance hangs on the keys alone. Torch's
    own random state, in this process, is not touched.

    Args:
        dataset: answers to the sampler's keys.
        batch_size: samples a batch; a case that makes several samples (crops with `count`) counts once.
        sampler: gives the keys; default `OnceSampler`, every case once in order.
        workers: processes that load; 0 loads here. They stay alive between passes, and use one thread each.
        drop_last: leave out a last batch that is not full.
        prefetch: batches that each worker is ahead.
        start_method: "fork", "spawn" or "forkserver"; default that of the platform. With "spawn" everything in the
            dataset must pickle.
        pin_memory: page-locked batches, where there is a CUDA device.
        timeout: seconds to wait for a batch before giving up; 0 waits for ever, though never for a dead worker.
        collate: makes a batch of samples.

    Raises:
        BadArgument: a number out of its domain, or an unknown start method.
    """
    if batch_size < 1 or workers < 0 or prefetch < 1:
        found = f"batch_size {batch_size}, workers {workers}, prefetch {prefetch}"
        raise BadArgument("loader: a number is out of its domain", found=found, due="at least 1, 0 and 1")
    methods = torch.multiprocessing.get_all_start_methods()
    if start_method is not None and start_method not in methods:
        raise BadArgument("loader: unknown start method", found=start_method, due=f"one of {', '.join(methods)}")
    # torch's stubs take samplers of integers only
    keys: BatchSampler = BatchSampler(OnceSampler(len(dataset)) if sampler is None else sampler, batch_size, drop_last)  # type: ignore[arg-type]
    pin = pin_memory and torch.cuda.is_available()
    # a generator of its own: torch draws a seed for every pass, which must not move the model's random state
    generator = torch.Generator()
    if workers == 0:
        return Loader(dataset, batch_sampler=keys, collate_fn=collate, pin_memory=pin, generator=generator)
    return Loader(
        Guarded(dataset),
        batch_sampler=keys,
        collate_fn=GuardedCollate(collate),
        num_workers=workers,
        worker_init_fn=quiet_worker,
        persistent_workers=True,
        prefetch_factor=prefetch,
        multiprocessing_context=start_method,
        pin_memory=pin,
        timeout=timeout,
        generator=generator,
    )
