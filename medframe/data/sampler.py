"""Which case comes when: a pure function of a seed and of how many samples came before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch.utils.data import Sampler

from medframe.base.errors import BadArgument
from medframe.base.rng import Rng


class Key(NamedTuple):
    """What a dataset is asked for: a case, and the epoch whose chance it gets.

    The epoch travels in the key, so it reaches worker processes that live longer than an epoch.
    """

    epoch: int
    index: int  # type: ignore[assignment]  # tuple.index gives way


@dataclass(frozen=True, eq=False)
class KeySampler(Sampler[Key]):
    """A stream of keys for training, epoch after epoch, each a permutation of its own.

    Draw k of the stream is case permutation(seed, epoch)[k % size] of epoch k // size. Rank r takes the draws
    start + r, start + r + world, ...; nothing else is remembered, so a run goes on in the middle of an epoch by
    starting at the number of samples it has used, on any number of ranks.

    Args:
        size: cases in the dataset.
        seed: of the permutations.
        start: draws used before, all ranks together.
        stop: the draw to stop before; default never. Every rank gets the same number of draws, so up to world - 1
            of the last are left out.
        shuffle: False keeps the order of the dataset.
        rank: this process.
        world: how many processes there are.

    Raises:
        BadArgument: a number out of its domain.
    """

    size: int
    seed: int = 0
    start: int = 0
    stop: int | None = None
    shuffle: bool = True
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        _check("KeySampler", self.size, self.rank, self.world)
        if self.start < 0 or (self.stop is not None and self.stop < self.start):
            raise BadArgument("KeySampler: 0 <= start <= stop", found=f"start {self.start}, stop {self.stop}")

    def key(self, draw: int) -> Key:
        """The key of one draw."""
        epoch, place = divmod(draw, self.size)
        return Key(epoch, int(self._order(epoch)[place]))

    def __iter__(self) -> Iterator[Key]:
        draw = self.start + self.rank
        last = None if self.stop is None else self.start + len(self) * self.world
        epoch = -1
        order: list[int] = []
        while last is None or draw < last:
            if draw // self.size != epoch:
                epoch = draw // self.size
                order = self._order(epoch)
            yield Key(epoch, order[draw % self.size])
            draw += self.world

    def __len__(self) -> int:
        """Keys this rank gives.

        Raises:
            TypeError: the stream is endless.
        """
        if self.stop is None:
            raise TypeError("an endless KeySampler has no length; give it a stop")  # what len() must raise
        return (self.stop - self.start) // self.world

    def _order(self, epoch: int) -> list[int]:
        if not self.shuffle:
            return list(range(self.size))
        return [int(i) for i in Rng(self.seed, "order", epoch).permutation(self.size)]


@dataclass(frozen=True, eq=False)
class OnceSampler(Sampler[Key]):
    """Every case once, in order, for evaluation; ranks get disjoint cases, which may differ in number by one.

    Args:
        size: cases in the dataset.
        rank: this process.
        world: how many processes there are.
    """

    size: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        _check("OnceSampler", self.size, self.rank, self.world)

    def __iter__(self) -> Iterator[Key]:
        return (Key(0, index) for index in range(self.rank, self.size, self.world))

    def __len__(self) -> int:
        return len(range(self.rank, self.size, self.world))


def _check(name: str, size: int, rank: int, world: int) -> None:
    if size < 1 or world < 1 or not 0 <= rank < world:
        raise BadArgument(
            f"{name}: a number is out of its domain",
            found=f"size {size}, rank {rank} of {world}",
            due="size >= 1, 0 <= rank < world",
        )
