"""DICOM: series of single images and multi-frame objects as volumes, and an index of folders by headers alone."""

from medframe.io.dicom.header import read_header
from medframe.io.dicom.kinds import read, write
from medframe.io.dicom.lattice import Plane, stack
from medframe.io.dicom.organ_codes import Code
from medframe.io.dicom.regions import Region

__all__ = ["Code", "Plane", "Region", "read", "read_header", "stack", "write"]
