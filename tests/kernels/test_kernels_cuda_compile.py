"""Every CUDA kernel compiles for every architecture we name, within a budget of registers. No GPU is needed."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import torch

from medframe.base.errors import BadArgument, Incompatible, MissingPackage
from medframe.base.extras import has
from medframe.kernels import cuda
from medframe.kernels.cuda import compiler, sources
from medframe.kernels.cuda.sources import Kernel, kernel

needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc")
ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")

# Registers a thread. Blocks have 256 threads and a multiprocessor 65536 registers: 64 leave room for 4 blocks at once,
# 80 for 3, 128 for 2.
LIGHT, AFFINE, BENT = 64, 80, 128
BUDGET = {
    "pull_nearest": (LIGHT, BENT),
    "pull": (LIGHT, BENT),  # order 1; order 3 has BENT
    "push": (BENT, BENT),
    "label_vote": (BENT, BENT),
    "logit_argmax": (AFFINE, BENT),
    "sample": (BENT, BENT),
    "sample_backward": (BENT, BENT),
    "gather_knots": (AFFINE, AFFINE),
    "median_of_27": (AFFINE, AFFINE),
    "median_of_125": (192, 192),  # whose 125 voxels stay in registers
    "filter_axis": (LIGHT, LIGHT),
    "prefilter_across": (LIGHT, LIGHT),
    "prefilter_along": (96, 96),  # blocks of 128 threads
}
SPILLED = 128  # bytes a thread may spill, of what lives across the calls of the rare and of the long ways
NEVER = (
    "pull<1",
    "pull_nearest",
    "label_vote",
    "logit_argmax",
    "filter_axis",
    "median",
)  # unless displacements are read


def budget(name):
    word, _, parameters = name.removeprefix("medframe::").partition("<")
    if word == "pull" and parameters.startswith("3"):
        return BENT
    return BUDGET.get(word, (LIGHT, LIGHT))["true" in parameters]


def usage(text):
    """Kernel -> registers, bytes of stack and of spills, from the words of ptxas."""
    found, name = {}, None
    for row in text.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", row):
            name = match[1]
            found[name] = {}
        if match := re.search(r"Function properties for (\w+)", row):
            within = match[1]
        if (match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", row)) and within == name:
            found[name] |= {"stack": int(match[1]), "spills": int(match[2])}
        if match := re.search(r"Used (\d+) registers", row):
            found[name]["registers"] = int(match[1])
    return found


def compile_all(architecture, folder, kernels):
    """Compiles all kernels as one file; returns usage by the kernels' names."""
    table = ", ".join(f"(void *)&{k.name}" for k in kernels)
    includes = "".join(f'#include "{f}"\n' for f in sorted({k.file for k in kernels}))
    (folder / "all.cu").write_text(f"{includes}void *table[] = {{{table}}};\n")
    command = ["nvcc", "-std=c++17", f"-arch={architecture}", "-cubin", "-Xptxas=-v", "-Werror=all-warnings"]
    command += [f"-I{sources.folder()}", str(folder / "all.cu"), "-o", str(folder / "all.cubin")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = usage(done.stderr)
    assert len(found) == len(kernels)
    plain = subprocess.run(["c++filt"], input="\n".join(found), capture_output=True, text=True, check=True).stdout
    return {
        re.sub(r"^void ", "", p).partition("(")[0]: found[m] for m, p in zip(found, plain.splitlines(), strict=True)
    }


def check(found):
    for name, used in found.items():
        assert used["registers"] <= budget(name), f"{name}: {used}"
        plain = name.removeprefix("medframe::")
        none = "<" not in plain or (plain.startswith(NEVER) and "true" not in plain)
        assert used["spills"] <= (16 if none else SPILLED), f"{name}: {used}"


@needs_nvcc
def test_kernels_compile_within_their_budget(tmp_path):
    """One architecture, and one type of voxels for every way a kernel is made: the quick part of the next test."""
    some = {}
    for which in cuda.kernels():
        word, *parameters = re.split("[<>,] ?", which.name)
        ways = (word, *(p for p in parameters if p in ("1", "2", "3", "true", "false")))
        if "0" not in parameters:
            some.setdefault(ways, which)
    check(compile_all("sm_90", tmp_path, list(some.values())))


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles_for_every_architecture(tmp_path, architecture):
    check(compile_all(architecture, tmp_path, cuda.kernels()))


def nvrtc():
    """CuPy's NVRTC, which needs no driver; skips where it cannot be had."""
    if not has("cupy"):
        pytest.skip("CuPy is not installed")
    import cupy

    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # a library of its own that is not there
        pytest.skip(f"NVRTC cannot be loaded: {error}")
    return cupy.cuda.nvrtc


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_compiles_each_source(tmp_path, monkeypatch, architecture):
    nvrtc()
    monkeypatch.setenv("MEDFRAME_CACHE", str(tmp_path))
    for which in {k.file: k for k in cuda.kernels()}.values():
        path, lowered = compiler.binary(which, architecture)
        assert path.read_bytes()[:4] == b"\x7fELF"
        assert lowered.encode() in path.read_bytes()


def test_the_cache_is_used_and_a_damaged_one_is_not(tmp_path, monkeypatch):
    made = nvrtc()
    monkeypatch.setenv("MEDFRAME_CACHE", str(tmp_path))
    which = kernel("filters.cu", "filter_axis", torch.float32, torch.float32)
    path, lowered = compiler.binary(which, "sm_90")
    assert path.parent == tmp_path / "kernels"
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "compile_kernel", lambda *_: pytest.fail("compiled again"))
        assert compiler.binary(which, "sm_90") == (path, lowered)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert compiler.binary(which, "sm_90")[0].read_bytes() == whole
    assert made is not None


def test_a_source_that_does_not_compile_is_told_with_the_log():
    with pytest.raises(Incompatible, match="no_such_kernel"):
        compiler.compile_kernel(nvrtc(), Kernel("pull.cu", "medframe::no_such_kernel<1>"), "sm_90")


def test_an_architecture_nvrtc_does_not_know_is_told():
    with pytest.raises(Incompatible, match="sm_20"):
        compiler.compile_kernel(nvrtc(), cuda.kernels()[0], "sm_20")


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(BadArgument, match=r"pull\.cu"):
        compiler.compile_kernel(None, Kernel("nothing.cu", "x"), "sm_90")


def test_without_cupy_the_pip_line_is_told():
    if has("cupy"):
        pytest.skip("CuPy is installed")
    with pytest.raises(MissingPackage, match=r"medframe\[cuda1"):
        compiler.binary(cuda.kernels()[0], "sm_90")


@pytest.mark.parametrize(
    ("environment", "due"),
    [
        ({"MEDFRAME_CACHE": "/a"}, "/a/kernels"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/medframe/kernels"),
        ({"HOME": "/c"}, "/c/.cache/medframe/kernels"),
    ],
)
def test_where_the_cache_is(monkeypatch, environment, due):
    for name in ("MEDFRAME_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(compiler.cache_folder()) == due


def test_every_source_is_in_the_table():
    """A kernel file that no module asks for would never be compiled or run by a test."""
    assert {k.file for k in cuda.kernels()} == {name for name in sources.texts() if name.endswith(".cu")}
