"""medframe: medical imaging deep learning whose geometry is never silently wrong.

Sub-packages load when they are first asked for, so `import medframe` costs next to nothing beyond torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medframe.image import Boxes, Image, LabelMap, Points
    from medframe.io import read, write
    from medframe.plan.convert import convert
    from medframe.plan.doctor.check import check
    from medframe.plan.evaluate import evaluate
    from medframe.plan.fit import fit
    from medframe.plan.predict import predict

__version__ = "0.1.0"

_FROM = {
    "Boxes": "image",
    "Image": "image",
    "LabelMap": "image",
    "Points": "image",
    "check": "plan",
    "convert": "plan",
    "evaluate": "plan",
    "fit": "plan",
    "predict": "plan",
    "read": "io",
    "write": "io",
}
_PACKAGES = (
    "base",
    "data",
    "engines",
    "geometry",
    "handlers",
    "image",
    "inferers",
    "io",
    "kernels",
    "losses",
    "metrics",
    "networks",
    "optimisers",
    "plan",
    "transforms",
    "viz",
)

__all__ = ["Boxes", "Image", "LabelMap", "Points", "check", "convert", "evaluate", "fit", "predict", "read", "write"]


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(f"medframe.{_FROM[name]}"), name)
    if name in _PACKAGES:
        return importlib.import_module(f"medframe.{name}")
    raise AttributeError(f"module 'medframe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_PACKAGES, "__version__"])
