"""DICOM: series and multi-frame objects as volumes, segmentations and structure sets as label maps, folders indexed."""

from medframe.io.dicom.header import read_header
from medframe.io.dicom.indexing import Index, Series, index
from medframe.io.dicom.kinds import read, write
from medframe.io.dicom.lattice import Plane, stack
from medframe.io.dicom.organ_codes import Code
from medframe.io.dicom.regions import Region

__all__ = ["Code", "Index", "Plane", "Region", "Series", "index", "read", "read_header", "stack", "write"]
