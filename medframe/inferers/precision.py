"""The three precisions a network is run in, by name."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeAlias, get_args

import torch

from medframe.base.errors import BadArgument

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def check_precision(name: object) -> None:
    """Raise unless `name` is one of the three.

    Raises:
        BadArgument: with the names there are.
    """
    if name not in PRECISIONS:
        raise BadArgument("no such precision", where="precision", found=repr(name), due=" or ".join(PRECISIONS))


def autocast(precision: Precision, device: torch.device | str) -> AbstractContextManager[object]:
    """A context in which matrix products and convolutions are done in `precision`.

    "float32" changes nothing, so that an autocast of the caller's stays in force.
    """
    if precision == "float32":
        return nullcontext()
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16 if precision == "bfloat16" else torch.float16)
