"""The child that parses a file which nobody vouches for: limits are set first, then the file is touched."""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medframe.base.container import write_container
from medframe.base.errors import BadArgument, BadFile, MedframeError, MedframeWarning, WriteFailed
from medframe.base.files import write_json
from medframe.image import Image, LabelMap
from medframe.io.registry import load_reader, read
from medframe.io.untrusted import ANSWER, FAILURE, KIND, READY, Limits, too_much_memory

_SLACK = 64 << 20  # bytes for Python's own work beside the image
_REFUSED = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "ctypes.dlopen")


def main(folder: Path) -> int:
    """Read the job from standard input, do it, and leave an answer or a failure in `folder`."""
    job = json.load(sys.stdin)
    limits = Limits(**job["limits"])
    path = Path(job["path"])
    torch.set_num_threads(1)
    try:
        load_reader(path)  # all imports before the limits
        confine(limits, folder)
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            image = read(path, LabelMap if job["labels"] else Image, **job["options"])
            data = image.data.contiguous()
        said = [str(w.message) for w in heard if issubclass(w.category, MedframeWarning)]
        about = {**image.space.to_json(), "meta": _plain(image.meta), "warnings": said}
        write_container(folder / ANSWER, KIND, {"data": data}, about)
        return 0
    except BaseException as error:  # whatever it is, the parent is told in medframe's own words
        (folder / ANSWER).unlink(missing_ok=True)
        write_json(folder / FAILURE, told(_own(error, limits, path)))
        return 0


def confine(limits: Limits, folder: Path) -> None:
    """Set the limits of this process; they cannot be raised again."""
    taken = _taken()
    seconds = math.ceil(time.process_time() + limits.seconds) + 1  # importing torch has taken some already
    for what, most in (
        (resource.RLIMIT_AS, taken + limits.memory + _SLACK),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limits.memory + _SLACK),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        _soft, hard = resource.getrlimit(what)
        # the processor's time has one second more before the kill, so that the signal before it says what happened
        last = most + 1 if what == resource.RLIMIT_CPU else most
        last = last if hard == resource.RLIM_INFINITY else min(last, hard)
        resource.setrlimit(what, (min(most, last), last))
    allowed = os.path.join(os.path.realpath(folder), "")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_REFUSED):
            raise PermissionError(1, f"{event} is refused to a reader of untrusted files")
        if event == "open":
            name, _mode, flags = arguments
            writes = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if writes and not (isinstance(name, str | Path) and os.path.realpath(name).startswith(allowed)):
                raise PermissionError(1, "writing is refused to a reader of untrusted files")

    sys.addaudithook(hook)


def _taken() -> int:
    """Bytes of address space in use now."""
    try:
        with open("/proc/self/statm", "rb") as stream:
            return int(stream.read().split()[0]) * resource.getpagesize()
    except OSError:  # macOS: what torch maps is small there, and the limit is not enforced by all versions
        return 8 << 30


def _own(error: BaseException, limits: Limits, path: Path) -> MedframeError:
    text = f"{type(error).__name__}: {error}"
    starved = isinstance(error, MemoryError) or "Cannot allocate memory" in text or "can't allocate memory" in text
    if starved or "not enough memory" in text or (isinstance(error, WriteFailed) and "too large" in text):
        return too_much_memory(limits, path)
    if isinstance(error, TypeError) and "unexpected keyword argument" in text:
        return BadArgument("the reader has no such option", where=path, found=str(error), due="an option of the format")
    if isinstance(error, MedframeError):
        return error
    return BadFile("the reader failed", where=path, found=text[:400], due="an image")


def told(error: MedframeError) -> dict[str, str | None]:
    """An error as plain JSON values."""
    kind = next(k for k in type(error).__mro__ if k.__module__ == MedframeError.__module__)
    parts = {"what": error.what, "where": error.where, "found": error.found, "due": error.due, "mend": error.mend}
    return {"error": kind.__name__, **parts}


def _plain(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What of `meta` is plain JSON; the rest stays here."""
    out = {}
    for key, value in meta.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            continue
        out[str(key)] = value
    return out


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
