"""Memory for outputs, used again once nobody holds the tensor it was lent to.

A fresh page costs a fault when it is first written: 10 ms for an image of 42 MB, more than most kernels take. Outputs
of `LEAST` bytes and more therefore live in memory that the extension keeps when a tensor dies, 1 GiB at most or what
`MEDFRAME_KEPT_MEMORY` says in bytes (0: none). The system may take back what is kept whenever it runs short. Such a
tensor is like one of `torch.from_numpy`: everything works on it but `resize_` to more than it has.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from medframe.base.errors import BadConfig
from medframe.kernels.native import library

LEAST = 2 << 20
VARIABLE = "MEDFRAME_KEPT_MEMORY"


def empty(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """A contiguous tensor of `shape` on the CPU whose values are whatever was there, as `torch.empty` makes.

    Raises:
        BadConfig: MEDFRAME_KEPT_MEMORY is no number of bytes.
    """
    size = math.prod(shape) * dtype.itemsize
    native = _lender() if size >= LEAST else None
    memory = None if native is None else native.lend(size)
    if memory is None:
        return torch.empty(tuple(shape), dtype=dtype)
    storage = torch.from_numpy(memory).untyped_storage()
    return torch.empty(0, dtype=dtype).set_(storage, 0, tuple(shape))  # type: ignore[call-overload, no-any-return]


@cache
def _lender() -> ModuleType | None:
    """The extension, told once how much to keep."""
    native, most = library.core(), os.environ.get(VARIABLE)
    if native is not None and most is not None:
        if not most.isdecimal():
            raise BadConfig(
                "no number of bytes", where=VARIABLE, found=most, due="a whole number", mend=f"Unset {VARIABLE}."
            )
        native.keep_at_most(int(most))
    return native
