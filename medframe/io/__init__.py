"""Files: images and label maps are read and written here, in whatever format their name says."""

from medframe.io.exchange import from_itk, from_nibabel, from_sitk, to_itk, to_nibabel, to_sitk
from medframe.io.itk_transform import read_transform
from medframe.io.registry import FORMATS, Format, format_of, known_suffixes, read, stem, write

__all__ = [
    "FORMATS",
    "Format",
    "format_of",
    "from_itk",
    "from_nibabel",
    "from_sitk",
    "known_suffixes",
    "read",
    "read_transform",
    "stem",
    "to_itk",
    "to_nibabel",
    "to_sitk",
    "write",
]
