"""The one place where files of tensors made elsewhere are read: safetensors, and torch's format without its code."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medframe.base.errors import BadFile
from medframe.base.extras import need
from medframe.base.sizes import check_size

_TORCH_SUFFIXES = (".bin", ".ckpt", ".model", ".pt", ".pth", ".pth.tar", ".tar")
# what numpy's scalars are pickled as: training logs beside the weights hold them, and they run no code
_SCALARS: list[Any] = [
    np.dtype,
    *(type(np.dtype(code)) for code in ("f8", "f4", "i8", "i4", "?")),
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),  # as older numpy wrote it
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
]


def read_tensor_file(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Read a file of named tensors onto the CPU without running anything that is in it.

    A `.safetensors` file gives its tensors. Another file is taken for one of `torch.save` and read by torch's
    restricted reader, which knows tensors, numbers, texts, lists and dicts, and refuses every other class.

    Args:
        path: `.safetensors`, or `.pt`, `.pth`, `.ckpt`, `.bin`, `.model`, `.tar`.

    Returns:
        What stands at the top of the file: names and tensors, or names and further mappings around them.

    Raises:
        BadFile: missing, damaged, of another format, or holding objects other than those above.
        TooLarge: larger than the limit, or an archive that claims more than the file holds.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadFile("the weights cannot be opened", where=path, found=error.strerror, due="a file") from None
    check_size([max(size, 1)], 1, where=path)
    if path.name.lower().endswith(".safetensors"):
        return _safetensors(path)
    if path.suffix.lower() in (".pkl", ".pickle", ".joblib"):
        raise BadFile(
            "a pickle can run code when it is loaded, and is never opened",
            where=path,
            found=path.suffix,
            due="a file of tensors alone, best .safetensors",
            mend="Where the file came from, load it and save network.state_dict() alone.",
        )
    if not path.name.lower().endswith(_TORCH_SUFFIXES):
        raise BadFile(
            "not a file of weights by its name",
            where=path,
            found=path.suffix or "no suffix",
            due=", ".join((".safetensors", *_TORCH_SUFFIXES)),
            mend="Rename the file if it is of one of these formats.",
        )
    return _torch(path, size)


def _safetensors(path: Path) -> Mapping[str, Any]:
    load = need("safetensors.torch", "read weights").load_file
    refused = need("safetensors", "read weights").SafetensorError
    try:
        tensors: dict[str, Any] = load(path)
    except (OSError, ValueError, KeyError, refused) as error:
        raise BadFile(
            "the weights cannot be read",
            where=path,
            found=str(error),
            due="a whole safetensors file",
            mend="Copy it again from its source.",
        ) from None
    return tensors


def _torch(path: Path, size: int) -> Mapping[str, Any]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            # torch stores without compression, so that a file that unpacks to more than itself is not one of its own
            check_size([max(1, sum(entry.file_size for entry in archive.infolist()))], 1, where=path, available=size)
    try:
        with torch.serialization.safe_globals(_SCALARS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on odd pickles, for torch's developers: the error says what matters here
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything for a damaged file
        first = str(error).partition("\n")[0]
        foreign = "eights only load failed" in str(error) or "Unsupported" in str(error)
        raise BadFile(
            "the weights cannot be read",
            where=path,
            found="objects that are not tensors" if foreign else f"{type(error).__name__}: {first[:200]}",
            due="tensors, numbers and texts, as torch.save(network.state_dict(), path) writes them",
            mend="Where the file came from, load it and save network.state_dict() alone, best as safetensors."
            if foreign
            else "Copy it again from its source.",
        ) from None
    if not isinstance(found, Mapping):
        raise BadFile("the weights are not named", where=path, found=type(found).__name__, due="a mapping of tensors")
    return found
