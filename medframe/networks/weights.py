"""Weights from elsewhere into a network: matched by name or by order, with every difference said."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument, Incompatible, NotFinite
from medframe.base.tensor_files import read_tensor_file

KeyMap: TypeAlias = Mapping[str, str | None] | Sequence[tuple[str, str | None]] | Callable[[str], str | None]
"""From names in a file to names in a network: a table, pairs of pattern and replacement, or a function."""

_WRAPPERS = ("state_dict", "model_state_dict", "network_weights", "model", "network", "net", "params", "weights")
_PREFIXES = ("module.", "_orig_mod.")  # of torch's data parallel and compiled modules
_HOLDERS = ("network.", "model.", "net.")  # of classes around a network


@dataclass(frozen=True)
class KeyReport:
    """What `load_weights` did with every name.

    `str(report)` is a table. A name of the network stands in one of `loaded`, `adapted`, `mismatched` and `missing`,
    a name of the source in one of the first three, `unused`, `dropped` and `aliases`.

    Example:
        >>> import torch
        >>> net = torch.nn.Conv2d(1, 2, 3)
        >>> print(load_weights(net, {"weight": torch.zeros(2, 1, 3, 3), "extra": torch.zeros(1)}, strict=False))
        1 loaded, 0 adapted, 0 mismatched, 1 missing, 1 unused
                 source  network  shapes
        missing          bias
        unused   extra

    Attributes:
        loaded: (name in the source, name in the network).
        adapted: as `loaded`; the number of input channels was changed on the way.
        mismatched: (name in the source, name in the network, shape found, shape due); the network keeps its own.
        missing: names of the network that the source has nothing for.
        unused: names of the source that the network has no place for.
        dropped: names of the source that the key map left out on purpose.
        aliases: names of the source for the very tensor of another name.
    """

    loaded: tuple[tuple[str, str], ...] = ()
    adapted: tuple[tuple[str, str], ...] = ()
    mismatched: tuple[tuple[str, str, tuple[int, ...], tuple[int, ...]], ...] = ()
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    aliases: tuple[str, ...] = field(default=(), repr=False)

    @property
    def complete(self) -> bool:
        """Whether every name of both sides found its place."""
        return not (self.mismatched or self.missing or self.unused)

    def __str__(self) -> str:
        rows = [(what, source, target, "") for what in ("adapted",) for source, target in self.adapted]
        rows += [
            ("mismatched", source, target, f"found {found}, due {due}")
            for source, target, found, due in self.mismatched
        ]
        rows += [("missing", "", name, "") for name in self.missing]
        rows += [("unused", name, "", "") for name in self.unused]
        rows += [("dropped", name, "", "") for name in self.dropped]
        head = f"{len(self.loaded)} loaded, {len(self.adapted)} adapted, {len(self.mismatched)} mismatched, "
        head += f"{len(self.missing)} missing, {len(self.unused)} unused"
        if not rows:
            return head
        rows.insert(0, ("", "source", "network", "shapes"))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([head, *lines])


def load_weights(
    net: nn.Module,
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    key_map: KeyMap | None = None,
    prefix: str = "",
    match: Literal["name", "order"] = "name",
    strict: bool = True,
    adapt_channels: bool = False,
    leave_mismatched: bool = False,
) -> KeyReport:
    """Give a network the weights of a file or of a state dict; nothing is changed unless all of it can be.

    A checkpoint that keeps its weights under a name such as "state_dict" or "network_weights" is unwrapped, and so
    are the prefixes "module." and "_orig_mod." of networks that were parallel or compiled. Where no key map is given,
    a prefix "network.", "model." or "net." that all names share and the network does not know goes, too.

    Example:
        ```python
        net = medframe.networks.SegResNet(3, in_channels=4, out_channels=3, init_filters=16)
        print(load_weights(net, "model.pt", key_map=SEGRESNET_KEYS))
        # fine-tuning with another number of channels and classes
        load_weights(net, "model.safetensors", strict=False, adapt_channels=True, leave_mismatched=True)
        ```

    Args:
        net: changed in place; weights keep their device and dtype.
        source: a `.safetensors` or `.pt`/`.pth` file, or names and tensors.
        key_map: from names of the source to names of the network: a table for single names; pairs (pattern,
            replacement) applied in turn by `re.sub`; or a function. None in place of a name leaves the tensor out.
        prefix: take only names that begin so, and take it off, before the key map.
        match: "name"; or "order": each tensor of the network takes the next of the source with the same shape and the
            same last part of the name ("weight", "running_mean", ...).
        strict: every name of both sides must find its place.
        adapt_channels: where the first convolution differs only in the number of input channels, take the source's
            channels in turn, scaled by old over new number, or their sum for a single channel. With match="name".
        leave_mismatched: with strict=False, let the network keep its own tensor where shapes differ, as for a head
            with another number of classes.

    Raises:
        BadArgument: match is not known, or the source holds no tensors, or two names of it fall on one.
        BadFile, TooLarge: see `medframe.base.tensor_files.read_tensor_file`.
        Incompatible: names or shapes differ; the message holds the report's table.
        NotFinite: a weight is NaN or infinite.
    """
    if match not in ("name", "order"):
        raise BadArgument("match is not known", found=repr(match), due="'name' or 'order'")
    where = None if isinstance(source, Mapping) else source
    found = _unwrap(source if isinstance(source, Mapping) else read_tensor_file(source), where)
    due = net.state_dict()
    found = _strip(found, due, prefix, key_map is None, where)
    found, aliases = _without_aliases(found)
    named: dict[str, str] = {}  # name in the source -> name after the map
    dropped: list[str] = []
    rename = _renamer(key_map)
    for name in found:
        target = rename(name)
        if target is None:
            dropped.append(name)
        else:
            named[name] = target
    pairs = _by_name(named, due, where) if match == "name" else _by_order({n: found[n] for n in named}, due)

    first = next((n for n, t in due.items() if t.dim() > 2), None)
    loaded, adapted, mismatched, fresh = [], [], [], {}
    for name, target in pairs.items():
        tensor, own = found[name], due[target]
        if tensor.shape == own.shape:
            loaded.append((name, target))
            fresh[target] = tensor
        elif adapt_channels and target == first and _differ_in_channels(tensor, own):
            adapted.append((name, target))
            fresh[target] = _with_channels(tensor, own.shape[1])
        else:
            mismatched.append((name, target, tuple(tensor.shape), tuple(own.shape)))
    given = set(pairs.values())
    _, twins = _without_aliases(due)  # a tied weight is given by either of its names
    report = KeyReport(
        tuple(loaded),
        tuple(adapted),
        tuple(mismatched),
        tuple(n for n in due if n not in given and twins.get(n) not in given),
        tuple(n for n in named if n not in pairs),
        tuple(dropped),
        tuple(aliases),
    )
    allowed = report.complete if strict else not report.mismatched or leave_mismatched
    if not allowed or not fresh:
        raise Incompatible(
            "the weights do not belong to this network" if fresh else "none of the weights belongs to this network",
            where=where,
            found=f"{report}\n",
            due=f"the {len(due)} tensors of this {type(net).__name__}",
            mend="Build it with the settings it was trained with, give a key_map or prefix, or load a part with "
            "strict=False (and leave_mismatched=True where shapes differ).",
        )
    for target, tensor in fresh.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NotFinite(
                f"the weight {target} is not finite",
                where=where,
                found=f"{int((~torch.isfinite(tensor)).sum())} NaN or infinite numbers of {tensor.numel()}",
                due="finite numbers",
                mend="The network is as it was; take an older file.",
            )
    with torch.no_grad():
        for target, tensor in fresh.items():
            due[target].copy_(tensor)
    return report


def parameter_groups(
    net: nn.Module,
    lr: float,
    decay: float = 0.0,
    *,
    layer_decay: float = 1.0,
    layers: Sequence[str] | None = None,
    no_decay: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Parameters in groups for an optimizer: lower rates near the input, no weight decay for norms and biases.

    Layer i of n, counted from the input, learns at `lr * layer_decay**(n - 1 - i)`. Weight decay is for what is called
    "weight" and has two axes or more; biases, scales and shifts of normalisations and slopes of activations have none.
    Frozen parameters are left out.

    Layer-wise rates: J. Howard, S. Ruder, "Universal language model fine-tuning for text classification", ACL 2018,
    doi:10.18653/v1/P18-1031.

    Example:
        ```python
        torch.optim.AdamW(parameter_groups(net, lr=1e-4, decay=0.05, layer_decay=0.75))
        ```

    Args:
        net: the network.
        lr: of the last layer.
        decay: weight decay.
        layer_decay: the factor from one layer to the one before it; 1 for the same rate everywhere.
        layers: names of the layers from input to output, as beginnings of parameters' names; by default the network's
            children and, of lists of modules, their items, in the order they are defined in.
        no_decay: patterns such as "*position*" of further parameters without weight decay.

    Returns:
        Dicts with "params", "lr", "weight_decay" and "name".

    Raises:
        BadArgument: numbers out of range, or layers that leave parameters out.
    """
    if lr <= 0 or decay < 0 or not 0 < layer_decay <= 1:
        raise BadArgument(
            "rates are out of range",
            found=f"lr={lr}, decay={decay}, layer_decay={layer_decay}",
            due="lr > 0, decay >= 0, 0 < layer_decay <= 1",
        )
    order = list(layers) if layers is not None else list(_blocks(net))
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, p in net.named_parameters():
        if not p.requires_grad:
            continue
        depth = next((i for i, layer in enumerate(order) if name == layer or name.startswith(layer + ".")), None)
        if depth is None:
            raise BadArgument("a parameter is in none of the layers", where=name, found=order, due="a layer for each")
        free = p.dim() < 2 or name.rpartition(".")[2] != "weight"
        free = free or any(fnmatch.fnmatchcase(name, pattern) for pattern in no_decay)
        group = groups.setdefault(
            (depth, free),
            {
                "params": [],
                "lr": lr * layer_decay ** (len(order) - 1 - depth),
                "weight_decay": 0.0 if free else decay,
                "name": f"{order[depth]}{' without decay' if free else ''}",
            },
        )
        group["params"].append(p)
    return [groups[key] for key in sorted(groups)]


def freeze(net: nn.Module, names: str | Iterable[str]) -> list[str]:
    """Stop parameters from learning, and return their names.

    Batch normalisation goes on collecting means and variances while training; put such a layer in evaluation mode to
    stop that, too.

    Args:
        net: changed in place.
        names: of parameters or of modules around them; patterns such as "encoder*" too.

    Raises:
        BadArgument: a name that is nowhere in the network.
    """
    return _require_grad(net, names, False)


def unfreeze(net: nn.Module, names: str | Iterable[str] = "*") -> list[str]:
    """Let parameters learn again, by default all, and return their names; see `freeze`."""
    return _require_grad(net, names, True)


def _require_grad(net: nn.Module, names: str | Iterable[str], value: bool) -> list[str]:
    parameters = dict(net.named_parameters())
    chosen: dict[str, None] = {}
    for pattern in [names] if isinstance(names, str) else names:
        hits = [n for n in parameters if fnmatch.fnmatchcase(n, pattern) or fnmatch.fnmatchcase(n, f"{pattern}.*")]
        if not hits:
            raise BadArgument(
                "no parameter has this name", found=repr(pattern), due=f"a part of {', '.join(_blocks(net))}"
            )
        chosen.update(dict.fromkeys(hits))
    for name in chosen:
        parameters[name].requires_grad_(value)
    return list(chosen)


def _blocks(net: nn.Module) -> list[str]:
    """The children from first to last, lists of modules taken apart, and parameters that the network itself holds."""
    blocks = [name for name, _ in net.named_parameters(recurse=False)]
    for name, child in net.named_children():
        inner = isinstance(child, nn.ModuleList | nn.Sequential) and type(child) in (nn.ModuleList, nn.Sequential)
        blocks += [f"{name}.{i}" for i in range(len(list(child.children())))] if inner else [name]
    return blocks


def _unwrap(found: Mapping[str, Any], where: str | os.PathLike[str] | None) -> dict[str, Tensor]:
    for _ in range(3):
        tensors = {name: t for name, t in found.items() if isinstance(t, Tensor)}
        if tensors:
            return tensors
        inner = next((found[w] for w in _WRAPPERS if isinstance(found.get(w), Mapping)), None)
        if inner is None:
            break
        found = inner
    raise BadArgument(
        "the source holds no weights",
        where=where,
        found=f"the names {', '.join(map(str, list(found)[:8]))}",
        due=f"names and tensors, or these under one of {', '.join(_WRAPPERS)}",
    )


def _strip(
    found: dict[str, Tensor],
    due: Mapping[str, Tensor],
    prefix: str,
    guess: bool,
    where: str | os.PathLike[str] | None,
) -> dict[str, Tensor]:
    outer = [*_PREFIXES, *(_HOLDERS if guess and not prefix else ())]
    going = True
    while going:
        going = False
        for start in outer:
            known = any(name.startswith(start) for name in due)
            if not known and all(name.startswith(start) for name in found):
                found = {name[len(start) :]: t for name, t in found.items()}
                going = True
    if not prefix:
        return found
    inner = {name[len(prefix) :]: t for name, t in found.items() if name.startswith(prefix)}
    if not inner:
        raise BadArgument(
            "no name in the source has this prefix",
            where=where,
            found=f"the names {', '.join(list(found)[:4])}",
            due=f"names that begin with {prefix!r}",
        )
    return inner


def _without_aliases(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The first name of each tensor, and of every further name of a tensor held under several the first one."""
    seen: dict[tuple[object, ...], str] = {}
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name, t in tensors.items():
        place = (t.data_ptr(), tuple(t.shape), t.stride(), t.dtype, t.device)
        if t.numel() and t.device.type != "meta" and place in seen:
            aliases[name] = seen[place]
            continue
        seen[place] = name
        kept[name] = t
    return kept, aliases


def _renamer(key_map: KeyMap | None) -> Callable[[str], str | None]:
    if key_map is None:
        return lambda name: name
    if callable(key_map):
        return key_map
    if isinstance(key_map, Mapping):
        table = key_map
        return lambda name: table.get(name, name)
    pairs = [(re.compile(pattern), replacement) for pattern, replacement in key_map]

    def rename(name: str) -> str | None:
        for pattern, replacement in pairs:
            if replacement is None:
                if pattern.search(name):
                    return None
            else:
                name = pattern.sub(replacement, name)
        return name

    return rename


def _by_name(
    named: Mapping[str, str], due: Mapping[str, Tensor], where: str | os.PathLike[str] | None
) -> dict[str, str]:
    taken: dict[str, str] = {}
    for name, target in named.items():
        if target in taken:
            raise BadArgument(
                "the key map gives two tensors one name", where=where, found=f"{taken[target]} and {name}", due=target
            )
        taken[target] = name
    return {name: target for name, target in named.items() if target in due}


def _by_order(found: Mapping[str, Tensor], due: Mapping[str, Tensor]) -> dict[str, str]:
    def kind(name: str, t: Tensor) -> tuple[str, tuple[int, ...]]:
        return name.rpartition(".")[2], tuple(t.shape)

    waiting: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name, t in found.items():
        waiting.setdefault(kind(name, t), []).append(name)
    pairs: dict[str, str] = {}
    for target, t in _without_aliases(due)[0].items():
        names = waiting.get(kind(target, t))
        if names:
            pairs[names.pop(0)] = target
    return pairs


def _differ_in_channels(tensor: Tensor, own: Tensor) -> bool:
    return tensor.dim() == own.dim() and tensor.shape[0] == own.shape[0] and tensor.shape[2:] == own.shape[2:]


def _with_channels(tensor: Tensor, channels: int) -> Tensor:
    if channels == 1:
        return tensor.sum(1, keepdim=True)
    given = tensor.shape[1]
    return tensor[:, [i % given for i in range(channels)]] * (given / channels)
