"""Which file is read and written by which module: one row a format, chosen by the end of the file's name."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from medframe.base.errors import BadArgument, BadFile
from medframe.base.extras import need
from medframe.image import Image

Kind = TypeVar("Kind", bound=Image)


@dataclass(frozen=True)
class Format:
    """A file format.

    Its module has `read(path, kind, **options)` and, if it writes, `write(image, path, *, overwrite, **options)`.

    Args:
        name: for people.
        suffixes: ends of file names, in lower case; the longest that fits decides.
        module: where it is implemented, imported when the first such file turns up.
        writes: whether it can be written.
        package: what must be installed for it, beyond the core.
        folders: whether a folder of any name is read by it, too.
        own_folders: whether its files are folders that bear its suffix.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    writes: bool = True
    package: str | None = None
    folders: bool = False
    own_folders: bool = False


FORMATS: tuple[Format, ...] = (
    Format("NIfTI", (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz"), "medframe.io.nifti"),
    Format("NRRD", (".nrrd", ".nhdr"), "medframe.io.nrrd"),
    Format("MetaImage", (".mha", ".mhd"), "medframe.io.metaimage"),
    Format("DICOM", (".dcm", ".dicom", ".ima"), "medframe.io.dicom", package="pydicom", folders=True),
    Format("array", (".npy", ".npz", ".safetensors"), "medframe.io.arrays"),
    Format("picture", (".png", ".jpg", ".jpeg", ".bmp"), "medframe.io.pictures", package="PIL"),
    Format("TIFF", (".tif", ".tiff"), "medframe.io.tiff", package="tifffile"),
    Format("Zarr", (".zarr",), "medframe.io.zarr_store", package="zarr", own_folders=True),
    Format(
        "whole slide",
        (".svs", ".svslide", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif"),
        "medframe.io.slides",
        writes=False,
        package="openslide",
    ),
)


@overload
def read(path: str | os.PathLike[str], kind: type[Kind], **options: Any) -> Kind: ...
@overload
def read(path: str | os.PathLike[str], **options: Any) -> Image: ...
def read(path: str | os.PathLike[str], kind: type[Image] = Image, *, untrusted: bool = False, **options: Any) -> Image:
    """Read an image, or a label map with `kind=LabelMap`.

    Only the header is read until the voxels are asked for.

    Args:
        path: a file, or a folder for formats that use folders.
        kind: Image or LabelMap.
        untrusted: parse the file in a process of its own, with limits on memory, time and files; see
            `medframe.io.untrusted`. The voxels are then read at once.
        options: what the format's own `read` takes; see its module.

    Raises:
        BadFile: the format is unknown, or the file is missing, damaged or truncated.
        BadGeometry: the file does not say where its voxels are.
        BadLabel: a label map holds values that are no labels.
        MissingPackage: the format needs a package that is not installed.
        TooLarge: the file claims more voxels than it holds or than the limits allow.

    Example:
        >>> image = read("scan.nii.gz")  # doctest: +SKIP
        >>> label = read("organs.nii.gz", LabelMap)  # doctest: +SKIP
    """
    path = Path(path)
    if untrusted:
        from medframe.io.untrusted import read_untrusted

        return read_untrusted(path, kind, **options)
    image: Image = load_reader(path).read(path, kind, **options)
    return image


def load_reader(path: Path) -> Any:
    """The module that reads a path, imported.

    Raises:
        BadFile: the format is unknown.
        MissingPackage: it needs a package that is not installed.
    """
    chosen = format_of(path)
    return _module(chosen, f"read {chosen.name} files")


def write(image: Image, path: str | os.PathLike[str], *, overwrite: bool = False, **options: Any) -> None:
    """Write an image or label map; the file appears whole or not at all.

    Args:
        image: what to write; waiting warps are paid.
        path: its end names the format. Missing folders are made.
        overwrite: replace a file that stands there.
        options: what the format's own `write` takes, such as dtype and on_loss; see its module.

    Raises:
        BadFile: the format is unknown.
        BadArgument: the format is not written, or an option is out of its domain.
        BadVoxels: values would be lost.
        WriteFailed: the disk is full, the name is taken, and the like.
    """
    path = Path(path)
    if not isinstance(image, Image):
        raise BadArgument(
            "write takes an image", found=type(image).__name__, due="an Image", mend="Wrap it: Image(tensor, affine)."
        )
    chosen = format_of(path, folder=False)
    if not chosen.writes:
        raise BadArgument(f"{chosen.name} files are not written", where=path, due=known_suffixes(writes=True))
    _module(chosen, f"write {chosen.name} files").write(image, path, overwrite=overwrite, **options)


def format_of(path: Path, *, folder: bool | None = None) -> Format:
    """The format of a path, by its name.

    Args:
        path: need not exist.
        folder: whether it is a folder; None looks.

    Raises:
        BadFile: no format has such a suffix, or none reads folders.
    """
    name = path.name.lower()
    fitting = [(len(s), f) for f in FORMATS for s in f.suffixes if name.endswith(s)]
    if folder is None and _is_folder(path):
        for _, known in sorted(fitting, key=lambda pair: -pair[0]):
            if known.own_folders:
                return known
        for known in FORMATS:
            if known.folders:
                return known
        raise BadFile(
            "this is not a file",
            where=path,
            found="a folder",
            due="an image file",
            mend="Give the path of the image file.",
        )
    if not fitting:
        raise BadFile(
            "the file's format is unknown",
            where=path,
            found=f"the suffix {path.suffix!r}",
            due=known_suffixes(),
            mend=_way_round(name),
        )
    return max(fitting, key=lambda pair: pair[0])[1]


def stem(path: str | os.PathLike[str]) -> str:
    """The name of a file without folder and format suffix: "scan.1.nii.gz" gives "scan.1"."""
    name = Path(path).name
    known = [s for f in FORMATS for s in f.suffixes if name.lower().endswith(s) and len(name) > len(s)]
    return name[: -max(map(len, known))] if known else Path(name).stem


def known_suffixes(*, writes: bool = False) -> str:
    """All suffixes that are read, or that are written, with the names of their formats."""
    return "; ".join(f"{f.name} ({', '.join(f.suffixes)})" for f in FORMATS if f.writes or not writes)


# what is not read, and the program that reads it: no reader of these keeps what is promised on sizes and damage
_ELSEWHERE = {
    "nibabel": (".mgh", ".mgz", ".mnc", ".par", ".rec", ".head", ".brik"),
    "SimpleITK": (".gipl", ".gipl.gz", ".vtk", ".h5", ".hdf5", ".lsm", ".pic", ".spr"),
}


def _way_round(name: str) -> str:
    for program, suffixes in _ELSEWHERE.items():
        if name.endswith(suffixes):
            call = (
                "from_nibabel(nibabel.load(path))" if program == "nibabel" else "from_sitk(SimpleITK.ReadImage(path))"
            )
            return f"If you trust the file, {program} reads it: medframe.io.{call}."
    return "Convert the file, or give it the suffix of what it is."


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # the reader says what is wrong with the path
        return False


def _module(chosen: Format, purpose: str) -> Any:
    if chosen.package is not None:
        need(chosen.package, purpose)
    return importlib.import_module(chosen.module)
