"""From settings to the parts of a run: pipelines, network, inferer."""

from __future__ import annotations

import math

import torch
from torch import nn

from medframe.base.errors import BadConfig
from medframe.inferers import Inferer, Precision, SlidingWindow, WholeImage
from medframe.losses import DeepSupervisionLoss, DiceCELoss
from medframe.networks import DynUNet, UNet
from medframe.plan.config import RunConfig
from medframe.transforms import (
    BrightnessContrast,
    Compose,
    CropByLabel,
    CropForeground,
    Elastic,
    Flip,
    Gamma,
    GaussianBlur,
    GaussianNoise,
    IndexClasses,
    Load,
    LowResolution,
    Normalize,
    Orientation,
    RandomCrop,
    Remap,
    Rotate,
    Scale,
    Spacing,
    Transform,
)


def fixed_steps(config: RunConfig, *, labelled: bool) -> Compose:
    """What is done to every case once, for training and for prediction alike."""
    steps: list[Transform] = [Load(images="image", labels="label" if labelled else (), vote=True)]
    values = class_values(config)
    if labelled and values != tuple(range(len(values))):
        steps.append(Remap({value: k for k, value in enumerate(values)}))
    steps.append(Orientation(config.orientation))
    if config.crop == "nonzero":
        steps.append(CropForeground(0.0, source="image"))
    steps.append(Spacing(config.spacing))
    kinds = set(config.normalise)
    if len(kinds) != 1 and "ct" in kinds:
        raise BadConfig("mixed channel kinds are not normalised yet", where="normalise", found=config.normalise)
    if "ct" in kinds:
        lo, hi, mean, std = (tuple(values) for values in zip(*config.intensity, strict=True))
        steps.append(Normalize(mean=mean, std=std, clip=tuple(zip(lo, hi, strict=True))))
    else:
        steps.append(Normalize(nonzero="zscore_nonzero" in kinds))
    if labelled and config.foreground > 0:
        steps.append(IndexClasses("label"))
    return Compose(tuple(steps))


def random_steps(config: RunConfig) -> Compose:
    """What chance does to every patch: the window first, so that what turns into it is anatomy and not zeros."""
    steps: list[Transform] = []
    if config.foreground > 0:
        steps.append(CropByLabel(config.patch, "label", config.foreground))
    else:
        steps.append(RandomCrop(config.patch))
    steps += [Flip(letter, p=0.5) for letter in config.flip]
    p = config.spatial_p
    if p > 0:
        steps += [Rotate(config.rotate, p=p), Scale(config.scale, p=p)]
        if config.elastic[1] > 0:
            steps.append(Elastic(config.elastic, p=p))
    q = config.intensity_p
    if q > 0:
        steps += [
            GaussianNoise(config.noise, p=q),
            GaussianBlur(config.blur, p=q),
            BrightnessContrast(config.brightness, config.contrast, p=q),
            LowResolution(config.low_resolution, p=q),
            Gamma(config.gamma, p=q),
        ]
    return Compose(tuple(steps))


def build_network(config: RunConfig) -> DynUNet | UNet:
    """The network, with fresh weights drawn from the run's seed; torch's own random state is left alone."""
    channels, classes = len(config.channels), len(class_values(config))
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        if config.network == "UNet":
            return UNet(
                spatial_dims=config.ndim,
                in_channels=channels,
                out_channels=classes,
                channels=config.features,
                strides=config.strides[1:],
                num_res_units=2,
            )
        return DynUNet(
            spatial_dims=config.ndim,
            in_channels=channels,
            out_channels=classes,
            kernel_size=config.kernels,
            strides=config.strides,
            channels=config.features,
            deep_supervision=config.deep_supervision,
        )


def build_loss(config: RunConfig) -> DiceCELoss | DeepSupervisionLoss:
    """Soft Dice over the batch, background left out, plus cross-entropy; nnU-Net's choice."""
    loss = DiceCELoss(include_background=False, batch=True)
    deep = config.network == "DynUNet" and config.deep_supervision
    return DeepSupervisionLoss(loss) if deep else loss


def build_optimiser(config: RunConfig, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over all parameters."""
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            network.parameters(), config.learning_rate, 0.99, nesterov=True, weight_decay=config.weight_decay
        )
    # norms and biases are not pulled towards zero: they set scales, which weight decay would only distort
    flat = [p for p in network.parameters() if p.ndim <= 1]
    deep = [p for p in network.parameters() if p.ndim > 1]
    groups = [{"params": deep, "weight_decay": config.weight_decay}, {"params": flat, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, config.learning_rate, fused=True)


def build_inferer(
    config: RunConfig, shape: tuple[int, ...], multiple: tuple[int, ...], precision: Precision
) -> Inferer:
    """How the network is led over a case: at once where that costs little more than a patch, else by windows.

    Args:
        config: of the run.
        shape: of the case, in voxels.
        multiple: what the network needs sizes to be multiples of.
        precision: of the network's arithmetic.
    """
    axes = tuple(config.orientation.index(c) for c in oriented(config.mirror, config.orientation))
    padded = math.prod(-(-n // m) * m for n, m in zip(shape, multiple, strict=True))
    if padded <= 3 * math.prod(config.patch):
        return WholeImage(multiple=multiple, mirror=axes, precision=precision)
    return SlidingWindow(config.patch, overlap=config.overlap, mirror=axes, precision=precision)


def class_values(config: RunConfig) -> tuple[int, ...]:
    """The label value that each output of the network stands for: 0 and the declared classes, by rising value."""
    return tuple(sorted({0, *config.classes}))


def oriented(directions: str, orientation: str) -> str:
    """Directions in the letters of an orientation: "L" is "R" where axes run to the right."""
    opposite = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}
    return "".join(d if d in orientation else opposite[d] for d in directions.upper())
