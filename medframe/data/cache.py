"""Settled samples on disk: found by what they are made of, checked before they are served, built once."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from torch.utils.data import get_worker_info

from medframe.base.container import read_container, write_container
from medframe.base.errors import BadArgument, MedframeError, MedframeWarning, WriteFailed
from medframe.base.files import sweep
from medframe.base.fingerprint import fingerprint
from medframe.data.entry import FORMAT, decode, encode
from medframe.data.identity import identity
from medframe.data.lock import alone
from medframe.data.recipe import Recipe, recipe
from medframe.data.records import Record
from medframe.transforms import Transform

_KIND = "cache"
_NAME = re.compile(r"[0-9a-f]{12}-[0-9a-f]{24}\.safetensors")
_VERIFIED = 1 << 16  # entries a process remembers as verified


@dataclass(frozen=True)
class Lookup:
    """Whether a sample is in the cache, and why not.

    Args:
        hit: it would be served.
        why: the reasons for a miss; empty for a hit.
    """

    hit: bool
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "hit" if self.hit else f"miss: {'; '.join(self.why)}"


@dataclass(frozen=True)
class Cache:
    """A folder of settled samples, shared by all workers, ranks and runs.

    An entry is found by a hash of everything it was made from: the case, its files, the parameters and the code of
    every step, medframe and torch themselves. It can thus be missing but never stale. Arrays are memory-mapped, so a
    crop of a cached volume touches only its own pages. An entry's checksum is verified when a process first opens it;
    a damaged one is rebuilt, with a warning.

    Args:
        folder: where entries lie; made where missing.
        budget_bytes: the size of the folder; the entries that were used longest ago make room for a new one, just
            after it was written. Default no limit.
        full_hash: know source files by all their bytes, instead of place, size, time and both ends.
    """

    folder: Path
    budget_bytes: int | None = None
    full_hash: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.budget_bytes is not None and self.budget_bytes <= 0:
            raise BadArgument("a budget is a positive number of bytes", where="budget_bytes", found=self.budget_bytes)
        object.__setattr__(self, "folder", Path(os.path.abspath(os.path.expanduser(self.folder))))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            sweep(self.folder)  # what killed writers left
        except OSError as error:
            self._give_up(error.strerror or str(error))

    def sample(self, record: Record, made_by: Recipe, build: Callable[[], Any]) -> Any:
        """The settled sample of a record: from its entry, or from `build`, whose result is kept.

        Of several processes that ask at once, one builds and the others wait for it.

        Args:
            record: the case.
            made_by: the recipe of the pipeline that `build` runs.
            build: makes the settled sample.

        Raises:
            BadArgument: the sample holds what cannot be stored.
        """
        parts = self._parts(record, made_by)
        path = self._path(record, parts)
        found = self._read(path)
        if found is not None and not isinstance(found, MedframeError):
            return found
        with alone(self.folder / "locks" / path.name.partition("-")[2][:2]):
            found = self._read(path)  # somebody else may have built it meanwhile
            if found is not None and not isinstance(found, MedframeError):
                return found
            if found is not None:
                text = f"the cache entry of case {record.case} is damaged and is built anew ({found.what})"
                warnings.warn(text, MedframeWarning, stacklevel=2)
            sample = build()
            self._store(path, parts, sample)
            return sample

    def explain(self, record: Record, fixed: Transform) -> Lookup:
        """Whether a record's sample is in the cache for a pipeline, and what has changed where it is not."""
        parts = self._parts(record, recipe(fixed))
        path = self._path(record, parts)
        found = self._read(path)
        if isinstance(found, MedframeError):
            return Lookup(False, (f"the entry is damaged: {found.what}",))
        if found is not None:
            return Lookup(True)
        others = sorted(self.folder.glob(f"{path.name.partition('-')[0]}-*.safetensors"), key=_modified, reverse=True)
        for other in others:
            with contextlib.suppress(MedframeError):
                return Lookup(False, _difference(read_container(other, _KIND, verify=False).json["parts"], parts))
        return Lookup(False, ("there is no entry of this case: it was never built, or it had to make room",))

    def holds(self, record: Record, made_by: Recipe) -> bool:
        """Whether there is an entry, not looked into."""
        return self._path(record, self._parts(record, made_by)).exists()

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return sum(stat.st_size for _, stat in self._entries())

    def clear(self) -> int:
        """Remove all entries; returns how many."""
        entries = self._entries()
        for path, _ in entries:
            path.unlink(missing_ok=True)
        return len(entries)

    def _parts(self, record: Record, made_by: Recipe) -> dict[str, str]:
        parts = {"the cache format": str(FORMAT), **made_by.parts}
        for key, value in record.sample().items():
            paths = value if isinstance(value, tuple) else (value,)
            if all(isinstance(p, Path) for p in paths):
                for i, path in enumerate(paths):
                    name = f"the file of {key}" if len(paths) == 1 else f"file {i + 1} of {key}"
                    parts[name] = identity(path, self.full_hash)
            else:
                parts[f"the value of {key}"] = fingerprint(repr(value))
        for i, path in enumerate(made_by.files, start=1):
            parts[f"file {i} that a step names"] = identity(path, self.full_hash)
        return parts

    def _path(self, record: Record, parts: Mapping[str, str]) -> Path:
        # the first half finds a case's entries of any pipeline; both are hashes, so no name of a patient shows
        who = fingerprint(record.case, *(str(Path(p).resolve()) for p in record.images))[:12]
        return self.folder / f"{who}-{fingerprint(repr(sorted(parts.items())))}.safetensors"

    def _read(self, path: Path) -> Any:
        """The sample of an entry; None where there is none; an error, not raised, where it is damaged."""
        try:
            state = path.stat()
        except OSError:
            return None
        try:
            _verify(path, state.st_size, state.st_mtime_ns, state.st_ino)
            container = read_container(path, _KIND, verify=False)
            sample = decode(container.json["sample"], container.tensors)
        except MedframeError as error:
            return error if path.exists() else None  # it may have made room in this moment
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            return MedframeError(f"{type(error).__name__} while it was read")
        if self.budget_bytes is not None:
            # the time of use, set by hand since most systems no longer keep it; the time of change stays
            with contextlib.suppress(OSError):
                os.utime(path, ns=(time.time_ns(), state.st_mtime_ns))
        return sample

    def _store(self, path: Path, parts: Mapping[str, str], sample: Any) -> None:
        if _given_up(self.folder).is_set():
            return
        encoded = encode(sample)
        if self.budget_bytes is not None and encoded.nbytes > self.budget_bytes:
            _say(f"a sample of {encoded.nbytes} bytes is larger than the cache's budget and is not kept")
            return
        try:
            write_container(path, _KIND, encoded.tensors, {"parts": dict(parts), "sample": encoded.json})
        except WriteFailed as error:
            if not isinstance(error.__cause__, FileNotFoundError):  # somebody cleared the folder: no reason to give up
                self._give_up(error.found or error.what)
            return
        if self.budget_bytes is not None:
            self._make_room(self.budget_bytes)

    def _make_room(self, budget: int) -> None:
        with alone(self.folder / "locks" / "room"):
            entries = sorted(self._entries(), key=lambda entry: entry[1].st_atime_ns)
            total = sum(stat.st_size for _, stat in entries)
            for path, stat in entries:
                if total <= budget:
                    break
                with contextlib.suppress(OSError):
                    path.unlink()  # those who have it open keep it
                    total -= stat.st_size

    def _entries(self) -> list[tuple[Path, os.stat_result]]:
        out = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as found:
            for entry in found:
                if _NAME.fullmatch(entry.name):
                    with contextlib.suppress(OSError):
                        out.append((Path(entry.path), entry.stat()))
        return out

    def _give_up(self, reason: str) -> None:
        if not _given_up(self.folder).is_set():
            _given_up(self.folder).set()
            _say(f"nothing more is written to the cache in {self.folder.name!r} ({reason}); the work goes on without")


@lru_cache(maxsize=_VERIFIED)
def _verify(path: Path, *state: int) -> None:
    """Check all of an entry's bytes, once a process and state of the file; an error is not remembered."""
    read_container(path, _KIND, verify=True)


@cache
def _given_up(folder: Path) -> threading.Event:
    """Whether this process found that it cannot write: a fact about the process, which no copy of a Cache carries."""
    return threading.Event()


def _say(text: str) -> None:
    worker = get_worker_info()
    if worker is None or worker.id == 0:  # one voice is enough
        warnings.warn(text, MedframeWarning, stacklevel=3)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _difference(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    changed = [f"{name} has changed" for name in new if name in old and old[name] != new[name]]
    added = [f"{name} is new" for name in new if name not in old]
    gone = [f"{name} is gone" for name in old if name not in new]
    return (*changed, *added, *gone)
