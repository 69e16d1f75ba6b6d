"""Silence for pydicom and highdicom: their warnings and logs quote values of a header, which may be names."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

_LOGGERS = ("pydicom", "highdicom")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warning is issued and nothing is logged by pydicom or highdicom within the block."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
