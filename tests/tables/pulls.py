"""A dataset for loaders whose workers are spawned: they import it by name, which a test module cannot offer."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from medframe.kernels import pull

SHAPE = (1, 96, 96, 96)  # 3.5 MB of float32
MATRIX = np.array([[0.9, 0.1, 0, 0], [0, 0.9, 0.1, 0], [0.1, 0, 0.9, 0], [0, 0, 0, 1]])


class Pulls(Dataset):
    """Six turned volumes, each in memory that is lent."""

    def __init__(self):
        self.volume = torch.arange(96.0**3).reshape(SHAPE)

    def __len__(self):
        return 6

    def __getitem__(self, index):
        out = pull(self.volume + index, [MATRIX], SHAPE[1:], border="border")
        assert out.data_ptr() % (2 << 20) == 0
        return out
