"""The kernels beside what the same work takes elsewhere, in one run.

The others are MONAI, TorchIO, batchgeneratorsv2, torch, SciPy, SimpleITK, edt and cc3d.

Resampling goes from and to float32 volumes of 256 x 256 x 160 (labels: uint8); regions are of 192^3. Every candidate
is called as its users call it, makes its own output, and its result is dropped before the next call: our outputs then
live in memory that was used before, as in a training loop. Ratios are theirs over ours. The floor is `copy`, the
output's bytes copied once into memory that is there, and `copy, fresh`, into memory that `torch.empty` gives. Peers
that are not installed are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from measure import alternate, options, record, versions
from scipy import ndimage
from torch.nn import functional

from medframe.kernels import (
    Knots,
    components,
    distance_transform,
    gaussian,
    joint_counts,
    median,
    native,
    normal_noise,
    pull,
)

SHAPE = (256, 256, 160)
THICK = (256, 256, 54)  # 3 mm slices of the same field of view
ANGLES, ZOOM = (0.2, 0.15, 0.3), (0.9, 1.1, 0.95)
TARGETS = {  # case -> peer -> least ratio
    "spacing, linear": {"MONAI": 50, "torch interpolate": 5},
    "spacing, nearest labels": {"MONAI": 50},
    "spacing, cubic B-spline": {"MONAI": 100},
    "rotation and scale, linear": {"MONAI": 20, "grid_sample": 8},
    "affine and elastic": {"MONAI": 30},
    "distance transform": {"scipy": 12, "SimpleITK": 3},
    "components, 26 neighbours": {"scipy": 3},
    "joint counts": {"MONAI": 50},
}
Ways = dict[str, Callable[[], object]]


def monai() -> object | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import monai.transforms
        except ImportError:
            return None
    return monai


def turned(shape: tuple[int, ...]) -> np.ndarray:
    """Rotation and scale about the centre, from an output of `shape` into the volume."""
    linear = np.eye(3)
    for axis, angle in enumerate(ANGLES):
        c, s = np.cos(angle), np.sin(angle)
        one, other = (a for a in range(3) if a != axis)
        step = np.eye(3)
        step[one, one], step[one, other], step[other, one], step[other, other] = c, -s, s, c
        linear = step @ linear
    linear = linear @ np.diag(ZOOM)
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = (np.array(SHAPE) - 1) / 2 - linear @ ((np.array(shape) - 1) / 2)
    return matrix


def with_grid_sample(volume: torch.Tensor, matrix: np.ndarray, mode: str) -> Callable[[], object]:
    ends = np.array(SHAPE, float) - 1
    linear = matrix[:3, :3] * ends / ends[:, None]
    offset = (2 * matrix[:3, 3] + matrix[:3, :3] @ ends) / ends - 1
    theta = torch.from_numpy(np.column_stack([linear[::-1, ::-1], offset[::-1]]).copy()).float()[None]

    def run() -> object:
        grid = functional.affine_grid(theta, [1, 1, *SHAPE], align_corners=True)
        return functional.grid_sample(volume[None].float(), grid, mode=mode, align_corners=True)

    return run


def resampling() -> dict[str, tuple[Ways, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    volume = functional.avg_pool3d(torch.randn((1, *SHAPE), generator=generator), 5, 1, 2) * 1000
    labels = (volume.abs() / 20).clamp(0, 9).to(torch.uint8)
    thick, thick_labels = (v[..., 1::3][..., :54].contiguous() for v in (volume, labels))
    thin = np.diag([1.0, 1.0, 1 / 3, 1.0])
    matrix, patch = turned(SHAPE), turned((128, 128, 128))
    knots = Knots(torch.randn((3, 11, 11, 8), generator=generator) * 3, np.diag([8 / 255, 8 / 255, 5 / 159, 1]), 3)
    knots.matrix[:3, 3] = 1
    bent = [np.eye(4), knots, matrix]
    nearest = {"order": 0}
    cases: dict[str, tuple[Ways, torch.Tensor]] = {
        "spacing, linear": (
            {
                "medframe": lambda: pull(thick, [thin], SHAPE, border="border"),
                "torch interpolate": lambda: functional.interpolate(thick[None], size=SHAPE, mode="trilinear"),
            },
            volume,
        ),
        "spacing, nearest labels": (
            {
                "medframe": lambda: pull(thick_labels, [thin], SHAPE, border="border", **nearest),
                "torch interpolate": lambda: functional.interpolate(thick_labels[None], size=SHAPE, mode="nearest"),
            },
            labels,
        ),
        "spacing, cubic B-spline": (
            {"medframe": lambda: pull(thick, [thin], SHAPE, border="reflect", order=3)},
            volume,
        ),
        "rotation and scale, linear": (
            {
                "medframe": lambda: pull(volume, [matrix], SHAPE),
                "grid_sample": with_grid_sample(volume, matrix, "bilinear"),
            },
            volume,
        ),
        "rotation, nearest labels": (
            {
                "medframe": lambda: pull(labels, [matrix], SHAPE, **nearest),
                "grid_sample": with_grid_sample(labels, matrix, "nearest"),
            },
            labels,
        ),
        "affine and elastic": ({"medframe": lambda: pull(volume, bent, SHAPE)}, volume),
        "affine to a 128^3 patch, image and label": (
            {
                "medframe": lambda: (
                    pull(volume, [patch], (128, 128, 128)),
                    pull(labels, [patch], (128, 128, 128), **nearest),
                )
            },
            volume[:, :128, :128, :128],
        ),
    }
    add_scipy(cases, volume, labels, thick, matrix)
    add_simpleitk(cases, volume, labels, thick, matrix)
    add_monai(cases, volume, labels, thick, thick_labels)
    add_torchio(cases, volume, labels, thick, thick_labels)
    add_batchgenerators(cases, volume, labels)
    return cases


def add_scipy(cases: dict[str, tuple[Ways, torch.Tensor]], *given: object) -> None:
    volume, labels, thick, matrix = given
    arrays = [v[0].numpy() for v in (volume, labels, thick)]  # type: ignore[index]

    def run(array: np.ndarray, map_: np.ndarray, order: int, mode: str) -> object:
        return ndimage.affine_transform(array, map_, output_shape=SHAPE, order=order, mode=mode)

    thin = np.diag([1.0, 1.0, 1 / 3, 1.0])
    cases["spacing, linear"][0]["scipy"] = partial(run, arrays[2], thin, 1, "nearest")
    cases["spacing, cubic B-spline"][0]["scipy"] = partial(run, arrays[2], thin, 3, "mirror")
    cases["rotation and scale, linear"][0]["scipy"] = partial(run, arrays[0], matrix, 1, "grid-constant")  # type: ignore[arg-type]
    cases["rotation, nearest labels"][0]["scipy"] = partial(run, arrays[1], matrix, 0, "constant")  # type: ignore[arg-type]


def add_simpleitk(cases: dict[str, tuple[Ways, torch.Tensor]], *given: object) -> None:
    try:
        import SimpleITK as sitk
    except ImportError:
        return
    volume, labels, thick, matrix = given
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(matrix[:3, :3][::-1, ::-1].ravel().tolist())  # type: ignore[index]
    affine.SetTranslation(matrix[:3, 3][::-1].tolist())  # type: ignore[index]
    size = [int(n) for n in SHAPE[::-1]]
    images = [sitk.GetImageFromArray(v[0].numpy()) for v in (volume, labels, thick)]  # type: ignore[index]
    images[2].SetSpacing([3.0, 1.0, 1.0])

    def run(image: object, how: int, transform: object) -> object:
        return sitk.Resample(image, size, transform, how, [0.0] * 3, [1.0] * 3, np.eye(3).ravel().tolist(), 0.0)

    same = sitk.Transform(3, sitk.sitkIdentity)
    cases["spacing, linear"][0]["SimpleITK"] = partial(run, images[2], sitk.sitkLinear, same)
    cases["spacing, cubic B-spline"][0]["SimpleITK"] = partial(run, images[2], sitk.sitkBSpline, same)
    cases["rotation and scale, linear"][0]["SimpleITK"] = partial(run, images[0], sitk.sitkLinear, affine)
    cases["rotation, nearest labels"][0]["SimpleITK"] = partial(run, images[1], sitk.sitkNearestNeighbor, affine)


def add_monai(cases: dict[str, tuple[Ways, torch.Tensor]], *given: torch.Tensor) -> None:
    peer = monai()
    if peer is None:
        return
    t = peer.transforms  # type: ignore[attr-defined]
    from monai.data import MetaTensor

    volume, labels, thick, thick_labels = given
    image, label = (MetaTensor(v, affine=torch.eye(4)) for v in (volume, labels))
    thin = torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0]))
    slabs = [MetaTensor(v, affine=thin) for v in (thick, thick_labels)]
    spacing = partial(t.Spacing, pixdim=(1.0, 1.0, 1.0), padding_mode="border")
    linear, nearest, cubic = spacing(mode="bilinear"), spacing(mode="nearest"), spacing(mode=3)
    cases["spacing, linear"][0]["MONAI"] = lambda: linear(slabs[0])
    cases["spacing, nearest labels"][0]["MONAI"] = lambda: nearest(slabs[1])
    cases["spacing, cubic B-spline"][0]["MONAI"] = lambda: cubic(slabs[0])
    turn = partial(t.Affine, rotate_params=ANGLES, scale_params=ZOOM, padding_mode="zeros", image_only=True)
    smooth, crisp = turn(mode="bilinear"), turn(mode="nearest")
    cases["rotation and scale, linear"][0]["MONAI"] = lambda: smooth(image)
    cases["rotation, nearest labels"][0]["MONAI"] = lambda: crisp(label)
    angles, zooms = [(a, a) for a in ANGLES], [(z - 1, z - 1) for z in ZOOM]
    bend = t.Rand3DElastic((8, 8), (50, 50), prob=1.0, rotate_range=angles, scale_range=zooms, padding_mode="zeros")
    cases["affine and elastic"][0]["MONAI"] = lambda: bend(image)
    crop = t.RandAffined(
        ["image", "label"],
        prob=1.0,
        spatial_size=(128, 128, 128),
        rotate_range=angles,
        scale_range=zooms,
        mode=["bilinear", "nearest"],
        padding_mode="zeros",
    )
    cases["affine to a 128^3 patch, image and label"][0]["MONAI"] = lambda: crop({"image": image, "label": label})


def add_torchio(cases: dict[str, tuple[Ways, torch.Tensor]], *given: torch.Tensor) -> None:
    try:
        import torchio as tio
    except ImportError:
        return
    volume, labels, thick, thick_labels = given
    slabs = np.diag([1.0, 1.0, 3.0, 1.0])
    images = tio.ScalarImage(tensor=thick, affine=slabs), tio.LabelMap(tensor=thick_labels, affine=slabs)
    thin, thinner = tio.Resample(1.0), tio.Resample(1.0, image_interpolation="bspline")
    cases["spacing, linear"][0]["TorchIO"] = lambda: thin(images[0]).data
    cases["spacing, nearest labels"][0]["TorchIO"] = lambda: thin(images[1]).data
    cases["spacing, cubic B-spline"][0]["TorchIO"] = lambda: thinner(images[0]).data
    subject = tio.Subject(image=tio.ScalarImage(tensor=volume), label=tio.LabelMap(tensor=labels))
    image = tio.Subject(image=subject.image)
    degrees = tuple(float(np.degrees(a)) for a in ANGLES for _ in range(2))
    turn = tio.RandomAffine(scales=tuple(z for z in ZOOM for _ in range(2)), degrees=degrees, default_pad_value=0)
    bend = tio.Compose([tio.RandomElasticDeformation(num_control_points=8, max_displacement=6), turn])
    cut = tio.Compose([turn, tio.CropOrPad((128, 128, 128))])
    cases["rotation and scale, linear"][0]["TorchIO"] = lambda: turn(image).image.data
    cases["affine and elastic"][0]["TorchIO"] = lambda: bend(image).image.data
    cases["affine to a 128^3 patch, image and label"][0]["TorchIO"] = lambda: cut(subject).image.data


def add_batchgenerators(cases: dict[str, tuple[Ways, torch.Tensor]], *given: torch.Tensor) -> None:
    try:
        from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    except ImportError:
        return
    volume, labels = given
    settings = {"p_rotation": 1.0, "rotation": (0.2, 0.2001), "p_scaling": 1.0, "scaling": (0.95, 0.9501)}
    elastic = {"elastic_deform_scale": (0.1, 0.1), "elastic_deform_magnitude": (0.05, 0.05)}
    bend = SpatialTransform(SHAPE, 0, False, p_elastic_deform=1.0, **elastic, **settings)
    crop = SpatialTransform((128, 128, 128), 0, False, mode_seg="nearest", **settings)
    classes = labels.to(torch.int16)
    cases["affine and elastic"][0]["batchgeneratorsv2"] = lambda: bend(image=volume)
    patch = cases["affine to a 128^3 patch, image and label"][0]
    patch["batchgeneratorsv2"] = lambda: crop(image=volume, segmentation=classes)


def regions() -> dict[str, tuple[Ways, torch.Tensor]]:
    rng = np.random.default_rng(0)
    mask = ndimage.gaussian_filter(rng.random((192, 192, 192)), 4) > 0.5
    speckled = ndimage.gaussian_filter(rng.random((192, 192, 192)), 1.5) > 0.505
    labels = (ndimage.gaussian_filter(rng.random((192, 192, 192)), 3) * 40 % 4).astype(np.uint8)
    there, one = torch.from_numpy(mask)[None], torch.from_numpy(speckled)[None]
    a, b = torch.from_numpy(labels), torch.from_numpy(np.roll(labels, 2, 0))
    volume = torch.from_numpy(rng.random((1, 192, 192, 192), dtype=np.float32))
    away = np.ascontiguousarray(~mask)
    distance: Ways = {
        "medframe": lambda: distance_transform(there, 1.0),
        "scipy": lambda: ndimage.distance_transform_edt(away),
    }
    parts: Ways = {
        "medframe": lambda: components(one, 26),
        "scipy": lambda: ndimage.label(speckled, np.ones((3, 3, 3))),
    }
    counts: Ways = {
        "medframe": lambda: joint_counts(a, b, 4, 4),
        "numpy": lambda: np.bincount((a.numpy().astype(np.intp) * 4 + b.numpy()).ravel(), minlength=16),
    }
    blur: Ways = {
        "medframe": lambda: gaussian(volume, (2.0, 2.0, 2.0)),
        "scipy": lambda: ndimage.gaussian_filter(volume[0].numpy(), 2.0, truncate=3.0, mode="nearest"),
    }
    middle: Ways = {
        "medframe": lambda: median(volume, 3),
        "scipy": lambda: ndimage.median_filter(volume[0].numpy(), 3, mode="nearest"),
    }
    numbers, philox = torch.empty(192, 192, 192), np.random.Philox(1)
    noise: Ways = {
        "medframe": lambda: normal_noise((192, 192, 192), 1),
        "numpy": lambda: np.random.Generator(philox).standard_normal((192, 192, 192), dtype=np.float32),
        "torch": lambda: torch.randn(192, 192, 192),
    }
    try:
        import edt

        distance["edt"] = lambda: edt.edt(away, parallel=torch.get_num_threads())
    except ImportError:
        pass
    try:
        import cc3d

        parts["cc3d"] = lambda: cc3d.connected_components(speckled, connectivity=26)
    except ImportError:
        pass
    try:
        import SimpleITK as sitk

        image, points = sitk.GetImageFromArray(mask.astype(np.uint8)), sitk.GetImageFromArray(speckled.astype(np.uint8))
        floats = sitk.GetImageFromArray(volume[0].numpy())
        distance["SimpleITK"] = lambda: sitk.SignedMaurerDistanceMap(image, squaredDistance=False)
        parts["SimpleITK"] = lambda: sitk.ConnectedComponent(points, True)
        blur["SimpleITK"] = lambda: sitk.DiscreteGaussian(floats, 4.0)
        middle["SimpleITK"] = lambda: sitk.Median(floats, [1, 1, 1])
    except ImportError:
        pass
    if monai() is not None:
        from monai.metrics import compute_dice
        from monai.networks import one_hot

        counts["MONAI"] = lambda: compute_dice(one_hot(a[None, None], 4), one_hot(b[None, None], 4))
    return {
        "distance transform": (distance, volume),
        "components, 26 neighbours": (parts, volume),
        "joint counts": (counts, a),
        "Gaussian of 2 voxels": (blur, volume),
        "median of 3^3": (middle, volume),
        "normal noise": (noise, numbers),
    }


def scaling(threads: int, repeats: int) -> dict[str, object]:
    """Nanoseconds a voxel from 64^3 to 512^3, and what a second thread brings."""
    out: dict[str, object] = {}
    matrix = turned(SHAPE)
    for size in (64, 128, 256, 512):
        volume = torch.rand(1, size, size, size)
        linear = matrix.copy()
        linear[:3, 3] = (size - 1) / 2 - linear[:3, :3] @ np.full(3, (size - 1) / 2)
        mask = volume > 0.5
        ways: Ways = {
            "rotation": partial(pull, volume, [linear], (size,) * 3),
            "aligned": partial(pull, volume, [np.diag([0.9, 0.95, 0.9, 1.0])], (size,) * 3),
            "distance": partial(distance_transform, mask, 1.0),
        }
        several = alternate(ways, repeats)
        torch.set_num_threads(1)
        alone = alternate(ways, repeats)
        torch.set_num_threads(threads)
        for name, seconds in several.items():
            out[f"{name}, {size}^3"] = {
                "ns a voxel": round(1e9 * seconds / volume.numel(), 2),
                f"{threads} threads bring": round(alone[name] / seconds, 2),
            }
    return out


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--only", default="", help="cases whose names hold this")
    arguments = parser.parse_args()
    if native.core() is None:
        raise SystemExit("medframe._core was not built")
    torch.set_num_threads(arguments.threads)
    repeats = max(arguments.repeats, 5)
    result: dict[str, object] = {}
    for name, (ways, like) in (resampling() | regions()).items():
        if arguments.only not in name:
            continue
        contiguous = like.contiguous()
        there = torch.empty_like(contiguous)
        floor: Ways = {"copy": partial(there.copy_, contiguous), "copy, fresh": contiguous.clone}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seconds = alternate({**ways, **floor}, repeats)
        print(f"\n{name}, {arguments.threads} thread(s)")
        rows = {}
        for way, value in seconds.items():
            ratio = value / seconds["medframe"]
            due = TARGETS.get(name, {}).get(way)
            rows[way] = {"ms": round(1000 * value, 2), "ratio": round(ratio, 2)} | ({"target": due} if due else {})
            print(
                f"  {way:18} {1000 * value:9.1f} ms   {ratio:7.1f} x" + (f"   target {due} x" if due else ""),
                flush=True,
            )
        result[name] = rows
    sizes = {} if arguments.only else scaling(arguments.threads, repeats)
    for name, row in sizes.items():
        print(f"{name:24} {row}")
    if arguments.record:
        about = {"threads": arguments.threads, "repeats": repeats, "cases": result, "scaling": sizes}
        names = ("torch", "numpy", "scipy", "SimpleITK", "monai", "torchio", "batchgeneratorsv2", "edt")
        packages = versions(*names, "connected-components-3d")
        record("kernels_cpu", about | {"versions": packages})


if __name__ == "__main__":
    main()
