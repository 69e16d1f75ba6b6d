"""What a row of the networks' contract holds, and how parameters are counted by hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

PRELU = 1


def conv(inside, outside, taps, bias=1):
    return inside * outside * taps + bias * outside


def norm(channels):
    return 2 * channels


def dims(spatial_dims, in_channels, out_channels, **more):
    return {"spatial_dims": spatial_dims, "in_channels": in_channels, "out_channels": out_channels, **more}


def as_list(answer):
    """A network's answer as a list of tensors: it may be one, several, or named."""
    if isinstance(answer, Tensor):
        return [answer]
    parts = answer.values() if isinstance(answer, dict) else answer
    return [tensor for part in parts for tensor in as_list(part)]


@dataclass(frozen=True)
class Row:
    """One network.

    name: of the test.
    make, args: the class and its arguments.
    size: spatial sizes of a small input that it takes; a bottleneck of more than eight voxels trains in bfloat16, too.
    multiple: what each size must be a multiple of; all 1 where any size will do; None for a network of one fixed size.
    parameters: counted by hand (or None where the parity table compares the count with the source's).
    coarser: spatial sizes of further logits while training.
    shapes: from a batch size to the shapes of the answers; default: logits of the input's size, then `coarser`.
    extra: from a batch size to further positional inputs, such as time steps or a context.
    exports: True, or a reason why torch.export does not take it.
    compiles: True, or a reason why torch.compile does not take it as one graph.
    trains: share of parameters that must receive a gradient.
    wakes: draw the parameters that begin at zero, where the whole network would answer zero.
    bfloat16: how far an answer in half precision may be off, in standard deviations of the answer.
    slow: whether it is so large that it is left to the slow suite.
    """

    name: str
    make: type[nn.Module]
    args: dict[str, Any]
    size: tuple[int, ...]
    multiple: tuple[int, ...] | None
    parameters: int | None
    coarser: tuple[tuple[int, ...], ...] = ()
    shapes: Callable[[int], list[tuple[int, ...]]] | None = None
    extra: Callable[[int], tuple[Tensor, ...]] | None = None
    exports: bool | str = True
    compiles: bool | str = True
    trains: float = 0.7
    wakes: bool = False
    bfloat16: float = 0.05
    slow: bool = False

    def network(self):
        torch.manual_seed(0)
        network = self.make(**self.args)
        if self.wakes:
            with torch.no_grad():
                for p in network.parameters():
                    if not p.any():
                        p.normal_(0, 0.1)
        return network

    def input(self, batch=2, times=1):
        shape = (batch, self.args["in_channels"], *(times * s for s in self.size))
        return torch.randn(shape, generator=torch.Generator().manual_seed(1))

    def inputs(self, batch=2, times=1):
        return (self.input(batch, times), *(self.extra(batch) if self.extra else ()))

    def answers(self, batch=2):
        """The shapes of the answers while training."""
        if self.shapes is not None:
            return self.shapes(batch)
        return [(batch, self.args["out_channels"], *size) for size in (self.size, *self.coarser)]
