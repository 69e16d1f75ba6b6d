"""Starting kernels on torch's current stream, with torch's memory. Nothing here waits for the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.extras import has, install_line, need
from medframe.kernels.cuda import compiler
from medframe.kernels.cuda.sources import Kernel

THREADS = 256
_MOST_BLOCKS = 1 << 16  # kernels stride over the rest


def declines(*tensors: Tensor) -> str | None:
    """Why tensors cannot be handed to a CUDA kernel, or None."""
    if not tensors or any(t.device.type != "cuda" for t in tensors):
        return "a tensor is not on a CUDA device"
    if any(t.device != tensors[0].device for t in tensors):
        return "the tensors are on different devices"
    if any(t.layout != torch.strided for t in tensors):
        return "a tensor is not a plain one"
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return "a gradient is needed"
    return missing()


@cache
def missing() -> str | None:
    """Why no CUDA kernel can run on this machine, or None."""
    if not torch.cuda.is_available():
        return "torch finds no CUDA device or driver"
    if not has("cupy"):
        extra = "cuda13" if (torch.version.cuda or "").startswith("13") else "cuda12"
        return f"CuPy is not installed ({install_line('cupy').replace('cuda12', extra)})"
    try:
        devices = need("cupy", "run kernels on the GPU").cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's own types: no driver, a driver too old, a library not found
        return f"CuPy cannot reach the driver ({type(error).__name__}: {error})"
    return None if devices else "CuPy finds no CUDA device"


def launch(kernel: Kernel, grid: Sequence[int], block: Sequence[int], *args: Tensor | np.generic) -> None:
    """Start a kernel on the device of the tensors among its arguments.

    Args:
        kernel: which one.
        grid: blocks along x, y and z; cut to 65536 each, since kernels stride over what is left.
        block: threads along x, y and z.
        *args: tensors are passed as pointers, NumPy scalars, structs among them, by value with their own type.
    """
    device = next(a.device for a in args if isinstance(a, Tensor))
    cupy = need("cupy", "run kernels on the GPU")
    plain = tuple(np.uint64(a.data_ptr()) if isinstance(a, Tensor) else a for a in args)
    stream = torch.cuda.current_stream(device)
    with cupy.cuda.Device(device.index), cupy.cuda.ExternalStream(stream.cuda_stream, device.index):
        function = _function(kernel, device.index)
        function(blocks(grid), tuple(block), plain)


def blocks(grid: Sequence[int]) -> tuple[int, ...]:
    """A grid within what every GPU takes: 65535 blocks along y and z."""
    return tuple(max(1, min(int(n), _MOST_BLOCKS - 1)) for n in grid)


def line(items: int, threads: int = THREADS) -> tuple[int, int, int]:
    """Blocks for one thread an item."""
    return (-(-items // threads), 1, 1)


def stage(array: NDArray[Any], device: torch.device) -> Tensor:
    """Bytes of the host on the device: copied from pinned memory, in stream order, so that the host does not wait."""
    host = torch.from_numpy(np.frombuffer(array.tobytes(), np.uint8).copy())
    if device.type == "cpu":
        return host
    return host.pin_memory().to(device, non_blocking=True)


@cache
def _function(kernel: Kernel, index: int) -> Any:
    major, minor = torch.cuda.get_device_capability(index)
    path, lowered = compiler.binary(kernel, f"sm_{major}{minor}")
    return need("cupy", "run kernels on the GPU").RawModule(path=str(path)).get_function(lowered)
