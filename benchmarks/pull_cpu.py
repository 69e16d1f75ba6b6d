"""Resampling one 256 x 256 x 160 volume on the CPU: medframe's native kernel and reference, torch, SciPy, SimpleITK.

Every candidate makes the same values (checked inside the volume before anything is timed) from a tensor in memory and
allocates its own output. grid_sample builds its grid each time, as each new rotation needs one. The reference is timed
once: it is there to be right. SciPy uses one thread, whatever is asked for. Peers that are not installed are left out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from measure import alternate, options, record, versions
from torch.nn import functional

from medframe.kernels import Knots, native, pull, reference

SHAPE = (256, 256, 160)
TARGET_MS = {  # on two threads
    "aligned linear": 10,
    "rotation linear": 30,
    "rotation nearest uint8": 10,
    "affine and knots": 90,
}


@dataclass(frozen=True)
class Case:
    """A volume, the stages it is read through, and what else reads it so."""

    volume: torch.Tensor
    stages: list
    order: int = 1
    peers: tuple[str, ...] = ("grid_sample", "SciPy", "SimpleITK")

    @property
    def matrix(self) -> np.ndarray:
        return self.stages[0]


def centred(linear: np.ndarray, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = (np.array(shape) - 1) / 2 - linear @ ((np.array(SHAPE) - 1) / 2)
    return matrix


def rotation(*angles: float) -> np.ndarray:
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        c, s = np.cos(angle), np.sin(angle)
        plane = [a for a in range(3) if a != axis]
        step = np.eye(3)
        step[np.ix_(plane, plane)] = [[c, -s], [s, c]]
        turned = step @ turned
    return turned


def knots() -> Knots:
    """About 32 voxels apart with one ring around, up to some voxels of displacement."""
    sizes = (11, 11, 8)
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([(k - 3) / (n - 1) for k, n in zip(sizes, SHAPE, strict=True)])
    matrix[:3, 3] = 1
    values = torch.randn((3, *sizes), generator=torch.Generator().manual_seed(1)) * 3
    return Knots(values, matrix, 3)


def cases() -> dict[str, Case]:
    generator = torch.Generator().manual_seed(0)
    volume = functional.avg_pool3d(torch.randn((1, *SHAPE), generator=generator), 5, 1, 2) * 1000
    labels = (volume.abs() / 20).clamp(0, 9).to(torch.uint8)
    turned, identity = centred(rotation(0.2, 0.15, 0.3)), np.eye(4)
    half = tuple(n // 2 for n in SHAPE)
    zoom = np.diag([(a - 1) / (b - 1) for a, b in zip(half, SHAPE, strict=True)] + [1])
    scaled = centred(np.diag([0.9, 1.1, 0.95]))
    swapped = np.eye(3)[[2, 1, 0]] @ np.diag([0.6, 1.1, 1.5])
    small = volume[:, : half[0], : half[1], : half[2]].contiguous()
    none: tuple[str, ...] = ()
    return {
        "aligned linear": Case(volume, [scaled]),
        "aligned linear int16": Case(volume.to(torch.int16), [scaled], peers=("SciPy", "SimpleITK")),
        "swapped axes linear": Case(volume, [centred(swapped)]),
        "twice as fine linear": Case(small, [zoom], peers=("interpolate", "SciPy", "SimpleITK")),
        "rotation linear": Case(volume, [turned]),
        "rotation linear int16": Case(volume.to(torch.int16), [turned], peers=("SciPy", "SimpleITK")),
        "rotation nearest uint8": Case(labels, [turned], 0, peers=("SciPy", "SimpleITK")),
        "rotation cubic": Case(volume, [turned], 3, peers=("SciPy", "SimpleITK")),
        "affine and knots": Case(volume, [identity, knots(), turned], peers=("SimpleITK",)),
        "turned knots": Case(volume, [turned, knots(), identity], peers=("SimpleITK",)),
        "knots nearest uint8": Case(labels, [identity, knots(), turned], 0, peers=none),
    }


def with_grid_sample(case: Case, threads: int) -> Callable[[], object]:
    # from output voxels to input voxels, but both counted from -1 to 1, and x first
    ends = [np.array(s, float) - 1 for s in (SHAPE, case.volume.shape[1:])]
    linear = case.matrix[:3, :3] * ends[0] / ends[1][:, None]
    offset = (2 * case.matrix[:3, 3] + case.matrix[:3, :3] @ ends[0]) / ends[1] - 1
    theta = torch.from_numpy(np.column_stack([linear[::-1, ::-1], offset[::-1]]).copy()).float()[None]

    def run() -> object:
        grid = functional.affine_grid(theta, [1, 1, *SHAPE], align_corners=True)
        return functional.grid_sample(case.volume[None], grid, align_corners=True)[0, 0]

    return run


def with_interpolate(case: Case, threads: int) -> Callable[[], object]:
    volume = case.volume[None]
    return lambda: functional.interpolate(volume, size=SHAPE, mode="trilinear", align_corners=True)[0, 0]


def with_scipy(case: Case, threads: int) -> Callable[[], object]:
    from scipy import ndimage

    volume, matrix = case.volume[0].numpy(), case.matrix
    scales = np.diag(matrix)[:3]
    separable = np.array_equal(np.diag(scales), matrix[:3, :3])  # SciPy is quicker when it is told so
    return lambda: ndimage.affine_transform(
        volume, scales if separable else matrix[:3, :3], matrix[:3, 3], SHAPE, order=case.order, mode="grid-constant"
    )


def with_simpleitk(case: Case, threads: int) -> Callable[[], object]:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    image = sitk.GetImageFromArray(case.volume[0].numpy())
    transforms = []
    for stage in case.stages:
        if isinstance(stage, Knots):
            sizes = np.array(stage.values.shape[1:])
            field = sitk.BSplineTransform(3, 3)
            cells = (sizes - 3)[::-1]
            field.SetTransformDomainOrigin([0.0, 0.0, 0.0])
            field.SetTransformDomainPhysicalDimensions([float(n - 1) for n in SHAPE[::-1]])
            field.SetTransformDomainMeshSize([int(n) for n in cells])
            field.SetParameters(stage.values.numpy()[::-1].astype(float).ravel().tolist())
            transforms.append(field)
        else:
            affine = sitk.AffineTransform(3)
            affine.SetMatrix(stage[:3, :3][::-1, ::-1].ravel().tolist())
            affine.SetTranslation(stage[:3, 3][::-1].tolist())
            transforms.append(affine)
    whole = sitk.CompositeTransform(transforms[::-1])  # the last one added is applied first
    how = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}[case.order]
    grid = ([int(n) for n in SHAPE[::-1]], whole, how, [0.0] * 3, [1.0] * 3, np.eye(3).ravel().tolist(), 0.0)
    return lambda: sitk.Resample(image, *grid)


PEERS = {
    "grid_sample": with_grid_sample,
    "interpolate": with_interpolate,
    "SciPy": with_scipy,
    "SimpleITK": with_simpleitk,
}


def agrees(case: Case, found: object, due: torch.Tensor) -> bool:
    """Whether two results are alike well inside, where no rule about edges shows; integers may be rounded apart."""
    if type(found).__module__.startswith("SimpleITK"):
        import SimpleITK as sitk

        found = sitk.GetArrayFromImage(found)
    inside = tuple(slice(n // 3, n - n // 3) for n in SHAPE)
    off = np.abs(np.asarray(found)[inside].astype(float) - due.numpy()[inside])
    return bool(np.mean(off > (0.5 if case.volume.is_floating_point() else 1.0 if case.order else 0.0)) < 1e-3)


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--only", default="", help="cases whose names hold this")
    parser.add_argument("--no-reference", action="store_true", help="leave the slow reference out")
    arguments = parser.parse_args()
    if native.core() is None:
        raise SystemExit("medframe._core was not built")
    torch.set_num_threads(arguments.threads)
    result: dict[str, object] = {}
    for name, case in cases().items():
        if arguments.only not in name:
            continue
        how = {"order": case.order, "border": "zero", "fill": 0.0, "dtype": case.volume.dtype}
        ways: dict[str, Callable[[], object]] = {"native": lambda c=case, h=how: pull(c.volume, c.stages, SHAPE, **h)}
        due = native.pull(case.volume, case.stages, SHAPE, **how)[0]
        for peer in case.peers:
            try:
                run = PEERS[peer](case, arguments.threads)
            except ImportError:
                continue
            if not agrees(case, run(), due):
                raise SystemExit(f"{name}: {peer} computes something else")
            ways[peer] = run
        seconds = alternate(ways, max(arguments.repeats, 5))
        if not arguments.no_reference:
            start = time.perf_counter()
            expected = reference.pull(case.volume, case.stages, SHAPE, **how)[0]
            seconds["reference"] = time.perf_counter() - start
            if not agrees(case, expected, due):
                raise SystemExit(f"{name}: native differs from the reference")
        target = f"   target {TARGET_MS[name]} ms on two threads" if name in TARGET_MS else ""
        print(f"\n{name}, {arguments.threads} thread(s){target}")
        for way, value in seconds.items():
            print(f"  {way:12} {1000 * value:9.1f} ms   {value / seconds['native']:7.1f} x native", flush=True)
        result[name] = {
            way: {"ms": round(1000 * v, 2), "ratio": round(v / seconds["native"], 2)} for way, v in seconds.items()
        }
    quicker = [v["ratio"] for ways in result.values() for way, v in ways.items() if way not in ("native", "reference")]  # type: ignore[attr-defined]
    if quicker:
        print(f"\nmedian over all peers and cases: {statistics.median(quicker):.1f} x native's time")
    if arguments.record:
        about = {"threads": arguments.threads, "repeats": max(arguments.repeats, 5), "shape": SHAPE, "cases": result}
        record("pull_cpu", about | {"versions": versions("torch", "numpy", "scipy", "SimpleITK")})


if __name__ == "__main__":
    main()
