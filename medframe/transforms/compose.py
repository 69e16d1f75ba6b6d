"""Pipelines: steps in turn, one of several, some of several, and a function as a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.base.rng import Rng
from medframe.image import Image, LabelMap, Read, Sample, reads_of
from medframe.transforms.base import Intensity, Params, Transform


def _steps(owner: str, steps: object) -> tuple[Transform, ...]:
    if isinstance(steps, Transform):
        steps = (steps,)
    if not isinstance(steps, tuple | list) or not all(isinstance(s, Transform) for s in steps):
        raise BadArgument(f"{owner} takes transforms", found=repr(steps), due="a sequence of Transform")
    return tuple(steps)


@dataclass(frozen=True, repr=False)
class Compose(Transform):
    """Steps in turn.

    Every step gets its own random stream, named by its class and by how many steps of that class came before, so that
    adding or moving a step leaves the draws of the others as they were.

    Args:
        steps: the transforms. A step that makes several samples of one (crops with `count`) makes lists from there on.

    Example:
        >>> from medframe.transforms import Compose, Flip, Rotate
        >>> Compose([Rotate((-20, 20)), Flip("R", p=0.5)])
        Compose((Rotate((-20, 20)), Flip('R', p=0.5)))
    """

    steps: tuple[Transform, ...] = ()
    takes_keys: ClassVar[bool] = False

    def check(self) -> None:
        object.__setattr__(self, "steps", _steps("Compose", self.steps))

    @property
    def random(self) -> bool:
        return 0 < self.p < 1 or any(step.random for step in self.steps)

    def streams(self, rng: Rng) -> list[tuple[Transform, Rng]]:
        """Each step with its random stream."""
        seen: Counter[str] = Counter()
        out = []
        for step in self.steps:
            name = type(step).__name__
            out.append((step, rng.fork(name, seen[name])))
            seen[name] += 1
        return out

    def on_sample(self, sample: Sample, rng: Rng) -> Any:
        if not rng.fork("p").coin(self.p):
            return dict(sample)
        out: Any = dict(sample)
        for step, stream in self.streams(rng):
            out = _apply(step, out, stream)
        return out

    def explain(self, sample: Sample | Image | Tensor, rng: Rng | None = None) -> Explanation:
        """Run the pipeline on a sample and tell where voxels are read, how many, and which step asked for them."""
        rng = rng if rng is not None else Rng("explain")
        current: Any = sample
        if not isinstance(sample, Mapping):
            current = {"image": Image(sample) if isinstance(sample, Tensor) else sample}
        lines: list[ExplainedStep] = []
        log: list[Read] = []
        token = reads_of.set(log)
        try:
            for step, stream in self.streams(rng):
                current = _apply(step, current, stream)
                lines.append(ExplainedStep(repr(step), tuple(log), _waiting(current)))
                log.clear()
            for item in current if isinstance(current, list) else [current]:
                for member in item.values():
                    if isinstance(member, Image):
                        member.data  # noqa: B018  # pays what waits, as a batch would
            lines.append(ExplainedStep("(batch)", tuple(log), 0))
        finally:
            reads_of.reset(token)
        return Explanation(tuple(lines))


def _apply(step: Transform, item: Any, rng: Rng) -> Any:
    if isinstance(item, list):
        out: list[Any] = []
        for i, one in enumerate(item):
            made = step.on_sample(one, rng.fork("item", i))
            out.extend(made if isinstance(made, list) else [made])
        return out
    return step.on_sample(item, rng)


def _waiting(item: Any) -> int:
    samples = item if isinstance(item, list) else [item]
    return sum(isinstance(m, Image) and m.pending is not None for s in samples for m in s.values())


@dataclass(frozen=True)
class ExplainedStep:
    """One line of an explanation.

    Args:
        step: its repr.
        reads: what was read while it ran.
        waiting: members with a warp waiting afterwards.
    """

    step: str
    reads: tuple[Read, ...]
    waiting: int


@dataclass(frozen=True)
class Explanation:
    """Where a pipeline reads voxels."""

    steps: tuple[ExplainedStep, ...]

    @property
    def interpolations(self) -> int:
        """How many members were interpolated, all steps together."""
        return sum(read.kind == "interpolated" for step in self.steps for read in step.reads)

    def __str__(self) -> str:
        rows = []
        for step in self.steps:
            reads = [
                f"{r.kind}: {_x(r.window)} voxels read -> {_x(r.shape)}" + (f" through {r.stages}" if r.stages else "")
                for r in step.reads
            ]
            note = "; ".join(reads) or (f"{step.waiting} warp(s) wait" if step.waiting else "nothing read")
            rows.append((step.step, note))
        width = min(max((len(a) for a, _ in rows), default=0), 72)
        return "\n".join(f"{a:<{width}}  {b}" for a, b in rows)

    def __repr__(self) -> str:
        return str(self)


def _x(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


@dataclass(frozen=True, repr=False)
class OneOf(Transform):
    """One of several steps, picked anew for each sample.

    Args:
        steps: the choices.
        weights: their chances, in any unit; default equal.
    """

    steps: tuple[Transform, ...] = ()
    weights: tuple[float, ...] | None = None
    takes_keys: ClassVar[bool] = False

    def check(self) -> None:
        object.__setattr__(self, "steps", _steps("OneOf", self.steps))
        if not self.steps:
            raise BadArgument("OneOf needs at least one step")
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(float(w) for w in self.weights))
            if len(self.weights) != len(self.steps) or min(self.weights) < 0 or sum(self.weights) <= 0:
                raise BadArgument(
                    "one non-negative weight a step", found=self.weights, due=f"{len(self.steps)} numbers"
                )

    @property
    def random(self) -> bool:
        return 0 < self.p < 1 or len(self.steps) > 1 or self.steps[0].random

    def on_sample(self, sample: Sample, rng: Rng) -> Any:
        if not rng.fork("p").coin(self.p):
            return dict(sample)
        pick = rng.fork("pick").choice(range(len(self.steps)), self.weights)
        return self.steps[pick].on_sample(sample, rng.fork("step", pick))


@dataclass(frozen=True, repr=False)
class SomeOf(Transform):
    """Some of several steps, picked anew for each sample and applied in the order given.

    Args:
        steps: the choices.
        count: how many; a pair draws the number from lowest to highest.
    """

    steps: tuple[Transform, ...] = ()
    count: int | tuple[int, int] = 1
    takes_keys: ClassVar[bool] = False

    def check(self) -> None:
        object.__setattr__(self, "steps", _steps("SomeOf", self.steps))
        lo, hi = self._limits
        if not 0 <= lo <= hi <= len(self.steps):
            raise BadArgument("SomeOf cannot pick so many", found=self.count, due=f"0 to {len(self.steps)}")

    @property
    def _limits(self) -> tuple[int, int]:
        return self.count if isinstance(self.count, tuple) else (self.count, self.count)

    @property
    def random(self) -> bool:
        lo, hi = self._limits
        return 0 < self.p < 1 or lo != hi or lo < len(self.steps) or any(s.random for s in self.steps)

    def on_sample(self, sample: Sample, rng: Rng) -> Any:
        if not rng.fork("p").coin(self.p):
            return dict(sample)
        lo, hi = self._limits
        count = int(rng.fork("count").integers(lo, hi + 1))
        picks = sorted(int(i) for i in rng.fork("pick").permutation(len(self.steps))[:count])
        out: Any = dict(sample)
        for i in picks:
            out = _apply(self.steps[i], out, rng.fork("step", i))
        return out


@dataclass(frozen=True, repr=False)
class Lambda(Intensity):
    """A function as a step: tensor (C, *spatial) in, tensor of the same spatial shape out.

    Args:
        function: must be importable (not a lambda) where worker processes are spawned or caches are used.
        labels: act on label maps, with integers, instead of on images.
    """

    function: Callable[[Tensor], Tensor]
    labels: bool = False

    def check(self) -> None:
        if not callable(self.function):
            raise BadArgument("Lambda takes a function", found=type(self.function).__name__)

    def accepts(self, member: object) -> bool:
        return isinstance(member, Image) and isinstance(member, LabelMap) == self.labels

    def apply(self, data: Tensor, params: Params, rng: Rng) -> Tensor:
        return self.function(data)

    def one(self, member: Any, params: Params, rng: Rng) -> Any:
        return member.with_data(self.function(member.data)) if self.labels else super().one(member, params, rng)

    def shown(self, value: object) -> str:
        if value is not self.function:
            return super().shown(value)
        # without an address, so that it prints alike in every run
        return f"{self.function.__module__}.{getattr(self.function, '__qualname__', repr(self.function))}"
