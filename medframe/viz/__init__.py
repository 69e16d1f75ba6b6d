"""Pictures and pages."""

from medframe.viz.page import Page
from medframe.viz.plots import bars, colour, curves, dots, overlay, reliability, to_png, to_svg

__all__ = ["Page", "bars", "colour", "curves", "dots", "overlay", "reliability", "to_png", "to_svg"]
