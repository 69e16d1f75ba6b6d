"""ITK's transform files (.tfm, .txt, .mat): linear transforms, as a matrix of the RAS+ world.

Source of the formats: ITK Software Guide, "Transforms"; parameters as in the classes' documentation, docs.itk.org.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadFile, BadGeometry
from medframe.geometry.space import check_affine
from medframe.geometry.warp import homogeneous
from medframe.io.kinds import looks_like
from medframe.io.text_header import bad, head_of, reals

Array = NDArray[np.float64]

_LIMIT = 1 << 20
_MATRIX = ("AffineTransform", "MatrixOffsetTransformBase")
_MEND = "Write it as an affine transform, or resample the image with the program that made it."


def read_transform(path: str | os.PathLike[str]) -> Array:
    """Read a linear ITK transform as a homogeneous matrix of world millimetres, RAS+.

    ITK's transforms carry a place of the fixed image to its place in the moving image, as `Warp.through_world` takes
    it. Read: affine, matrix-offset, Euler, versor, similarity, translation, scale and identity transforms of two or
    three axes, and composites of these, whose last part acts first.

    Args:
        path: a text file (.tfm, .txt) or a MATLAB-4 file (.mat).

    Returns:
        (4, 4), or (3, 3) for two axes.

    Raises:
        BadFile: damaged, or a transform that is not linear.
        BadGeometry: the matrix is not finite or singular.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith((".h5", ".hdf5")):
        raise BadFile(
            "transforms in HDF5 files are not read",
            where=path,
            found=path.suffix,
            due=".tfm, .txt or .mat",
            mend='Write it as text: SimpleITK.WriteTransform(transform, "x.tfm").',
        )
    parts = _binary(path) if name.endswith(".mat") else _text(path)
    matrix = None
    for kind, parameters, fixed in parts:
        one = _matrix(kind, parameters, fixed, path)
        if matrix is not None and matrix.shape != one.shape:
            raise bad(path, "Transform", "parts of two and of three axes", "one number of axes")
        matrix = one if matrix is None else matrix @ one
    if matrix is None:
        raise bad(path, "Transform", "none", "at least one")
    mirror = np.diag([-1.0, -1.0, *[1.0] * (len(matrix) - 2)])
    out: Array = mirror @ matrix @ mirror
    try:
        check_affine(out)
    except BadGeometry as error:
        raise BadGeometry(
            error.what, where=path, found=error.found, due="an invertible transform", mend=_MEND
        ) from None
    return out


def _text(path: Path) -> list[tuple[str, Array, Array]]:
    head = head_of(path, _LIMIT + 1)
    if not head.startswith(b"#Insight Transform File V1.0") or len(head) > _LIMIT:
        raise BadFile(
            "this is not a text file of an ITK transform",
            where=path,
            found=looks_like(head) if len(head) <= _LIMIT else f"more than {_LIMIT} bytes",
            due='"#Insight Transform File V1.0"',
            mend="Copy the file again, or write it with SimpleITK.WriteTransform.",
        )
    parts: list[tuple[str, Array, Array]] = []
    fields: dict[str, str] = {}
    lines = [*head.decode("utf-8", "replace").splitlines()[1:], "Transform: "]
    for line in lines:
        key, _, value = (piece.strip() for piece in line.partition(":"))
        if key == "Transform" and fields:
            kind = fields["Transform"]
            if not kind.startswith("CompositeTransform"):
                numbers = [
                    reals(fields.get(name, ""), len(fields.get(name, "").split()), path, name)
                    for name in ("Parameters", "FixedParameters")
                ]
                parts.append((kind, numbers[0], numbers[1]))
            fields = {}
        if key in ("Transform", "Parameters", "FixedParameters"):
            if key != "Transform" and "Transform" not in fields:
                raise bad(path, key, "before any transform", "the line Transform first")
            fields[key] = value
    return parts


def _binary(path: Path) -> list[tuple[str, Array, Array]]:
    # MATLAB 4: for each array five numbers (type, rows, columns, imaginary, length of the name), the name, the values
    raw = head_of(path, _LIMIT)
    arrays: list[tuple[str, Array]] = []
    place = 0
    while place < len(raw) and len(arrays) < 100:
        lead = raw[place : place + 20]
        if len(lead) < 20:
            raise bad(path, "header", f"{len(lead)} bytes", "20 bytes", "the file is cut short")
        code, rows, columns, imaginary, length = struct.unpack("<5i", lead)
        width = {0: 8, 10: 4}.get(code)
        if width is None or imaginary or not (0 <= rows <= 4096 and 0 <= columns <= 64 and 1 <= length <= 256):
            raise bad(path, "header", f"type {code}, {rows} x {columns}", "a matrix of little-endian floats")
        place += 20
        name = raw[place : place + length].rstrip(b"\0").decode("latin-1")
        place += length
        values = raw[place : place + rows * columns * width]
        if len(values) < rows * columns * width:
            raise bad(path, name, f"{len(values)} bytes", f"{rows * columns * width} bytes", "the file is cut short")
        place += rows * columns * width
        arrays.append((name, np.frombuffer(values, f"<f{width}").astype(np.float64)))
    if len(arrays) % 2 or any(name != "fixed" for name, _ in arrays[1::2]):
        raise bad(path, "arrays", f"{len(arrays)} arrays", "a transform and its fixed parameters")
    return [(name, values, fixed) for (name, values), (_, fixed) in zip(arrays[::2], arrays[1::2], strict=True)]


def _matrix(kind: str, p: Array, fixed: Array, path: Path) -> Array:
    name, _, rest = kind.partition("_")
    words = rest.split("_")
    dimensions = words[-1] if words else ""
    d = int(dimensions) if dimensions in ("2", "3") else 0
    own = 3 if "3D" in name or name == "VersorTransform" else 2 if "2D" in name else d
    if d != own:
        raise bad(path, "Transform", f"{name} of {d} axes", f"{own} axes")

    def due(parameters: int, centre: int = d) -> Array:
        if len(p) != parameters or len(fixed) < centre or not d:
            raise bad(path, kind[:60], f"{len(p)} parameters, {len(fixed)} fixed", f"{parameters} and {centre}")
        if not (np.isfinite(p).all() and np.isfinite(fixed).all()):
            raise BadGeometry("the transform holds NaN or infinity", where=path, found=kind, due="numbers", mend=_MEND)
        return fixed[:centre]

    if name == "IdentityTransform" and d:
        return np.eye(d + 1)
    if name == "TranslationTransform":
        due(d, 0)
        return homogeneous(np.eye(d), p)
    if name in _MATRIX:
        centre = due(d * d + d)
        return _about(p[: d * d].reshape(d, d), p[d * d :], centre)
    if name == "ScaleTransform":
        return _about(np.diag(p), np.zeros(d), due(d))
    if name in ("Euler2DTransform", "Rigid2DTransform"):
        centre = due(3)
        return _about(_turn(p[0]), p[1:], centre)
    if name == "Similarity2DTransform":
        centre = due(4)
        return _about(p[0] * _turn(p[1]), p[2:], centre)
    if name == "Euler3DTransform":
        centre = due(6)
        x, y, z = (_axis(k, p[k]) for k in range(3))
        zyx = len(fixed) > 3 and fixed[3] != 0
        return _about(z @ y @ x if zyx else z @ x @ y, p[3:], centre)
    if name == "VersorRigid3DTransform":
        centre = due(6)
        return _about(_versor(p[:3], path), p[3:], centre)
    if name == "VersorTransform":
        return _about(_versor(p, path), np.zeros(3), due(3))
    if name == "Similarity3DTransform":
        centre = due(7)
        return _about(p[6] * _versor(p[:3], path), p[3:6], centre)
    raise BadFile(
        "the transform is not linear, or of a kind that is not read",
        where=path,
        found=kind[:80] or "no transform",
        due="affine, matrix-offset, Euler, versor, similarity, translation, scale or identity",
        mend=_MEND,
    )


def _about(linear: Array, shift: Array, centre: Array) -> Array:
    return homogeneous(linear, centre + shift - linear @ centre)


def _turn(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def _axis(axis: int, angle: float) -> Array:
    out = np.eye(3)
    keep = [k for k in range(3) if k != axis]
    turn = _turn(angle) if axis != 1 else _turn(-angle)
    out[np.ix_(keep, keep)] = turn
    return out


def _versor(v: Array, path: Path) -> Array:
    square = float(v @ v)
    if square > 1 + 1e-9:
        raise BadGeometry(
            "the versor is no rotation", where=path, found=v.tolist(), due="a length of at most 1", mend=_MEND
        )
    x, y, z = v
    w = np.sqrt(max(0.0, 1 - square))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
