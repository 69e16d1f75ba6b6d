"""The one way a name that stands in data becomes a path: it must stay inside its folder, links followed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from medframe.base.errors import BadFile, MedframeError


def inside(
    folder: str | os.PathLike[str],
    name: object,
    *,
    roots: Sequence[str | os.PathLike[str]] = (),
    where: str | os.PathLike[str] | None = None,
    error: type[MedframeError] = BadFile,
    mend: str = "Move the file that names it above its parts, or write the name relative to it.",
) -> Path:
    """The path of `name` below `folder`; it need not exist.

    Names come from headers (data files of NRRD and MetaImage), DICOMDIR, lists of cases and archives: whoever wrote the
    file chose them, so they may point anywhere.

    Args:
        folder: what the name is relative to.
        name: as it stands in the file.
        roots: further folders that the path may lie in.
        where: the file and entry that hold the name, for the message.
        error: the class to raise.
        mend: what to do about a path that leads out.

    Raises:
        MedframeError: of the class `error`: the name is no text, or leads out of every folder, links followed.
    """
    due = "a file name relative to the folder"
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise error("a path is text", where=where, found=repr(name)[:80], due=due, mend="Mend the name.")
    path = Path(folder) / name.strip()
    try:
        real = path.resolve()
        allowed = [Path(root).resolve() for root in (folder, *roots)]
    except (OSError, RuntimeError, ValueError):  # a loop of links, or characters that no file name has
        found = ascii(name)[:80]
        raise error("a path cannot be followed", where=where, found=found, due=due, mend="Mend the name.") from None
    if not any(real.is_relative_to(root) for root in allowed):
        raise error(
            "a path leads out of its folder",
            where=where,
            found=name if not os.path.isabs(name) else f".../{path.name}",
            due=f"a path below {Path(folder).name or 'the folder'}",
            mend=mend,
        )
    return Path(os.path.normpath(path))
