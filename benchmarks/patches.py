"""Patches per second: a cached case, then a balanced 96^3 crop, flip, rotation, zoom and elastic deformation of image
and label, and then noise and gamma of the image. Every operation acts on every patch.

medframe, MONAI, TorchIO and batchgeneratorsv2 do the same in one process with the same number of threads; peers that
are not installed are left out. Each peer is given its quickest way: MONAI and batchgeneratorsv2 fuse rotation, zoom and
elastic deformation, TorchIO fuses affine and elastic.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from measure import DATA, alternate, options, record, versions

from medframe.base import Rng
from medframe.image import Image, LabelMap
from medframe.transforms import (
    Compose,
    CropByLabel,
    Elastic,
    Flip,
    Gamma,
    GaussianNoise,
    IndexClasses,
    Load,
    Normalize,
    Orientation,
    Rotate,
    Scale,
    Spacing,
)

warnings.filterwarnings("ignore")
SIZE = (96, 96, 96)
IMAGE = DATA / "brain_atlases" / "ch2bet.nii.gz"
LABEL = DATA / "brain_atlases" / "aal.nii.gz"


def settled() -> tuple[Image, LabelMap, dict]:
    """The case after load, orientation, spacing and normalisation: what a cache would hold. Labels are four lobes."""
    fixed = Compose([Load("image", "label"), Orientation("RAS"), Spacing((1.0, 1.0, 1.0)), Normalize()])
    sample = fixed({"image": str(IMAGE), "label": str(LABEL)}, Rng("fixed"))
    lobes = sample["label"].data.to(torch.int64)
    few = torch.where(lobes > 0, lobes % 4 + 1, 0).to(torch.uint8)
    sample = {"image": sample["image"].settled(), "label": LabelMap(few, space=sample["label"].space)}
    return sample["image"], sample["label"], IndexClasses("label")(sample, Rng("fixed"))


def medframe_way(sample: dict, intensity: bool) -> Callable[[], object]:
    steps = [
        CropByLabel(SIZE, foreground=1.0),
        *[Flip(axis, p=0.5) for axis in range(3)],
        Rotate((-15, 15)),
        Scale((0.8, 1.2)),
        Elastic((3.0, 6.0), knots=32.0),
    ]
    if intensity:
        steps += [GaussianNoise((0.05, 0.1)), Gamma((0.7, 1.5))]
    pipeline = Compose(steps)
    count = iter(range(10**9))

    def run() -> object:
        out = pipeline(sample, Rng(0, next(count)))
        return out["image"].data, out["label"].data

    return run


def monai_way(image: Image, label: LabelMap, intensity: bool) -> Callable[[], object]:
    from monai.data import MetaTensor
    from monai.transforms import Compose as MonaiCompose
    from monai.transforms import (
        Rand3DElasticd,
        RandAdjustContrastd,
        RandCropByPosNegLabeld,
        RandFlipd,
        RandGaussianNoised,
    )

    keys = ["image", "label"]
    turn = float(np.radians(15))
    steps = [
        RandCropByPosNegLabeld(keys, label_key="label", spatial_size=SIZE, pos=1, neg=0, num_samples=1),
        *[RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)],
        Rand3DElasticd(
            keys,
            sigma_range=(8, 8),
            magnitude_range=(100, 200),
            prob=1.0,
            rotate_range=(turn,) * 3,
            scale_range=(0.2,) * 3,
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        ),
    ]
    if intensity:
        steps += [
            RandGaussianNoised("image", prob=1.0, std=0.1),
            RandAdjustContrastd("image", prob=1.0, gamma=(0.7, 1.5)),
        ]
    pipeline = MonaiCompose(steps)
    affine = torch.as_tensor(image.affine.copy())
    sample = {"image": MetaTensor(image.data, affine=affine), "label": MetaTensor(label.data, affine=affine)}
    return lambda: pipeline(sample)


def torchio_way(image: Image, label: LabelMap, intensity: bool) -> Callable[[], object]:
    import torchio as tio

    subject = tio.Subject(
        image=tio.ScalarImage(tensor=image.data, affine=image.affine),
        label=tio.LabelMap(tensor=label.data, affine=label.affine),
    )
    sampler = tio.LabelSampler(SIZE, label_name="label")
    steps = [
        tio.RandomFlip(axes=(0, 1, 2), flip_probability=0.5),
        tio.RandomAffine(scales=(0.8, 1.2), degrees=15, isotropic=True),
        tio.RandomElasticDeformation(num_control_points=6, max_displacement=6),
    ]
    if hasattr(tio, "RandomAffineElasticDeformation"):
        steps[1:] = [
            tio.RandomAffineElasticDeformation(
                affine_kwargs={"scales": (0.8, 1.2), "degrees": 15, "isotropic": True},
                elastic_kwargs={"num_control_points": 6, "max_displacement": 6},
            )
        ]
    if intensity:
        steps += [tio.RandomNoise(std=(0.05, 0.1)), tio.RandomGamma(log_gamma=(-0.35, 0.4))]
    pipeline = tio.Compose(steps)
    # finding all label voxels is done once, as a queue would
    probability = sampler.process_probability_map(sampler.get_probability_map(subject), subject)
    cumulative = (
        sampler.get_cumulative_distribution_function(probability)
        if hasattr(sampler, "get_cumulative_distribution_function")
        else None
    )

    def run() -> object:
        if cumulative is not None:
            patch = sampler.extract_patch(subject, probability, cumulative)
        else:
            patch = next(iter(sampler(subject, 1)))
        out = pipeline(patch)
        return out.image.data, out.label.data

    return run


def batchgenerators_way(image: Image, label: LabelMap, intensity: bool) -> Callable[[], object]:
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

    # its habit: cut a larger patch around a labelled voxel, deform it, keep the middle
    large = 136
    places = np.argwhere(label.data[0].numpy() > 0)
    steps = [
        SpatialTransform(
            SIZE,
            0,
            False,
            p_elastic_deform=1.0,
            elastic_deform_scale=(0.3, 0.3),
            elastic_deform_magnitude=(0.03, 0.06),
            p_rotation=1.0,
            rotation=(-float(np.radians(15)), float(np.radians(15))),
            p_scaling=1.0,
            scaling=(0.8, 1.2),
            p_synchronize_scaling_across_axes=1.0,
            mode_seg="nearest",
        ),
        MirrorTransform((0, 1, 2)),
    ]
    if intensity:
        steps += [
            GaussianNoiseTransform(noise_variance=(0.0025, 0.01)),
            GammaTransform((0.7, 1.5), p_invert_image=0, synchronize_channels=True, p_per_channel=1, p_retain_stats=0),
        ]
    pipeline = ComposeTransforms(steps)
    rng = np.random.default_rng(0)
    voxels, classes = image.data, label.data.to(torch.int16)

    def run() -> object:
        centre = places[rng.integers(len(places))]
        start = np.clip(centre - large // 2, 0, np.array(voxels.shape[1:]) - large)
        window = (slice(None), *(slice(int(s), int(s) + large) for s in start))
        return pipeline(image=voxels[window].clone(), segmentation=classes[window].clone())

    return run


def main() -> None:
    arguments = options(__doc__).parse_args()
    torch.set_num_threads(arguments.threads)
    image, label, sample = settled()
    result: dict[str, object] = {"threads": arguments.threads, "repeats": arguments.repeats, "patch": SIZE}
    for part, intensity in (("geometry", False), ("geometry and intensity", True)):
        ways: dict[str, Callable[[], object]] = {"medframe": medframe_way(sample, intensity)}
        for name, make in (("MONAI", monai_way), ("TorchIO", torchio_way), ("batchgeneratorsv2", batchgenerators_way)):
            try:
                ways[name] = make(image, label, intensity)
            except ImportError as error:
                print(f"{name} is left out: {error}")
        seconds = alternate(ways, arguments.repeats)
        print(f"\n{part}, {arguments.threads} thread(s)")
        for name, value in seconds.items():
            print(f"  {name:18} {1 / value:7.2f} patches/s   {value / seconds['medframe']:6.1f} x medframe's time")
        result[part] = {
            name: {"ms": round(1000 * v, 2), "ratio": round(v / seconds["medframe"], 2)} for name, v in seconds.items()
        }
    result["versions"] = versions("torch", "numpy", "monai", "torchio", "batchgeneratorsv2", "SimpleITK")
    if arguments.record:
        record("patches", result)


if __name__ == "__main__":
    main()
