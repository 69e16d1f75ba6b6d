"""Loader workers that fail well: errors cross over whole, and no error can leave the main process waiting."""

from __future__ import annotations

import builtins
import gc
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

from medframe.base.errors import BadArgument, MedframeError

_LATE = 2.0  # seconds to wait for the cause of a broken connection


@dataclass(frozen=True)
class Failure:
    """An error on its way from a worker.

    Args:
        name: of its class.
        text: its message.
        trace: the worker's traceback.
        error: the error itself, where it is one of medframe's.
    """

    name: str
    text: str
    trace: str
    error: MedframeError | None = None

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Pack an error so that it is sure to arrive: what cannot be pickled would be lost without a sound."""
        trace = "".join(traceback.format_exception(error)).rstrip()
        return cls(type(error).__name__, str(error), trace, _portable(error))

    def again(self) -> Exception:
        """The error to raise in the main process: of its own class where that is medframe's or built in."""
        worker_trace = f"It was raised in a loader worker:\n{self.trace}"
        if self.error is not None:
            self.error.add_note(worker_trace)
            return self.error
        kind = getattr(builtins, self.name, None)
        error: Exception | None = None
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, StopIteration):
            try:
                error = kind(self.text)
            except TypeError:  # such as UnicodeDecodeError, which takes five arguments
                error = None
        error = error if error is not None else RuntimeError(f"{self.name}: {self.text}")
        error.add_note(worker_trace)
        return error


def _portable(error: Exception) -> MedframeError | None:
    """One of medframe's errors as an instance of a class that every process knows."""
    if not isinstance(error, MedframeError):
        return None
    kind: type[MedframeError] = next(k for k in type(error).__mro__ if k.__module__ == MedframeError.__module__)
    return kind(error.what, where=error.where, found=error.found, due=error.due, mend=error.mend)


@dataclass(frozen=True, eq=False)
class Guarded(Dataset[Any]):
    """A dataset that answers with a `Failure` instead of raising."""

    dataset: Any

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.dataset[key]
        except Exception as error:
            return Failure.of(error)

    def __len__(self) -> int:
        return len(self.dataset)


@dataclass(frozen=True)
class GuardedCollate:
    """A collate function that passes failures on, and makes sure that what it returns can be sent."""

    collate: Callable[[Sequence[Any]], Any]

    def __call__(self, samples: Sequence[Any]) -> Any:
        failed = next((sample for sample in samples if isinstance(sample, Failure)), None)
        if failed is not None:
            return failed
        try:
            batch = self.collate(samples)
            _check_sendable(batch)
            return batch
        except Exception as error:
            return Failure.of(error)


def _check_sendable(batch: Any) -> None:
    extras = getattr(batch, "extras", None)
    if not extras:
        return
    for key, values in extras.items():
        try:
            pickle.dumps(values)
        except Exception as error:
            raise BadArgument(
                "a member of the sample cannot be sent from a worker process",
                where=key,
                found=f"{type(error).__name__}: {error}",
                due="values that pickle",
                mend="Drop it at the end of the pipeline, or load with workers=0.",
            ) from None


def quiet_worker(worker: int) -> None:
    """Set up a worker: one thread, and signals that leave the decision to the main process.

    Ctrl-C and a scheduler's SIGTERM reach all processes of a job at once. Workers that died on the spot would break the
    step that the main process still wants to finish and save. They end when the main process tells them to, or is gone.
    (A spawned worker may still fall to a SIGTERM from elsewhere, through a thread that a library started on import.)
    """
    gc.freeze()  # what was forked along belongs to the main process, its garbage too
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # threads started from here on inherit it
        threading.Thread(target=_obey_parent, args=(os.getppid(),), daemon=True).start()


def _obey_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def died(error: Exception) -> MedframeError | None:
    """The error to raise where torch says that a worker died or hangs; None where it says something else."""
    text = str(error)
    if isinstance(error, ConnectionError | EOFError | FileNotFoundError):
        text = _late_word() or f"DataLoader worker gone while a batch was sent ({type(error).__name__})"
    if text.startswith("DataLoader timed out"):
        return MedframeError(
            "the loader's workers gave no batch in time",
            found=text,
            mend="Look for a file system that hangs, or raise the timeout.",
        )
    if not text.startswith("DataLoader worker"):
        return None
    return MedframeError(
        "a loader worker died",
        found=text.split("\n")[0],
        due="workers that live as long as the loader",
        mend="Most often memory ran out (see dmesg), or shared memory (docker run --shm-size=8g): "
        "use fewer workers or a smaller prefetch.",
    )


def _late_word() -> str:
    """What torch's signal handler says of a dead worker, which may come after the broken connection."""
    try:
        time.sleep(_LATE)
    except RuntimeError as error:
        return str(error)
    return ""
