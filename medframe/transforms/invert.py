"""Undoing spatial steps. There is no diary: an image knows where it was read from, and the way back is geometry."""

from __future__ import annotations

from typing import TypeVar, cast

from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.image import Image, LabelMap, Sample

X = TypeVar("X", Image, Sample)


def invert(x: X) -> X:
    """Bring an image, or all images of a sample, back to the lattice they were read from.

    Deformations are undone too. Where the way there and back was whole voxels, the voxels are exact; elsewhere they
    are interpolated once.
    """
    if isinstance(x, Image):
        return x.to_source()
    return cast("X", {k: v.to_source() if isinstance(v, Image) else v for k, v in x.items()})


def restore(prediction: Tensor, image: Image) -> Image:
    """Bring a network's output for `image` to the lattice that `image` was read from.

    Args:
        prediction: (C, *spatial) on the lattice of `image`; integers make a LabelMap, floats an Image.
        image: what the network was given, with its way back.

    Returns:
        The prediction on `image.source_space`, its warp waiting.
    """
    if tuple(prediction.shape[1:]) != image.space.shape:
        found = tuple(prediction.shape)
        raise BadArgument("the prediction is not on the image's lattice", found=found, due=image.space.shape)
    kind = Image if prediction.is_floating_point() else LabelMap
    return kind.at(prediction, image.place).to_source()
