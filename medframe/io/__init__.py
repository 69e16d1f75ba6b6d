"""Files: images and label maps are read and written here, in whatever format their name says."""

from medframe.io.itk_transform import read_transform
from medframe.io.registry import FORMATS, Format, format_of, known_suffixes, read, stem, write

__all__ = ["FORMATS", "Format", "format_of", "known_suffixes", "read", "read_transform", "stem", "write"]
