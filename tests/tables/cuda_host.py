"""The CUDA kernels run by the processor: compiled by g++ with a shim, and started in place of the GPU's launches.

As a script, runs every kernel once on small inputs: what the address and undefined-behaviour sanitizers watch.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from medframe.kernels import cuda
from medframe.kernels.cuda import launch, sources
from medframe.kernels.cuda.sources import BITS, CXX, Kernel
from medframe.kernels.stages import BORDERS, Knots

SHIM = Path(__file__).resolve().parents[1] / "kernels" / "cuda_shim"
FLAGS = ("-std=c++17", "-O0", "-fPIC", "-shared", "-w", "-fno-strict-aliasing", "-ffp-contract=off")
SANITIZERS = ("-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-sanitize=vptr")


def chosen(which: str) -> list[Kernel]:
    """Every kernel, or those that differ in more than the voxels' types."""
    rare = {CXX[t] for t in (torch.float16, torch.bfloat16, torch.int16, torch.int32)} | {BITS[2], BITS[4], BITS[8]}
    return [k for k in cuda.kernels() if which == "every" or not rare & set(re.split("[<>,] ?", k.name))]


def translation_unit(which: str = "every") -> str:
    """Kernels and a table of them, as one C++ source."""
    entries = "".join(
        f'    if (!std::strcmp(name, "{k.name}")) return shim::launch(&{k.name}, grid, block, args, count) ? 0 : 2;\n'
        for k in chosen(which)
    )
    return (
        '#include "shim.h"\n'
        + "".join(f'#include "{f}"\n' for f in sorted({k.file for k in cuda.kernels()}))
        + 'extern "C" void seed(unsigned s) { shim::chance.seed(s); }\n'
        + 'extern "C" int start(const char *name, const unsigned *grid, const unsigned *block, void **args, int count) '
        + "{\n"
        + entries
        + "    return 1;\n}\n"
    )


def build(*flags: str, which: str = "every") -> Path:
    """The shared library, built once for a state of the sources."""
    text = translation_unit(which)
    digest = hashlib.sha256(text.encode() + (SHIM / "shim.h").read_bytes() + repr((FLAGS, flags)).encode())
    for name, content in sources.texts().items():
        digest.update(name.encode() + content.encode())
    folder = Path(tempfile.gettempdir()) / f"medframe-cuda-host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{digest.hexdigest()[:24]}.so"
    if not library.exists():
        part = folder / f"{library.stem}-{os.getpid()}"
        part.with_suffix(".cpp").write_text(text)
        command = ["g++", *FLAGS, *flags, f"-I{SHIM}", f"-I{sources.folder()}"]
        command += [str(part.with_suffix(".cpp")), "-o", str(part.with_suffix(".part"))]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:4000]
        part.with_suffix(".part").rename(library)
        part.with_suffix(".cpp").unlink()
    return library


def sanitizers() -> str | None:
    """What to preload so that a sanitized library can be loaded by Python; None where g++ has no sanitizers."""
    found = []
    for name in ("libasan.so", "libubsan.so"):
        done = subprocess.run(["g++", f"-print-file-name={name}"], check=False, capture_output=True, text=True)
        if not os.path.isabs(done.stdout.strip()):
            return None
        found.append(done.stdout.strip())
    return " ".join(found)


@contextmanager
def host(*flags: str, seed: int = 1, which: str = "every"):
    """Launches go to the host, and tensors on the CPU are taken."""
    assert shutil.which("g++")
    library = ctypes.CDLL(str(build(*flags, which=which)))
    library.seed(ctypes.c_uint(seed))
    ran, count = set(), itertools.count(1)
    library.ran, library.last = ran, 0
    library.starts = lambda: library.last

    def start(kernel, grid, block, *args):
        ran.add(kernel)
        library.last = next(count)
        values = []
        for a in args:
            if isinstance(a, torch.Tensor):
                assert a.is_contiguous()
            number = np.uint64(a.data_ptr()) if isinstance(a, torch.Tensor) else a
            values.append(ctypes.create_string_buffer(number.tobytes(), number.nbytes))
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
        three = ctypes.c_uint * 3
        code = library.start(
            kernel.name.encode(), three(*launch.blocks(grid)), three(*block), pointers, ctypes.c_int(len(values))
        )
        assert code == 0, ("unknown kernel", "number of arguments")[code - 1] + f": {kernel.name}"

    before = launch.launch, launch.declines
    launch.launch, launch.declines = start, lambda *_: None
    try:
        yield library
    finally:
        launch.launch, launch.declines = before


def exercise(which: str) -> None:
    """A small call of everything, with places inside, outside and beyond the border."""
    dtypes = list(sources.CXX) if which == "every" else [torch.float32, torch.uint8]
    turned = np.eye(4)
    turned[:3] = [[0.9, 0.3, 0, -1], [-0.2, 1.1, 0.1, 0.5], [0.1, 0, 0.8, -0.7]]
    bend = [
        Knots(torch.linspace(-2, 2, 3 * 24).reshape(3, 2, 3, 4), turned / 2 + np.eye(4) / 2, order) for order in (3, 1)
    ]
    shape = (5, 6, 35)
    for stages in ([turned], [bend[0], turned, bend[1]]):
        for dtype in dtypes:
            volume = torch.arange(2 * 7 * 5 * 33).reshape(2, 7, 5, 33).remainder(100).to(dtype)
            for order, border, to in itertools.product((0, 1, 3), BORDERS, {dtype, torch.float32}):
                if order == 0 and dtype == to == torch.float32 and which != "every":
                    continue  # moves four bytes, which only the full set holds
                cuda.pull(volume, stages, shape, order=order, border=border, fill=1.0, dtype=to)
        if which == "every":
            cuda.pull(volume.double(), stages, shape, order=0, border="zero", fill=1.0, dtype=torch.float64)
    for dtype in dtypes:
        cuda.gaussian(torch.ones(2, 3, 4, 5, dtype=dtype), (1.0, 0.5, 2.0), 3.0)
        cuda.gaussian(torch.ones(2, 3, 4, 5, dtype=dtype), (0.0, 0.5, 0.0), 3.0)
        for width in (3, 5):
            cuda.median(torch.arange(5 * 6 * 33).reshape(1, 5, 6, 33).remainder(50).to(dtype), width)
    exercise_gradients(turned)
    mask = torch.arange(2 * 7 * 5 * 33).reshape(2, 7, 5, 33).remainder(7) > 2
    for steps in (1, 3):
        cuda.grow(mask, steps, erode=steps == 1)
        cuda.fill_holes(mask, steps)
    for stages in ([turned], [bend[0], turned, bend[1]]):
        for dtype in {torch.float32, *dtypes} & {torch.float32, torch.float16, torch.bfloat16}:
            for order, border in itertools.product((0, 1, 3), BORDERS):
                cuda.push(torch.ones(2, 5, 6, 7, dtype=dtype), stages, (7, 5, 33), order=order, border=border)
            for to in (torch.uint8, torch.int16)[: 2 if which == "every" else 1]:
                cuda.logit_argmax(
                    torch.ones(3, 7, 5, 33, dtype=dtype),
                    stages,
                    shape,
                    border="zero",
                    dtype=to,
                    order=1,
                    fill=(0.0,),
                    probabilities=None,
                )
        for dtype in (torch.uint8, torch.int64, torch.int16, torch.int32)[: 4 if which == "every" else 2]:
            labels = torch.arange(7 * 5 * 33).reshape(1, 7, 5, 33).remainder(5).to(dtype)
            cuda.label_vote(labels, stages, shape, order=1, border="zero", fill=9, smooth=(0.0, 0.0, 0.0))
            if dtype != torch.int64:
                cuda.components(labels // 3, 3)
            cuda.joint_counts(labels, labels, 3, 4)
            cuda.joint_counts(labels, labels, 300, 400)
    cuda.distance(labels == 4, (1.0, 2.0, 3.0))
    for dtype in {torch.float32, *dtypes} & {torch.float32, torch.float16, torch.bfloat16}:
        cuda.normal((3, 7), 5, torch.device("cpu"), dtype)


def exercise_gradients(turned: np.ndarray) -> None:
    """Every field, order and border of a sampling and its gradients, with places outside."""
    volume, matrix = torch.ones(1, 2, 7, 5, 9), torch.from_numpy(turned)[None]
    shape, eye = (2, 6, 35), torch.eye(4, dtype=torch.float64)
    grad = torch.ones(1, 2, *shape)
    fields = ((None, eye, 1), (torch.ones(1, 3, *shape), eye, 1), (torch.ones(1, 3, 2, 3, 2), eye / 3, 3))
    for k, ((field, onto, knot_order), order) in enumerate(itertools.product(fields, (0, 1, 3))):
        how = {"order": order, "knot_order": knot_order, "border": BORDERS[k % 4], "fill": 1.0}
        cuda.sample(volume, matrix, field, eye, onto, shape, **how)
        cuda.sample_backward(grad, volume, matrix, field, eye, onto, **how, needs=[True, True, field is not None])
    how = {"order": 1, "knot_order": 1, "border": "zero", "fill": 1.0, "needs": [False, False, True]}
    cuda.sample_backward(grad, volume, matrix, torch.ones(1, 3, 2, 1, 2), eye, eye / 3, **how)


if __name__ == "__main__":
    with host(*SANITIZERS, which=sys.argv[1]) as loaded:
        exercise(sys.argv[1])
        left = {k.name for k in chosen(sys.argv[1])} - {k.name for k in loaded.ran}
    print("not run: " + ", ".join(sorted(left)) if left else f"{sys.argv[1]} kernels ran")
