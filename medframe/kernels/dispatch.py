"""One table decides which back end serves a call: CUDA for tensors on a GPU, else native C++, else the reference.

A back end may decline a call by giving a reason; the next one is asked. `MEDFRAME_KERNELS=reference|native|cuda`
forces one, and then its refusal is an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medframe.base.errors import BadArgument, BadConfig

VARIABLE = "MEDFRAME_KERNELS"


@dataclass(frozen=True)
class Backend:
    """One implementation of one op.

    Args:
        name: "cuda", "native" or "reference".
        declines: takes the call's arguments and returns a reason, or None to serve it.
        run: does the work.
    """

    name: str
    declines: Callable[..., str | None]
    run: Callable[..., Any]


def never(*_: object, **__: object) -> None:
    """Declines no call: the reference's answer."""
    return None


def choose(op: str, table: tuple[Backend, ...], *args: Any, **kwargs: Any) -> Backend:
    """The first back end of `table` that takes the call.

    Raises:
        BadConfig: MEDFRAME_KERNELS names no back end.
        BadArgument: the forced back end declines.
    """
    forced = os.environ.get(VARIABLE)
    if forced:
        if forced not in ("cuda", "native", "reference"):
            raise BadConfig(f"{VARIABLE} names no back end", found=forced, due="reference, native or cuda")
        table = tuple(b for b in table if b.name == forced)
    reasons = []
    for backend in table:
        reason = backend.declines(*args, **kwargs)
        if reason is None:
            return backend
        reasons.append(f"{backend.name}: {reason}")
    raise BadArgument(
        f"no back end serves {op}",
        found="; ".join(reasons) or f"no {forced} back end for it",
        mend=f"Unset {VARIABLE}." if forced else None,
    )


def explain(table: tuple[Backend, ...], *args: Any, **kwargs: Any) -> dict[str, str]:
    """What each back end says to a call: "serves", or why it declines."""
    return {b.name: b.declines(*args, **kwargs) or "serves" for b in table}
