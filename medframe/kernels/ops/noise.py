"""Noise that is a function of a seed and a place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.kernels import cuda, native, reference
from medframe.kernels.dispatch import Backend, choose, never


def _elsewhere(shape: Sequence[int], seed: int, device: torch.device, dtype: torch.dtype) -> str | None:
    return cuda.missing() if device.type == "cuda" else f"it works on CUDA devices, not on {device}"


NOISE = (
    Backend("cuda", _elsewhere, cuda.normal),
    Backend("native", native.declines_noise, native.normal_noise),
    Backend("reference", never, reference.normal_noise),
)


def normal_noise(
    shape: Sequence[int],
    seed: int,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Standard normal numbers; number i depends on the seed and i alone, on every device and number of threads.

    Methods: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
    doi:10.1145/2063384.2063405) and the Box-Muller transform (Ann. Math. Stat. 1958, doi:10.1214/aoms/1177706645).
    Back ends differ by rounding: 2e-6 at most in float32.

    Args:
        shape: of the result.
        seed: 128 bits, for instance `Rng.seed`.
        device: where the numbers are made.
        dtype: float32, float16 or bfloat16.

    Raises:
        BadArgument: another dtype, or a seed that is negative or longer.
    """
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise BadArgument("noise of another type", found=str(dtype), due="float32, float16 or bfloat16")
    if not 0 <= seed < 1 << 128:
        raise BadArgument("a seed of another size", found=seed, due="0 <= seed < 2^128")
    where = torch.device(device)
    backend = choose("normal_noise", NOISE, shape, seed, where, dtype)
    result: Tensor = backend.run(shape, seed, where, dtype)
    return result
