"""One worker at a time, across processes; the system itself lets go when the holder dies."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 600.0
_POLL = 0.02


@contextlib.contextmanager
def alone(path: Path, patience: float = PATIENCE) -> Iterator[bool]:
    """Hold the lock file `path` while the block runs.

    A lock taken with flock belongs to an open file: it falls with its process, however that dies, so there are no
    stale locks to expire. Where locks cannot be had (no permission, a file system or a system without them), or the
    holder keeps it beyond all patience, the block runs without: the lock saves work, correctness never hangs on it.

    Args:
        path: the lock file; made where missing, and left there.
        patience: seconds to wait at most.

    Yields:
        Whether the lock is held.
    """
    handle = _open(path)
    held = handle is not None and _take(handle, patience)
    try:
        yield held
    finally:
        if handle is not None:
            if held:
                _drop(handle)  # by name, since a forked child may hold a copy of the handle
            os.close(handle)


def _open(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    return None


def _take(handle: int, patience: float) -> bool:
    try:
        import fcntl  # not on Windows
    except ImportError:
        return False
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(_POLL)
        except OSError:
            return False


def _drop(handle: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)
