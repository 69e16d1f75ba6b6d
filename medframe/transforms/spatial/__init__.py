"""Steps that move voxels."""

from medframe.transforms.spatial.affine import Affine, Flip, Rotate, Rotate90, Scale
from medframe.transforms.spatial.crop import (
    CenterCrop,
    Crop,
    CropByLabel,
    CropForeground,
    IndexClasses,
    Pad,
    PadTo,
    RandomCrop,
    Settle,
)
from medframe.transforms.spatial.elastic import Elastic
from medframe.transforms.spatial.lattice import MatchSpace, Orientation, Resize, Spacing

__all__ = [
    "Affine",
    "CenterCrop",
    "Crop",
    "CropByLabel",
    "CropForeground",
    "Elastic",
    "Flip",
    "IndexClasses",
    "MatchSpace",
    "Orientation",
    "Pad",
    "PadTo",
    "RandomCrop",
    "Resize",
    "Rotate",
    "Rotate90",
    "Scale",
    "Settle",
    "Spacing",
]
