"""Reading files that somebody else chose: they are parsed in a process of its own, with limits, and only values return.

A reader that hangs, fills the memory or crashes takes its own process along and nothing else. The answer comes back as
a checked container (arrays and JSON, no code) and is mapped into memory; errors come back as medframe's own classes.

What this is not: a wall against a reader's native code that is taken over. The child runs as the same user; sockets,
new processes and files opened for writing are refused from Python's side only. Put a container or a virtual machine
around it where that is feared.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medframe.base import errors as known_errors
from medframe.base.container import read_container
from medframe.base.errors import BadArgument, BadFile, MedframeError, MedframeWarning, TooLarge
from medframe.base.sizes import GIB
from medframe.geometry import Space
from medframe.image import Image, LabelMap

KIND = "untrusted"
ANSWER, FAILURE, JOB = "answer", "failure.json", "job.json"
READY = b"ready\n"
_START = 120.0  # seconds for Python and torch to load, before the file is touched
_TEXT = 4000  # characters of any text that comes back
_LARGEST_FAILURE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What the child may use.

    Args:
        memory: bytes it may allocate beyond what Python and torch take when they are loaded.
        seconds: from the moment it begins with the file, on the clock and of processor time.
        file_bytes: size of the file, or of all files of a folder.
        open_files: at the same time.
    """

    memory: int = 4 * GIB
    seconds: float = 60.0
    file_bytes: int = 4 * GIB
    open_files: int = 64

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise BadArgument("a limit is a positive number", where=name, found=value, due="above 0")
        if self.open_files < 16:
            raise BadArgument("a process needs some files", where="open_files", found=self.open_files, due="16 or more")


def read_untrusted(
    path: str | os.PathLike[str], kind: type[Image] = Image, limits: Limits | None = None, **options: Any
) -> Image:
    """Read a file in a child process; see `medframe.io.read` for what is read.

    The voxels are read at once, not when they are asked for. Starting the child takes as long as importing torch, one
    to three seconds; the voxels cost one copy through a temporary file.

    Args:
        path: a file, or a folder for formats that use folders.
        kind: Image or LabelMap.
        limits: what the child may use.
        options: what the format's own `read` takes; plain JSON values.

    Raises:
        BadFile: the file is damaged, the reader crashed, or the time was up.
        TooLarge: the file is larger than allowed, or the memory did not suffice.
        BadArgument: this system has no such limits (Windows), or an option is no JSON.
        MedframeError: whatever reading raised, as in `medframe.io.read`.
    """
    path, limits = Path(path), limits or Limits()
    if importlib.util.find_spec("resource") is None:
        raise BadArgument("reading with limits needs a system that has them", found=sys.platform, due="Linux or macOS")
    _check_file_size(path, limits)
    with tempfile.TemporaryDirectory(prefix="medframe-") as folder:
        job = {
            "path": os.fspath(path),
            "labels": issubclass(kind, LabelMap),
            "limits": asdict(limits),
            "options": options,
        }
        try:
            text = json.dumps(job)
        except (TypeError, ValueError) as error:
            raise BadArgument("an option is not plain JSON", found=str(error), due="numbers, text, lists") from None
        code, said = _run(folder, text, limits, path)
        failure = _failure(Path(folder))
        if failure is not None:
            raise failure
        if code != 0 or not (Path(folder) / ANSWER).exists():
            raise _crash(code, said, limits, path)
        return _answer(Path(folder), kind, path)


def _check_file_size(path: Path, limits: Limits) -> None:
    try:
        files = [Path(f) / n for f, _, names in os.walk(path) for n in names] if path.is_dir() else [path]
        size = sum(p.stat().st_size for p in files)
    except (OSError, ValueError):
        return  # the reader says what is wrong with the path
    if size > limits.file_bytes:
        raise TooLarge(
            "the file is larger than the limit",
            where=path,
            found=f"{size} bytes",
            due=f"at most {limits.file_bytes} (file_bytes)",
            mend="Raise the limit: medframe.io.untrusted.Limits(file_bytes=...).",
        )


def _run(folder: str, job: str, limits: Limits, path: Path) -> tuple[int, str]:
    """Run the child; its exit code and the end of what it said."""
    root = os.fspath(Path(known_errors.__file__).parents[2])
    places = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    # -P: nothing is imported from the working folder, which may be where the file came from
    command = [sys.executable, "-P", "-W", "ignore", "-m", "medframe.io.untrusted_child", folder]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                child.stdin.write(job.encode())
                child.stdin.close()
            except BrokenPipeError:
                pass  # it died at once; its exit code says how
            ready = select.select([child.stdout], [], [], _START)[0] and child.stdout.readline() == READY
            if ready:
                child.wait(limits.seconds)
            else:
                child.kill()
                child.wait()
        except subprocess.TimeoutExpired:
            raise _late(limits, path) from None
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            if child.stdout is not None:
                child.stdout.close()
        errors.seek(max(0, errors.tell() - _TEXT))
        return child.returncode, errors.read(_TEXT).decode("utf-8", "replace")


def _late(limits: Limits, path: Path) -> BadFile:
    return BadFile(
        "reading took longer than the limit",
        where=path,
        found=f"no answer after {limits.seconds:g} s",
        due=f"at most {limits.seconds:g} s (seconds)",
        mend="The file is damaged or made to hang readers; raise Limits(seconds=...) only if you know it to be good.",
    )


def too_much_memory(limits: Limits, where: str | os.PathLike[str]) -> TooLarge:
    """The error for a reader whose memory did not suffice."""
    return TooLarge(
        "reading needed more memory than the limit",
        where=where,
        found="an allocation that was refused",
        due=f"at most {limits.memory} bytes (memory)",
        mend="Raise Limits(memory=...) if such an image is meant.",
    )


def _crash(code: int, said: str, limits: Limits, path: Path) -> MedframeError:
    if -code == signal.SIGXCPU:
        return _late(limits, path)
    if "bad_alloc" in said or "MemoryError" in said or "can't allocate memory" in said:
        return too_much_memory(limits, path)
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return BadFile(
        "the reader crashed",
        where=path,
        found=how,
        due="an image or an error",
        mend="The file is damaged, or made to crash readers. Please report the reader's format and this message.",
    )


def _failure(folder: Path) -> MedframeError | None:
    """The error that the child wrote down; its text is taken as text, whatever it says."""
    path = folder / FAILURE
    if not path.exists():
        return None
    try:
        if path.stat().st_size > _LARGEST_FAILURE:
            raise ValueError
        with open(path, "rb") as stream:
            parts = json.loads(stream.read(_LARGEST_FAILURE))
        name = parts.pop("error")
        kind = getattr(known_errors, name) if name in vars(known_errors) else BadFile
        if not (isinstance(kind, type) and issubclass(kind, MedframeError)):
            kind = BadFile
        text = {k: None if parts[k] is None else str(parts[k])[:_TEXT] for k in ("where", "found", "due", "mend")}
        return kind(str(parts["what"])[:_TEXT], **text)
    except (ValueError, KeyError, TypeError, AttributeError):
        return BadFile("the reader crashed", found="an answer that makes no sense", due="an image or an error")


def _answer(folder: Path, kind: type[Image], path: Path) -> Image:
    opened = read_container(folder / ANSWER, KIND)
    try:
        told: Mapping[str, Any] = opened.json
        space = Space(tuple(int(n) for n in told["shape"]), np.array(told["affine"], np.float64))
        meta = {str(k): _frozen(v) for k, v in dict(told["meta"]).items()}
        said = [str(text)[:_TEXT] for text in told["warnings"]]
        data = opened.tensors["data"]
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile("the reader crashed", where=path, found=f"an answer without {error}", due="an image") from None
    for text in said:
        warnings.warn(text, MedframeWarning, stacklevel=4)
    return kind(data, space=space, meta=meta)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
