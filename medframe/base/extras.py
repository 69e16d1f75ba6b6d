"""The one place where optional packages are asked for."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from medframe.base.errors import MissingPackage

# package -> the extra that installs it; None: part of the core install (absent only on stripped-down machines)
_EXTRA_OF: dict[str, str | None] = {
    "PIL": None,
    "SimpleITK": None,
    "cupy": "cuda12",
    "gdcm": "dicom",
    "highdicom": "dicom",
    "ignite": None,
    "isal": None,
    "itk": None,
    "matplotlib": None,
    "nibabel": None,
    "nilearn": "demo",
    "openslide": "wsi",
    "pydicom": None,
    "safetensors": None,
    "scipy": None,
    "tensorboard": "track",
    "tifffile": "wsi",
    "tqdm": None,
    "yaml": None,
    "zarr": "zarr",
}
_PIP_NAME = {
    "yaml": "PyYAML",
    "ignite": "pytorch-ignite",
    "itk": "itk-io",
    "PIL": "pillow",
    "openslide": "openslide-python",
}


def need(package: str, purpose: str) -> ModuleType:
    """Import an optional package, or say exactly how to get it.

    Args:
        package: the import name, dots allowed: `need("nilearn.datasets", "load the demo data")`.
        purpose: what it is needed for, as it should stand in the message: "read HDF5 files".

    Raises:
        MissingPackage: with the pip line to run.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        top = package.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != top:
            raise  # the package is there, something it imports itself is not
        raise MissingPackage(
            f"the package {_PIP_NAME.get(top, top)} is needed to {purpose}",
            found="it is not installed",
            mend=f"Run: {install_line(top)}",
        ) from None


def has(package: str) -> bool:
    """Whether an optional package is installed, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def install_line(package: str) -> str:
    """The pip line that installs a package."""
    extra = _EXTRA_OF.get(package)
    return f"pip install 'medframe[{extra}]'" if extra else f"pip install {_PIP_NAME.get(package, package)}"


def known_extras() -> dict[str, str]:
    """Each optional package and the extra it comes with."""
    return {package: extra for package, extra in _EXTRA_OF.items() if extra is not None}
