"""What every layer stands on: errors, chance, files, sizes, hashes, optional packages."""

from medframe.base.errors import (
    BadArgument,
    BadConfig,
    BadDataset,
    BadFile,
    BadGeometry,
    BadLabel,
    BadVoxels,
    Incompatible,
    MedframeError,
    MedframeWarning,
    MissingPackage,
    NotFinite,
    TooLarge,
    WriteFailed,
)
from medframe.base.ranges import Distribution, LogUniform, Normal, OneOfValues, Range
from medframe.base.rng import Rng

__all__ = [
    "BadArgument",
    "BadConfig",
    "BadDataset",
    "BadFile",
    "BadGeometry",
    "BadLabel",
    "BadVoxels",
    "Distribution",
    "Incompatible",
    "LogUniform",
    "MedframeError",
    "MedframeWarning",
    "MissingPackage",
    "Normal",
    "NotFinite",
    "OneOfValues",
    "Range",
    "Rng",
    "TooLarge",
    "WriteFailed",
]
