"""What a metric is worth where a class is absent: a choice that moves means, so it is made by name.

==================  ==========================  =======================================
the class is in     scores (Dice, IoU, NSD)     distances (Hausdorff, ASD, ASSD)
==================  ==========================  =======================================
both                measured                    measured
one of them         0                           `one`: "inf", "nan" or "diagonal"
neither             `both`: "nan" or "perfect"  `both`: "nan" or "perfect"
==================  ==========================  =======================================

Amounts (voxels, volumes) are measured always. See Annika Reinke et al., "Understanding metric-related pitfalls in image
analysis validation", 2024, doi:10.1038/s41592-023-02150-0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medframe.base.errors import BadArgument


@dataclass(frozen=True)
class EmptyPolicy:
    """The values of metrics where a class has no voxel in the prediction, in the reference, or in both.

    Args:
        both: absent in both. "nan": undefined, left out of means and counted; "perfect": 1 for scores, 0 for distances.
        one: a distance where the class is absent in one only. "inf": the mean shows it; "nan": undefined, left out of
            means and counted, which hides a miss from the mean; "diagonal": the length in mm of the image's diagonal
            (voxels times spacing), which no measured distance reaches.
    """

    both: Literal["nan", "perfect"] = "nan"
    one: Literal["inf", "nan", "diagonal"] = "inf"

    def __post_init__(self) -> None:
        for field, found, due in (
            ("both", self.both, ("nan", "perfect")),
            ("one", self.one, ("inf", "nan", "diagonal")),
        ):
            if found not in due:
                raise BadArgument("unknown policy", where=field, found=repr(found), due=" or ".join(map(repr, due)))

    def absent_in_both(self, perfect: float) -> float:
        """The value of a metric whose perfect value is `perfect`."""
        return math.nan if self.both == "nan" else perfect

    def absent_in_one(self, perfect: float, shape: Sequence[int], spacing: Sequence[float]) -> float:
        """0 for a score (`perfect` 1), the policy's distance in mm otherwise."""
        if perfect > 0:
            return 0.0
        if self.one == "diagonal":
            return math.hypot(*(n * s for n, s in zip(shape, spacing, strict=True)))
        return math.inf if self.one == "inf" else math.nan
