"""The extension `medframe._core`, built from cuda_ext/cpu when medframe is installed."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

MISSING = "medframe._core was not built (it needs a C++ compiler when medframe is installed)"


@cache
def core() -> ModuleType | None:
    """The compiled extension, or None where it was not built."""
    try:
        return importlib.import_module("medframe._core")
    except ModuleNotFoundError:
        return None
