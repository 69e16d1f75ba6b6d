"""A model's weights as a file, and whether they belong to a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from medframe.base.container import read_container, write_container
from medframe.base.errors import Incompatible, NotFinite
from medframe.engines.distributed import bare

WEIGHTS_KIND = "model"


def write_weights(path: str | os.PathLike[str], model: nn.Module, json_: Mapping[str, Any] | None = None) -> None:
    """Write a model's weights and buffers as one safetensors file, atomically.

    Args:
        path: the final name.
        model: also one that is wrapped for several ranks or compiled.
        json_: plain JSON to keep with them.

    Raises:
        NotFinite: a weight is NaN or infinite; nothing is written.
        WriteFailed: the file could not be written.
    """
    state = bare(model).state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NotFinite("a weight is not finite", where=name, mend="The file was not written.")
    write_container(path, WEIGHTS_KIND, state, json_ or {})


def read_weights(path: str | os.PathLike[str], model: nn.Module) -> dict[str, Any]:
    """Give a model the weights of a file, and return the JSON kept with them.

    Raises:
        BadFile: missing or damaged.
        Incompatible: the weights belong to another network.
    """
    stored = read_container(path, WEIGHTS_KIND)
    check_same_network(bare(model), stored.tensors, path)
    bare(model).load_state_dict(stored.tensors)
    return stored.json


def check_same_network(model: nn.Module, tensors: Mapping[str, Tensor], where: str | os.PathLike[str] | None) -> None:
    """Raise unless names and shapes are those of the model's weights and buffers.

    Raises:
        Incompatible: the first differences are listed.
    """
    due = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    odd = [name for name in [*due, *(n for n in found if n not in due)] if due.get(name) != found.get(name)]
    if odd:
        lines = [f"{n} {found.get(n, 'missing')} instead of {due.get(n, 'nothing')}" for n in odd[:3]]
        raise Incompatible(
            "the weights belong to another network",
            where=where,
            found=f"{len(odd)} differing parameters: {'; '.join(lines)}{'; ...' if len(odd) > 3 else ''}",
            due=f"the {len(due)} parameters of this {type(model).__name__}",
            mend="Build the network with the settings it was trained with, or start in an empty folder.",
        )
