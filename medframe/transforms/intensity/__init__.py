"""Steps that change intensities and leave the lattice alone."""

from medframe.transforms.intensity.blur import GaussianBlur
from medframe.transforms.intensity.brightness import BrightnessContrast
from medframe.transforms.intensity.gamma import Gamma
from medframe.transforms.intensity.low_resolution import LowResolution
from medframe.transforms.intensity.noise import GaussianNoise
from medframe.transforms.intensity.normalize import Normalize
from medframe.transforms.intensity.rescale import RescaleIntensity

__all__ = [
    "BrightnessContrast",
    "Gamma",
    "GaussianBlur",
    "GaussianNoise",
    "LowResolution",
    "Normalize",
    "RescaleIntensity",
]
