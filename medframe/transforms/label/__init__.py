"""Steps that change labels, or make labels of probabilities."""

from medframe.transforms.label.argmax import Argmax
from medframe.transforms.label.keep_largest import KeepLargest
from medframe.transforms.label.one_hot import OneHot
from medframe.transforms.label.remap import Remap

__all__ = ["Argmax", "KeepLargest", "OneHot", "Remap"]
