"""What serves what on this machine."""

from __future__ import annotations

import numpy as np
import torch

from medframe.kernels import cuda
from medframe.kernels.dispatch import explain
from medframe.kernels.ops.regions import DISTANCE
from medframe.kernels.ops.sampling import PULL


def report() -> dict[str, dict[str, str]]:
    """What serves what on this machine, and why the rest declined; printed by `medframe info`."""
    probe = torch.zeros(1, 2, 2, 2)
    args = (probe, [np.eye(4)], (2, 2, 2))
    options = {"order": 1, "border": "zero", "fill": 0.0, "dtype": torch.float32}
    mask = torch.zeros(1, 2, 2, 2, dtype=torch.uint8)
    return {
        "pull (CPU, float32)": explain(PULL, *args, **options),
        "distances and components (CPU)": explain(DISTANCE, mask, (1.0, 1.0, 1.0), torch.float32),
        "tensors on a GPU": {"cuda": cuda.missing() or "serves"},
    }
