"""Which of the named regions of an object are read, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from medframe.base.errors import BadArgument, BadLabel
from medframe.io.dicom.quiet import quiet

_SHOWN = 64  # characters of a name
_LISTED = 12


class Named(Protocol):
    """A segment, or a region of interest."""

    @property
    def number(self) -> int: ...

    @property
    def name(self) -> str: ...


One = TypeVar("One", bound=Named)


def chosen(known: Sequence[One], wanted: Sequence[str | int] | None, option: str, where: Path) -> list[One]:
    """Those that are asked for, by name or number, in that order; all by number if nothing is said.

    Args:
        known: what the file holds.
        wanted: what the caller asked for.
        option: how that is called, for messages.
        where: the file, for messages.

    Raises:
        BadArgument: not a list, or one is asked for twice.
        BadLabel: one is not there, or its name is that of several.
    """
    if wanted is None:
        return sorted(known, key=lambda one: one.number)
    if isinstance(wanted, str | int) or not wanted:
        due = f"a list of names or numbers, such as {option}=[1]"
        raise BadArgument(f"{option} is a list", where=where, found=repr(wanted), due=due)
    out: list[One] = []
    for asked in wanted:
        fitting = [one for one in known if (one.number if isinstance(asked, int) else one.name) == asked]
        if len(fitting) != 1:
            listed = "; ".join(f"{one.number}: {one.name}" for one in known[:_LISTED])
            raise BadLabel(
                "several answer to this name" if fitting else "the file holds no such region",
                where=where,
                found=f"{option}={asked!r}",
                due=listed + ("; ..." if len(known) > _LISTED else ""),
                mend="Take a name as the file spells it, or a number.",
            )
        if fitting[0] in out:
            raise BadArgument("one is asked for twice", where=where, found=f"{option}={asked!r}", due="each once")
        out += fitting
    return out


def shown_name(item: Any, keyword: str, otherwise: str) -> str:
    """The name of a region: one line of at most 64 printable characters."""
    try:
        with quiet():
            found = str(item.get(keyword, "") or "")
    except Exception:  # an undecodable name is none
        found = ""
    return "".join(c for c in found if c.isprintable()).strip()[:_SHOWN] or otherwise
