"""DICOM: series of single images and multi-frame objects as volumes, and an index of folders by headers alone."""

from medframe.io.dicom.header import read_header
from medframe.io.dicom.indexing import Index, Series, index
from medframe.io.dicom.lattice import Plane, stack
from medframe.io.dicom.series import read

__all__ = ["Index", "Plane", "Series", "index", "read", "read_header", "stack"]
