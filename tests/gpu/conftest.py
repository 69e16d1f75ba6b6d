"""Tests that need a CUDA device and CuPy: `pytest tests/gpu`. They need torch, numpy, scipy and cupy alone."""

from __future__ import annotations

import pytest
import torch

from medframe.kernels import cuda


@pytest.fixture(scope="session")
def device():
    if cuda.missing() is not None:
        pytest.skip(cuda.missing())
    return torch.device("cuda", torch.cuda.current_device())
