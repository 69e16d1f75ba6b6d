"""Pictures and pages."""

from medframe.viz.page import Page
from medframe.viz.plots import colour, curves, dots, overlay, to_png, to_svg

__all__ = ["Page", "colour", "curves", "dots", "overlay", "to_png", "to_svg"]
