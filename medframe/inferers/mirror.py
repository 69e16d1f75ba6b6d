"""Test-time mirroring."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.inferers.inferer import Network, apply_network
from medframe.inferers.precision import Precision


def mirrored(network: Network, axes: Sequence[int], precision: Precision = "float32") -> Network:
    """A network that answers with the mean over all mirrorings of its input.

    With n axes the network runs 2^n times. Every answer is mirrored back before the mean is taken. What is averaged is
    logits: a mean of logits is, after the softmax, the normalised geometric mean of the probabilities.

    Args:
        network: from (B, C, *spatial) to (B, K, *spatial).
        axes: spatial axes, counted from 0; empty for none.
        precision: of the network; the mean is taken in float32.
    """
    turns = [turn for n in range(len(axes) + 1) for turn in combinations(sorted(axes), n)]

    def average(x: Tensor) -> Tensor:
        mean: Tensor | None = None
        for count, turn in enumerate(turns, 1):
            dims = [axis + 2 for axis in turn]
            y = apply_network(network, x.flip(dims) if dims else x, precision)
            y = y.flip(dims) if dims else y
            # a running mean: equal answers stay what they are, to the bit
            mean = y if mean is None else mean + (y - mean) / count
        assert mean is not None  # there is always the empty turn
        return mean

    return average


def check_axes(axes: Sequence[int], rank: int | None = None) -> None:
    """Raise unless the mirror axes are different spatial axes.

    Raises:
        BadArgument: with the axes found.
    """
    limit = 3 if rank is None else rank
    if len(set(axes)) != len(axes) or not all(isinstance(a, int) and 0 <= a < limit for a in axes):
        due = f"different spatial axes from 0 to {limit - 1}"
        raise BadArgument("mirror axes are wrong", where="mirror", found=tuple(axes), due=due)
