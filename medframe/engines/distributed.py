"""Several processes that train one model, started by torchrun; alone, every function here is a plain no-op.

Objects travel between ranks as JSON, never pickled.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist

from medframe.base.errors import BadArgument


@dataclass(frozen=True)
class Ranks:
    """This process among all.

    Args:
        rank: its number, from 0.
        world: how many there are.
        device: where it computes: "cpu", or "cuda:i" with its own i on this machine.
    """

    rank: int
    world: int
    device: str


def join_ranks(device: str = "auto") -> Ranks:
    """Join the processes that torchrun started, as its environment variables say; without them be the only one.

    Args:
        device: "cpu", "cuda", or "auto" for CUDA where there is a device for every local rank. CUDA ranks talk
            through NCCL, others through gloo.

    Raises:
        BadArgument: another device, or CUDA without a device for this rank.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise BadArgument("no such device", where="device", found=device, due="auto, cpu or cuda")
    local, locals_ = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and cards <= local:
        raise BadArgument(
            "there is no CUDA device for this process",
            found=f"{cards} devices, local rank {local}",
            mend="Start fewer processes a node, or choose the CPU.",
        )
    cuda = device == "cuda" or (device == "auto" and cards >= locals_)
    mine = f"cuda:{local}" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(local)
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    return Ranks(rank(), world_size(), mine)


def leave_ranks() -> None:
    """End the group, if there is one.

    Let go of models that `wrap` made first, if you can.
    """
    if _grouped():
        # A finished message is thrown away by a thread of the group, which needs Python's lock to do it. A wrapped
        # model that lives longer than the group ends that thread while holding the lock, and would wait for ever.
        time.sleep(0.2)
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, 0 when alone."""
    return dist.get_rank() if _grouped() else 0


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _grouped() else 1


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return rank() == 0


def wrap(model: nn.Module) -> nn.Module:
    """The model with gradients averaged over ranks; the model itself when there is only one.

    The model has to be on its device already.
    """
    if world_size() == 1:
        return model
    index = next(model.parameters()).device.index
    return nn.parallel.DistributedDataParallel(model, device_ids=None if index is None else [index])


def bare(model: nn.Module) -> nn.Module:
    """The model without what `wrap` or `torch.compile` put around it: its parameters have their own names."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean of a tensor over all ranks, the same on each."""
    if world_size() == 1:
        return value
    total = value.detach().to(_channel(), copy=True)
    dist.all_reduce(total)
    return (total / world_size()).to(value.device)


def largest_over_ranks(value: int) -> int:
    """The largest of a number over all ranks, the same on each."""
    if world_size() == 1:
        return value
    number = torch.tensor(value, device=_channel())
    dist.all_reduce(number, dist.ReduceOp.MAX)
    return int(number.item())


def from_first(value: Any) -> Any:
    """The first rank's value on every rank.

    Args:
        value: plain JSON; NaN and infinity are allowed. What other ranks pass does not matter.
    """
    if world_size() == 1:
        return value
    data = json.dumps(value).encode() if is_first() else b""
    size = torch.tensor(len(data), device=_channel())
    dist.broadcast(size, 0)
    text = torch.zeros(cast(int, size.item()), dtype=torch.uint8)
    if is_first():
        text = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    text = text.to(_channel())
    dist.broadcast(text, 0)
    return json.loads(bytes(text.tolist()))


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()


def _channel() -> str:
    """The device whose tensors the group can send."""
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
