"""Build of medframe: one optional C++ extension, and the kernel sources as package data.

Set MEDFRAME_REQUIRE_NATIVE=1 to turn a missing extension into an error (the tests' command does).
"""

import importlib
import importlib.util
import os
import re
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

HERE = Path(__file__).parent
SOURCES = sorted(str(p.relative_to(HERE)) for p in (HERE / "cuda_ext" / "cpu").glob("*.cpp"))
HEADERS = sorted(str(p.relative_to(HERE)) for p in (HERE / "cuda_ext").rglob("*.h"))
REQUIRED = os.environ.get("MEDFRAME_REQUIRE_NATIVE") == "1"


class BuildExt(build_ext):
    """Finds pybind11 only when it is needed, so that a plain `python setup.py --version` works without it."""

    def build_extension(self, ext: Extension) -> None:
        ext.include_dirs.append(pybind11_headers())
        super().build_extension(ext)


def pybind11_headers() -> str:
    """Of pybind11 itself, or the copy that torch brings: builds without isolation need nothing more then."""
    if importlib.util.find_spec("pybind11") is not None:
        return importlib.import_module("pybind11").get_include()
    torch = importlib.util.find_spec("torch")
    if torch is None:
        raise CompileError("the extension needs the headers of pybind11: pip install pybind11")
    return str(Path(torch.submodule_search_locations[0]) / "include")


core = Extension(
    "medframe._core",
    sources=SOURCES,
    depends=HEADERS,
    include_dirs=["cuda_ext"],
    language="c++",
    # never -march=native (wheels travel) and never -ffast-math (it switches the whole process to flush-to-zero)
    # -fno-math-errno: nobody asks what a square root said to errno, and loops with one become vectors
    extra_compile_args=["-std=c++17", "-O3", "-fno-math-errno", "-fopenmp", "-fvisibility=hidden", "-g0"],
    extra_link_args=["-fopenmp", "-s"],
    optional=not REQUIRED,
)

CORE = [
    "torch>=2.10",
    "numpy>=2",
    "scipy>=1.13",
    "nibabel>=5.3",
    "pydicom>=3.0.2",
    "itk-io>=5.4",
    "pytorch-ignite>=0.5.2",
    "PyYAML>=6",
    "tqdm>=4.66",
    "safetensors>=0.5",
    "isal>=1.7",
    "matplotlib>=3.9",
    "pillow>=11",
]
DICOM = ["highdicom>=0.27", "python-gdcm>=3", "pyjpegls>=1.5", "pylibjpeg>=2", "pylibjpeg-openjpeg>=2.4"]
ZARR = ["zarr>=3"]
WSI = ["tifffile>=2025.1", "openslide-python>=1.4", "openslide-bin>=4"]
DOCS = ["sphinx>=8", "furo", "myst-nb>=1.2", "jupytext>=1.16"]
DEMO = ["nilearn>=0.11"]
TRACK = ["tensorboard>=2.18"]
EXTRAS = {
    "cuda12": ["cupy-cuda12x>=13.4"],
    "cuda13": ["cupy-cuda13x>=14"],
    "itk": ["itk>=5.4"],
    "dicom": DICOM,
    "zarr": ZARR,
    "wsi": WSI,
    "demo": DEMO,
    "track": TRACK,
    "docs": DOCS + DEMO,
    "dev": [
        "pytest>=8.3",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "hypothesis>=6.120",
        "ruff>=0.9",
        "mypy>=1.15",
        "types-PyYAML",
        "types-tqdm",
        "import-linter>=2.3",
        "pre-commit>=4",
        "SimpleITK>=2.4",
        "scikit-image>=0.25",
        "connected-components-3d>=3.20",
        "edt>=3",
        *DICOM,
        *ZARR,
        *WSI,
        *DOCS,
        *DEMO,
        *TRACK,
    ],
}

setup(
    name="medframe",
    version=re.search(r'__version__ = "(.+?)"', (HERE / "medframe" / "__init__.py").read_text()).group(1),
    description="Medical imaging deep learning whose geometry is never silently wrong",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["medframe", "medframe.*"]), "medframe.cuda_ext", "medframe.cuda_ext.cpu"],
    # the kernel sources live at the top level and travel inside the package
    package_dir={"medframe.cuda_ext": "cuda_ext", "medframe.cuda_ext.cpu": "cuda_ext/cpu"},
    package_data={
        "medframe": ["py.typed"],
        "medframe.cuda_ext": ["*.h", "*.cu"],
        "medframe.cuda_ext.cpu": ["*.cpp", "*.h"],
    },
    ext_modules=[core],
    cmdclass={"build_ext": BuildExt},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["medframe = medframe.cli.main:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: C++",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
    zip_safe=False,
)
