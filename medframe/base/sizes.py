"""The one size check before an allocation: a header's word is compared with what is really there."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from medframe.base.errors import BadArgument, TooLarge

GIB = 1 << 30
DEFAULT_LIMIT = 8 * GIB
_limit: list[int] = [DEFAULT_LIMIT]


def image_limit() -> int:
    """The largest single image, in bytes, that medframe allocates (default 8 GiB; see `set_image_limit`)."""
    from_environment = os.environ.get("MEDFRAME_IMAGE_LIMIT")
    return int(from_environment) if from_environment else _limit[0]


def set_image_limit(bytes_: int) -> None:
    """Set the largest single image, in bytes; the environment variable MEDFRAME_IMAGE_LIMIT wins over it."""
    if bytes_ <= 0:
        raise BadArgument("the image limit is a positive number of bytes", found=bytes_)
    _limit[0] = int(bytes_)


def check_size(
    shape: Sequence[int], itemsize: int, *, where: str | os.PathLike[str], available: int | None = None
) -> int:
    """The bytes an array needs, or an error before anything is allocated.

    Args:
        shape: the array's shape, as a header claims it.
        itemsize: bytes an element.
        where: the file or object, for the message.
        available: how many bytes of payload there really are, where that is known.

    Returns:
        The size in bytes.

    Raises:
        TooLarge: when a size is not positive, the limit is passed, or fewer bytes are there than claimed.
    """
    sizes = tuple(int(n) for n in shape)
    if any(n <= 0 for n in sizes):
        raise TooLarge("an array size is not positive", where=where, found=f"shape {sizes}", due="sizes of at least 1")
    need = math.prod(sizes) * itemsize  # Python integers: no overflow
    # first what is there: a small file that claims terabytes is damaged, and a higher limit would not help
    if available is not None and need > available:
        raise TooLarge(
            "the file holds fewer bytes than its header claims",
            where=where,
            found=f"{available} bytes of voxels",
            due=f"{need} bytes for shape {sizes} of {itemsize}-byte elements",
            mend="The file is truncated or its header is damaged; copy it again from its source.",
        )
    if need > image_limit():
        raise TooLarge(
            "the image is larger than the limit",
            where=where,
            found=f"shape {sizes} of {itemsize}-byte elements, {need / GIB:.2f} GiB",
            due=f"at most {image_limit() / GIB:.2f} GiB",
            mend="Raise it with medframe.base.sizes.set_image_limit(bytes) or MEDFRAME_IMAGE_LIMIT if this is meant.",
        )
    return need
