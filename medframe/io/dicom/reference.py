"""The lattice that regions are read onto: that of an image, or of the series they were drawn on."""

from __future__ import annotations

import os
from pathlib import Path

from medframe.base.errors import BadArgument
from medframe.geometry import Space
from medframe.image import Image
from medframe.io.dicom.header import uid
from medframe.io.dicom.source_series import source_series
from medframe.io.registry import FORMATS, format_of, load_reader

Reference = Image | Space | str | os.PathLike[str]


def lattice_of(reference: Reference, where: Path) -> tuple[Space, str | None]:
    """The lattice of a reference, and the UID of its frame of reference where it is known.

    Args:
        reference: an image, a space, or the path of an image of any format or of a folder with a DICOM series.
        where: the file that is read, for messages.

    Raises:
        BadArgument: it is none of these.
        BadFile, BadGeometry: it cannot be read.
    """
    if isinstance(reference, Space):
        return reference, None
    if isinstance(reference, Image):
        return reference.space, None
    try:
        path = Path(reference)
    except TypeError:
        due = "an Image, a Space, or the path of an image or of the folder of the source series"
        raise BadArgument("the reference is no lattice", where=where, found=type(reference).__name__, due=due) from None
    if not path.is_dir() and any(path.name.lower().endswith(s) for f in FORMATS for s in f.suffixes):
        chosen = format_of(path)
        if chosen.name != "DICOM":
            image: Image = load_reader(path).read(path, Image)
            return image.space, None
    series = source_series(path, where)
    return series.space, uid(series.datasets[0], "FrameOfReferenceUID", path, "") or None
