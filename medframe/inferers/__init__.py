"""How a network is led over a whole volume: at once, or window by window."""

from medframe.inferers.inferer import Inferer, Network
from medframe.inferers.mirror import mirrored
from medframe.inferers.precision import Precision, autocast, check_precision
from medframe.inferers.sliding import SlidingWindow
from medframe.inferers.whole import WholeImage
from medframe.inferers.windows import importance, window_starts

__all__ = [
    "Inferer",
    "Network",
    "Precision",
    "SlidingWindow",
    "WholeImage",
    "autocast",
    "check_precision",
    "importance",
    "mirrored",
    "window_starts",
]
