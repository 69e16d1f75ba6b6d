"""Which anatomical direction each lattice axis follows. World axes are RAS+: right, anterior, superior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadGeometry

_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


def axes_of(affine: NDArray[np.float64]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """For each lattice axis, the world axis it follows best and its sign.

    The affine's linear part is replaced by the nearest rotation or reflection first (polar decomposition), so that
    anisotropic voxels do not tip the scale; then the axis that is aligned best chooses first, as in nibabel.
    """
    d = affine.shape[0] - 1
    linear = affine[:d, :d] / np.linalg.norm(affine[:d, :d], axis=0)
    u, _, vt = np.linalg.svd(linear)
    cosines = u @ vt
    # rounding keeps ties (an axis at 45 degrees) from being settled by noise; the first axis wins then
    strength = np.round(np.abs(cosines), 9)
    best = [0] * d
    for k in np.argsort(-strength.max(0), kind="stable"):
        best[k] = int(strength[:, k].argmax())
        strength[best[k]] = -1
    return tuple(best), tuple(1 if cosines[best[k], k] >= 0 else -1 for k in range(d))


def axcodes(affine: NDArray[np.float64]) -> str:
    """The lattice axes' directions as letters: "RAS" means that indices grow to the right, front and top."""
    world, signs = axes_of(affine)
    return "".join(_LETTERS[w][s > 0] for w, s in zip(world, signs, strict=True))


def parse_axcodes(codes: str, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """World axis and sign for each letter.

    Raises:
        BadGeometry: not one letter of each pair L/R, A/P, I/S.
    """
    found = [
        (axis, 1 if pair.index(c) else -1) for c in codes.upper() for axis, pair in enumerate(_LETTERS) if c in pair
    ]
    if len(codes) != ndim or sorted(axis for axis, _ in found) != list(range(ndim)):
        due = "one letter each of " + ", ".join("/".join(p) for p in _LETTERS[:ndim])
        raise BadGeometry("not an orientation", found=repr(codes), due=due)
    return tuple(axis for axis, _ in found), tuple(sign for _, sign in found)


def named_axes(names: str, affine: NDArray[np.float64]) -> tuple[int, ...]:
    """The lattice axes that follow the named directions: "L" or "R" both name the left-right axis.

    Raises:
        BadGeometry: a letter is no direction of this space.
    """
    world, _ = axes_of(affine)
    axes = []
    for name in names.upper():
        hit = [k for k, pair in enumerate(_LETTERS[: len(world)]) if name in pair]
        if not hit:
            raise BadGeometry("not an anatomical direction", found=repr(name), due="a letter of LRAPIS")
        axes.append(world.index(hit[0]))
    return tuple(axes)
