"""Where voxels are: lattices, warps, and the one door through which voxels are read at new places."""

from medframe.geometry.displacement import Displacement, knot_lattice
from medframe.geometry.resample import CUBIC, LINEAR, NEAREST, Interpolation, Source, resample
from medframe.geometry.space import Space
from medframe.geometry.vote import vote
from medframe.geometry.warp import Warp, about, homogeneous, rotation

__all__ = [
    "CUBIC",
    "LINEAR",
    "NEAREST",
    "Displacement",
    "Interpolation",
    "Source",
    "Space",
    "Warp",
    "about",
    "homogeneous",
    "knot_lattice",
    "resample",
    "rotation",
    "vote",
]
