"""The suite runs in two processes, a file at a time in each; one thread each, so that they do not wait for each other.

`pytest -n 0` runs it in one process, for debuggers and for timing.
"""

import os

import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """The longest files first, so that one process does not wait for the other at the end."""
    items.sort(key=lambda item: "tutorials" not in item.path.parts)
