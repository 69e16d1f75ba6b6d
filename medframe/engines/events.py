"""ignite, loaded when the first engine is made, and the one event medframe adds to its own."""

from __future__ import annotations

import warnings
from types import ModuleType

from medframe.base.extras import need

VALIDATED = "validated"
"""Fired by the `Validate` handler; the scores then stand in `engine.state.metrics`."""


def ignite_engine() -> ModuleType:
    """The module `ignite.engine`, with `Engine` and `Events`.

    Raises:
        MissingPackage: ignite is not installed.
    """
    with warnings.catch_warnings():
        # ignite imports parts of torch that announce their own end; users cannot act on that
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return need("ignite.engine", "train networks")
