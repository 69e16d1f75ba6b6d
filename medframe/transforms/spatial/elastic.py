"""Elastic: a smooth random deformation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from medframe.base.errors import BadArgument
from medframe.base.ranges import Range, check_range
from medframe.base.rng import Rng
from medframe.geometry import Displacement, Space, Warp, knot_lattice
from medframe.geometry.displacement import smallest_stretch
from medframe.transforms.base import Params, Spatial, View


@dataclass(frozen=True, repr=False)
class Elastic(Spatial):
    """Deform the tissue by cubic B-splines on coarse random knots (Rueckert et al., "Nonrigid registration using
    free-form deformations", IEEE Trans. Med. Imaging 1999, doi:10.1109/42.796284).

    A draw that would fold tissue over itself is shrunk until it does not. All members, points and boxes included, are
    deformed by the same field of the world; `to_space` undoes it.

    Args:
        mm: largest displacement of a knot along each world axis.
        knots: millimetres between knots: larger is smoother.
    """

    mm: Range = (0.0, 6.0)
    knots: float = 32.0

    def check(self) -> None:
        check_range("Elastic: mm", self.mm, 0, 1e3)
        if not self.knots > 0:
            raise BadArgument("Elastic: knots are a positive distance in mm", found=self.knots)

    @property
    def random(self) -> bool:
        return True

    def draw(self, view: View, rng: Rng) -> Displacement:
        space = view.space
        lattice = knot_lattice(space, np.full(space.ndim, self.knots))
        most = float(rng.fork("mm").uniform(self.mm))
        values = rng.fork("knots").uniform((-1.0, 1.0), (space.ndim, *lattice.shape)) * most
        field = torch.from_numpy(values.astype(np.float32))
        while smallest_stretch(field, lattice, 3) < 0.05:
            field = field * 0.8
        return Displacement(field, lattice)

    def warp(self, space: Space, params: Params) -> Warp:
        return Warp.through_world(space, params)

    def displacements(self, params: Params) -> tuple[Displacement, ...]:
        return (params,)
