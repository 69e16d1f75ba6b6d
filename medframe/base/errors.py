"""One family of errors: what went wrong, where, what was found, what was due, and how to mend it.

Every error medframe raises on purpose is a `MedframeError`. The five parts are fields, so a handler or a log can
use them without parsing text, and all classes survive pickling through a DataLoader worker.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class MedframeError(Exception):
    """Base of all errors medframe raises.

    Args:
        what: one sentence that says what went wrong.
        where: the file, field, key or case it happened in; paths are shown relative to the working folder.
        found: what was given.
        due: what was expected.
        mend: what the user can do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | os.PathLike[str] | None = None,
        found: object = None,
        due: object = None,
        mend: str | None = None,
    ) -> None:
        self.what = what
        self.where = None if where is None else shown_path(where)
        self.found = None if found is None else str(found)
        self.due = None if due is None else str(due)
        self.mend = mend
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        parts = [head]
        if self.found is not None:
            parts.append(f"found {self.found}")
        if self.due is not None:
            parts.append(f"expected {self.due}")
        text = "; ".join(parts)
        return f"{text}. {self.mend}" if self.mend else text

    def __reduce__(self) -> tuple[Any, ...]:
        parts = {"where": self.where, "found": self.found, "due": self.due, "mend": self.mend}
        return _rebuild, (type(self), self.what, parts)


def _rebuild(cls: type[MedframeError], what: str, parts: dict[str, str | None]) -> MedframeError:
    return cls(what, **parts)


class BadFile(MedframeError):
    """A file is missing, truncated, corrupt, or not what its name says."""


class BadGeometry(MedframeError):
    """A lattice, affine, warp or displacement is invalid, or two that must agree do not."""


class BadLabel(MedframeError):
    """A label map holds values that are not integers or not among the declared classes."""


class BadVoxels(MedframeError):
    """An image holds voxels that cannot be used: NaN, infinite, or constant where contrast is needed."""


class BadArgument(MedframeError, ValueError):
    """A parameter of a call or of a constructor is out of its domain."""


class BadConfig(MedframeError):
    """A setting is unknown, of the wrong kind, or contradicts another."""


class BadDataset(MedframeError):
    """A dataset folder, list or table is empty, incomplete or contradicts itself."""


class TooLarge(MedframeError):
    """An allocation was refused before it was made."""


class WriteFailed(MedframeError, OSError):
    """A file could not be written; nothing stands under its final name that was not there before."""


class Incompatible(MedframeError):
    """A checkpoint or cache entry belongs to another network, dataset or format version."""


class NotFinite(MedframeError):
    """Training met a NaN or infinite loss, gradient or input."""


class MissingPackage(MedframeError, ImportError):
    """An optional package is not installed; the message holds the pip line."""


class MedframeWarning(UserWarning):
    """The one class of warnings medframe issues on its own behalf."""


def shown_path(path: str | os.PathLike[str]) -> str:
    """How a path is shown in messages: relative to the working folder where it lies below it, else its last two parts.

    Full paths often hold user or patient names, and messages are copied into mails and issues.
    """
    text = os.fspath(path)
    if not os.path.isabs(text):
        return text
    try:
        return str(Path(text).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return os.path.join("...", *Path(text).parts[-2:]) if len(Path(text).parts) > 2 else text
