"""The kernels' source files, and what names one kernel among them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import torch

from medframe.base.errors import Incompatible

# torch's dtype -> the type the sources call it
CXX = {
    torch.float32: "float",
    torch.float16: "medframe::Half",
    torch.bfloat16: "medframe::BFloat16",
    torch.uint8: "unsigned char",
    torch.int16: "short",
    torch.int32: "int",
}
# the same size without a meaning, for kernels that only move voxels
BITS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}


@dataclass(frozen=True)
class Kernel:
    """One kernel: the file it stands in, and the C++ expression that names it."""

    file: str
    name: str


@lru_cache(1024, typed=True)  # True and 1 are two parameters
def kernel(file: str, name: str, *parameters: object) -> Kernel:
    """Name a kernel; template parameters are dtypes, C++ type names, numbers or bools."""
    words = []
    for p in parameters:
        if isinstance(p, bool):
            words.append("true" if p else "false")
        else:
            words.append(CXX[p] if isinstance(p, torch.dtype) else str(p))
    return Kernel(file, f"medframe::{name}<{', '.join(words)}>" if words else f"medframe::{name}")


@cache
def folder() -> Path:
    """Where the sources are: inside the package in wheels, beside it in a checkout (editable installs).

    Raises:
        Incompatible: neither place has them.
    """
    package = Path(__file__).resolve().parents[2]
    places = [package / "cuda_ext", package.parent / "cuda_ext"]
    for place in places:
        if (place / "pull.cu").is_file():
            return place
    raise Incompatible(
        "the CUDA kernels' sources are missing",
        found="no pull.cu in " + " or ".join(str(p) for p in places),
        due="the folder cuda_ext of the medframe distribution",
        mend="Install medframe again.",
    )


@cache
def texts() -> dict[str, str]:
    """Every header and kernel file by name."""
    files = sorted(p for p in folder().iterdir() if p.suffix in (".h", ".cu"))
    return {p.name: p.read_text(encoding="utf-8") for p in files}
