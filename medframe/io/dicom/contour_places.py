"""Contours find the slices of a lattice that they lie on, or an error says which do not."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadGeometry, MedframeWarning, shown_path
from medframe.geometry import Space
from medframe.io.dicom.drawn_regions import Drawn

_FLAT = 0.1  # of the distance between slices: how far the points of one contour may lie from its plane
_SAME = 0.01  # of the distance between slices: contours closer than this lie in one plane
_BEYOND = 1.0  # voxels: contours of the body's surface pass the edge of the image by as much

# for each slice the polygons (N, 2) in index coordinates of its plane
Slices = dict[int, tuple[NDArray[np.float64], ...]]


@dataclass(frozen=True, eq=False)
class ContourPlaces:
    """From contours in the world to polygons on the slices of a lattice.

    Args:
        space: the lattice.
        tolerance: how far from a slice a contour may lie, in distances between slices.
        clip: cut off what lies beyond the lattice, instead of raising.
        path: the file, for messages.
        notes: gets what was passed over or cut off.
    """

    space: Space
    tolerance: float
    clip: bool
    path: Path
    notes: list[str]

    def place(self, regions: list[Drawn]) -> tuple[int, tuple[Slices, ...]]:
        """The axis across the contours' planes, and for each region its polygons by slice.

        Raises:
            BadGeometry: contours lie in other planes, between the slices, or beyond the lattice.
        """
        if self.space.ndim != 3:
            found = f"a reference of {self.space.ndim} axes"
            raise BadGeometry("contours lie in a volume", where=self.path, found=found, due="three axes")
        indexed = [[self.space.to_index(points) for points in region.contours] for region in regions]
        spreads = [np.ptp(points, axis=0) for contours in indexed for points in contours]
        spread = np.max(spreads, axis=0) if spreads else np.zeros(3)
        axis = int(np.argmin(spread)) if spreads else 2
        if spread[axis] > _FLAT:
            raise BadGeometry(
                "the contours do not lie in the planes of the lattice",
                where=self.path,
                found=f"a contour that passes through {spread[axis]:.2f} slices",
                due="contours parallel to two of the lattice's axes",
                mend="Give the series on which they were drawn as the reference, then call to_space.",
            )
        return axis, tuple(self._by_slice(*pair, axis) for pair in zip(regions, indexed, strict=True))

    def _by_slice(self, region: Drawn, contours: list[NDArray[np.float64]], axis: int) -> Slices:
        heights = np.array([points[:, axis].mean() for points in contours])
        slices = np.rint(heights).astype(np.int64)
        off = np.abs(heights - slices)
        self._check_near(region, off, self.space.spacing[axis])
        across = [k for k in range(3) if k != axis]
        planes = [points[:, across] for points in contours]
        inside = self._check_within(region, planes, slices, axis)
        found: dict[int, list[int]] = {}
        for number in np.flatnonzero(inside).tolist():
            found.setdefault(int(slices[number]), []).append(number)
        kept, dropped = {}, 0
        for at, numbers in found.items():
            # several planes fall to one slice where the lattice is coarser than the contours: the nearest one counts
            best = min(numbers, key=lambda n: off[n])
            same = [n for n in numbers if abs(heights[n] - heights[best]) <= _SAME]
            dropped += len(numbers) - len(same)
            kept[at] = tuple(planes[n] for n in same)
        if dropped:
            self.notes.append(f"{region.name}: {dropped} contours were passed over for others nearer to the slice")
        self._warn_of_gaps(region, sorted(kept))
        return kept

    def _check_near(self, region: Drawn, off: NDArray[np.float64], spacing: float) -> None:
        far = off > self.tolerance + 1e-9
        if far.any():
            raise BadGeometry(
                "contours lie between the slices of the lattice",
                where=self.path,
                found=f"{int(far.sum())} of {len(off)} contours of {region.name}, up to {off.max() * spacing:.3g} mm"
                " from the nearest slice",
                due=f"at most {self.tolerance:g} of the distance between slices, {spacing:.4g} mm",
                mend="Give the series they were drawn on as the reference, or tolerance=0.5 for the nearest slice.",
            )

    def _check_within(
        self, region: Drawn, planes: list[NDArray[np.float64]], slices: NDArray[np.int64], axis: int
    ) -> NDArray[np.bool_]:
        # which contours lie on a slice of the lattice
        size = np.array([n for k, n in enumerate(self.space.shape) if k != axis])
        inside = (slices >= 0) & (slices < self.space.shape[axis])
        wide = [bool((p.min(0) < -0.5 - _BEYOND).any() or (p.max(0) > size - 0.5 + _BEYOND).any()) for p in planes]
        beyond = int((~inside | np.array(wide, bool)).sum())
        if beyond and not self.clip:
            raise BadGeometry(
                "contours lie beyond the lattice",
                where=self.path,
                found=f"{beyond} of {len(planes)} contours of {region.name}",
                due=f"contours within {self.space}",
                mend="Give a reference that holds them all, or cut them off with clip=True.",
            )
        if beyond:
            self.notes.append(f"{region.name}: {beyond} contours reach beyond the lattice and were cut off")
        return inside

    def _warn_of_gaps(self, region: Drawn, slices: list[int]) -> None:
        # a region of several parts leaves slices out, too; that it leaves them out evenly tells a coarser drawing
        gaps = np.diff(slices)
        if len(gaps) > 1 and gaps.min() == gaps.max() > 1:
            text = f"{region.name}: only every {gaps[0]}. slice has a contour; the slices between stay empty"
            self.notes.append(text)
            warnings.warn(f"{shown_path(self.path)}: {text}", MedframeWarning, stacklevel=8)
