"""Nested state as a container takes it: named tensors, and JSON that says where each belongs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from medframe.base.errors import BadArgument, BadFile

_MARK = "$tensor"


def split_state(state: Any) -> tuple[dict[str, Tensor], Any]:
    """Take the tensors out of nested dictionaries and lists.

    Args:
        state: dictionaries, lists, tuples, tensors and JSON values. Keys become strings, tuples lists.

    Returns:
        The tensors, named by their path, and the rest, with a mark in each tensor's place.
    """
    tensors: dict[str, Tensor] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            if path in tensors:
                raise BadArgument("two tensors have the same path", where=path)
            tensors[path] = value.detach()
            return {_MARK: path}
        if isinstance(value, Mapping):
            return {str(k): walk(v, f"{path}/{k}" if path else str(k)) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [walk(v, f"{path}/{i}" if path else str(i)) for i, v in enumerate(value)]
        return value

    return tensors, walk(state, "")


def join_state(tensors: Mapping[str, Tensor], rest: Any) -> Any:
    """The inverse of `split_state`, up to keys and tuples.

    Raises:
        BadFile: a tensor is missing.
    """
    if isinstance(rest, dict):
        if set(rest) == {_MARK}:
            if rest[_MARK] not in tensors:
                raise BadFile("a tensor is missing from the file", found=f"{len(tensors)} tensors", due=rest[_MARK])
            return tensors[rest[_MARK]]
        return {k: join_state(tensors, v) for k, v in rest.items()}
    if isinstance(rest, list):
        return [join_state(tensors, v) for v in rest]
    return rest
