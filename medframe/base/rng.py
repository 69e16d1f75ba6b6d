"""The one random-stream rule: chance is a pure function of a key.

A key is a tuple of numbers and names, for instance `(seed, epoch, index)`; forking appends to it. Philox, a
counter-based generator, is seeded with a hash of the key (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011, doi:10.1145/2063384.2063405), so a stream depends on the key alone: never on the worker, on the
order of calls, on the device, or on a restart.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument

if TYPE_CHECKING:
    from medframe.base.ranges import Range

T = TypeVar("T")


class Rng:
    """An immutable key that answers with numbers.

    Asking the same `Rng` twice for the same thing gives the same answer: fork by name to get independent streams.

    Args:
        *key: integers and strings, outermost first.

    Example:
        >>> a = Rng(7, 0, 3).fork(2, "Rotate")
        >>> a.uniform((0, 1)) == Rng(7, 0, 3, 2, "Rotate").uniform((0, 1))
        True
    """

    __slots__ = ("_key",)

    def __init__(self, *key: int | str) -> None:
        for part in key:
            if not isinstance(part, int | str | np.integer):
                raise BadArgument("a key holds integers and strings", found=type(part).__name__, due="int or str")
        self._key = tuple(int(p) if isinstance(p, int | np.integer) else p for p in key)

    @classmethod
    def fresh(cls) -> Rng:
        """A key of fresh entropy, for calls by hand."""
        return cls("entropy", secrets.randbits(64))

    @property
    def key(self) -> tuple[int | str, ...]:
        return self._key

    def __repr__(self) -> str:
        return f"Rng{self._key!r}" if len(self._key) != 1 else f"Rng({self._key[0]!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rng) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def fork(self, *path: int | str) -> Rng:
        """An independent stream, named by `path`."""
        return Rng(*self._key, *path)

    @property
    def seed(self) -> int:
        """The key as one 128-bit number."""
        return int.from_bytes(hashlib.blake2b(repr(self._key).encode(), digest_size=16).digest(), "little")

    def generator(self) -> np.random.Generator:
        """A NumPy generator at the start of this key's stream."""
        return np.random.Generator(np.random.Philox(key=self.seed))

    def uniform(self, range: Range, size: int | tuple[int, ...] | None = None) -> NDArray[np.float64]:
        """Draw from a value, a `(lo, hi)` pair or a distribution; a plain value is returned as it is.

        Args:
            range: see `medframe.base.ranges`.
            size: the shape of the answer; None for a scalar (a zero-dimensional array).
        """
        from medframe.base.ranges import sample  # ranges names Rng in its signatures only

        return sample(range, self.generator(), size)

    def integers(self, lo: int, hi: int, size: int | tuple[int, ...] | None = None) -> NDArray[np.int64]:
        """Integers from `lo` up to and without `hi`."""
        return np.asarray(self.generator().integers(lo, hi, size=size))

    def choice(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of `options`, with probability in proportion to `weights`."""
        if len(options) == 0:
            raise BadArgument("nothing to choose from", found="an empty sequence", due="at least one option")
        p = None if weights is None else np.asarray(weights, float) / np.sum(weights)
        return options[int(self.generator().choice(len(options), p=p))]

    def permutation(self, n: int) -> NDArray[np.int64]:
        """The numbers 0 to n - 1 in random order."""
        return np.asarray(self.generator().permutation(n))

    def coin(self, p: float) -> bool:
        """True with probability `p`."""
        return p >= 1 or (p > 0 and bool(self.generator().random() < p))
