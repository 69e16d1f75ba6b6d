"""From source text to a loadable kernel: NVRTC through CuPy, at first use, kept on disk.

A compiled kernel is stored under the hash of all sources, its name, the options, the architecture and NVRTC's version,
in `$MEDFRAME_CACHE`, else `$XDG_CACHE_HOME/medframe`, else `~/.cache/medframe`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from medframe.base.errors import BadArgument, Incompatible, WriteFailed
from medframe.base.extras import need
from medframe.base.files import write_bytes, write_json
from medframe.kernels.cuda import sources
from medframe.kernels.cuda.sources import Kernel

# never --use_fast_math: it flushes small numbers to zero and divides inexactly
OPTIONS = ("--std=c++17", "--extra-device-vectorization")


def cache_folder() -> Path:
    """The user's folder for compiled kernels."""
    given = os.environ.get("MEDFRAME_CACHE")
    if given:
        return Path(given) / "kernels"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "medframe" / "kernels"


def binary(kernel: Kernel, architecture: str) -> tuple[Path, str]:
    """The file of a compiled kernel, and the kernel's name in it; compiled now if the cache has none.

    Args:
        kernel: which one.
        architecture: of the GPU, for instance "sm_90".

    Raises:
        MissingPackage: CuPy is not installed.
        Incompatible: NVRTC is missing, or refuses the source or the architecture; the message holds its log.
    """
    nvrtc = need("cupy", "run kernels on the GPU").cuda.nvrtc
    try:
        version = nvrtc.getVersion()
    except Exception as error:  # CuPy raises types of its own for a library that cannot be loaded
        raise Incompatible(
            "NVRTC cannot be loaded",
            found=f"{type(error).__name__}: {error}",
            due="the CUDA run-time compiler that CuPy uses",
            mend="Run: pip install nvidia-cuda-nvrtc (for CUDA 12: nvidia-cuda-nvrtc-cu12).",
        ) from error
    key = _key(kernel, architecture, str(version))
    for folder in (cache_folder(), _spare_folder()):
        found = _read(folder, key)
        if found is not None:
            return found
    cubin, lowered = compile_kernel(nvrtc, kernel, architecture)
    facts = {"kernel": kernel.name, "lowered": lowered, "sha256": hashlib.sha256(cubin).hexdigest()}
    for folder in (cache_folder(), _spare_folder()):
        try:
            write_bytes(folder / f"{key}.cubin", cubin)
            write_json(folder / f"{key}.json", facts)
        except WriteFailed:
            continue  # a home that cannot be written to: this process keeps its own folder
        return folder / f"{key}.cubin", lowered
    raise WriteFailed("a compiled kernel could not be kept", where=_spare_folder(), mend="Set MEDFRAME_CACHE.")


def compile_kernel(nvrtc: Any, kernel: Kernel, architecture: str) -> tuple[bytes, str]:
    """Compile one kernel; returns the binary and the kernel's mangled name.

    Args:
        nvrtc: CuPy's binding, `cupy.cuda.nvrtc`.
        kernel: which one.
        architecture: for instance "sm_90".

    Raises:
        BadArgument: there is no such source file.
        Incompatible: with NVRTC's log.
    """
    texts = sources.texts()
    if kernel.file not in texts:
        raise BadArgument("no such kernel file", found=kernel.file, due=", ".join(t for t in texts if t.endswith("cu")))
    headers = {name.encode(): text.encode() for name, text in texts.items() if name.endswith(".h")}
    program = nvrtc.createProgram(texts[kernel.file], kernel.file, list(headers.values()), list(headers))
    try:
        nvrtc.addNameExpression(program, kernel.name)
        nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture={architecture}"))
        return bytes(nvrtc.getCUBIN(program)), str(nvrtc.getLoweredName(program, kernel.name))
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise Incompatible(
            f"NVRTC does not compile {kernel.name}",
            where=kernel.file,
            found=f"{error} for {architecture} by NVRTC {nvrtc.getVersion()}\n{log}".rstrip(),
            mend="A GPU older than this CUDA supports needs an older CuPy (pip install 'medframe[cuda12]'); "
            "MEDFRAME_KERNELS=reference does without the CUDA kernels.",
        ) from error
    finally:
        nvrtc.destroyProgram(program)


def _key(kernel: Kernel, architecture: str, version: str) -> str:
    digest = hashlib.sha256()
    for part in (kernel.file, kernel.name, architecture, version, *OPTIONS):
        digest.update(part.encode() + b"\0")
    for name, text in sources.texts().items():
        if name.endswith(".h") or name == kernel.file:
            digest.update(name.encode() + b"\0" + text.encode() + b"\0")
    return digest.hexdigest()[:32]


def _read(folder: Path, key: str) -> tuple[Path, str] | None:
    path = folder / f"{key}.cubin"
    try:
        facts = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        cubin = path.read_bytes()
    except (OSError, ValueError):
        return None
    whole = isinstance(facts, dict) and hashlib.sha256(cubin).hexdigest() == facts.get("sha256")
    return (path, str(facts["lowered"])) if whole and "lowered" in facts else None


@cache
def _spare_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="medframe-kernels-"))
