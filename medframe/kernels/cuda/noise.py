"""Random numbers on the GPU: a function of a seed and a position, as everywhere in medframe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medframe.kernels.cuda import launch
from medframe.kernels.cuda.sources import Kernel, kernel

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_WORD = (1 << 64) - 1


def normal(shape: Sequence[int], seed: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers by Philox4x32-10 and the Box-Muller transform.

    Numbers 4 g ... 4 g + 3, in C order, come from counter (g, upper half of the seed) under the key that is the seed's
    lower half: two pairs (r cos a, r sin a) with r = sqrt(-2 ln u), a = 2 pi v of the counter's words (u, v, u', v').

    Args:
        shape: of the result.
        seed: 128 bits, for instance `Rng.seed`.
        device: a CUDA device.
        dtype: float32, float16 or bfloat16.
    """
    out = torch.empty(tuple(shape), dtype=dtype, device=device)
    if out.numel():
        which = kernel("noise.cu", "normal_noise", dtype)
        words = (np.uint64(seed & _WORD), np.uint64(seed >> 64 & _WORD))
        grid = launch.line(-(-out.numel() // 4))
        launch.launch(which, grid, (launch.THREADS, 1, 1), out, np.int64(out.numel()), *words)
    return out


def kernels() -> list[Kernel]:
    """Every kernel this module may ask for."""
    return [kernel("noise.cu", "normal_noise", t) for t in _DTYPES]
