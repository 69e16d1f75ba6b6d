"""A settled sample as named arrays and JSON, and back, equal to the bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.geometry import Displacement, Interpolation, Space
from medframe.image import Boxes, Image, LabelMap, Place, Points

FORMAT = 1  # of what `encode` makes; a change here makes all entries stale
_TAG = "!"


def settle(sample: Any) -> Any:
    """A sample, or a list of them, with every warp paid and every tensor standing alone in memory, in C order.

    A sum depends on the order of its terms, so what follows sees the same layout whether a sample was made or read.
    """
    if isinstance(sample, list):
        return [settle(one) for one in sample]
    return {key: _alone(member) if isinstance(member, Image) else member for key, member in sample.items()}


def _alone(image: Image) -> Image:
    settled = image.settled()
    data = settled.data
    if data.is_contiguous() and data.untyped_storage().nbytes() == data.numel() * data.element_size():
        return settled
    return settled.with_data(data.clone(memory_format=torch.contiguous_format))


def in_memory(sample: Any) -> Any:
    """A settled sample whose images do not lie in a memory-mapped file, which each hold a file open."""
    if isinstance(sample, list):
        return [in_memory(one) for one in sample]
    return {k: v.with_data(v.data.clone()) if isinstance(v, Image) else v for k, v in sample.items()}


@dataclass(frozen=True)
class Encoded:
    """What the container takes: arrays by number, and JSON that refers to them."""

    json: Any
    tensors: Mapping[str, Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())


def encode(sample: Any) -> Encoded:
    """Take a settled sample (or a list of them) apart.

    Raises:
        BadArgument: a member is of a kind that cannot be stored, with its key.
    """
    writer = _Writer()
    return Encoded(writer.value(sample, ()), writer.tensors)


def decode(json: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The sample again; its images lie in `tensors`, all else is copied out."""
    return _Reader(tensors).value(json)


@dataclass
class _Writer:
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def keep(self, tensor: Tensor) -> str:
        name = str(len(self.tensors))
        self.tensors[name] = tensor
        return name

    def keep_array(self, array: np.ndarray[Any, Any]) -> str:
        native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
        return self.keep(torch.from_numpy(native))

    def value(self, value: Any, at: tuple[str, ...]) -> Any:
        if isinstance(value, np.bool_ | np.integer | np.floating) and value.itemsize <= 8:
            return {_TAG: "scalar", "dtype": value.dtype.name, "v": self.value(value.item(), at)}
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float) and not isinstance(value, np.generic):
            return float(value) if math.isfinite(value) else {_TAG: "float", "v": repr(float(value))}
        if isinstance(value, list):
            return [self.value(v, (*at, str(i))) for i, v in enumerate(value)]
        if type(value) is tuple:
            return {_TAG: "tuple", "v": [self.value(v, (*at, str(i))) for i, v in enumerate(value)]}
        if isinstance(value, Mapping):  # as pairs: the order of keys is kept, and keys may be anything
            pairs = [[self.value(k, at), self.value(v, (*at, str(k)))] for k, v in value.items()]
            return {_TAG: "map", "v": pairs}
        if isinstance(value, Path):
            return {_TAG: "path", "v": str(value)}
        if type(value) in (Image, LabelMap):
            kind = "labels" if type(value) is LabelMap else "image"
            return {_TAG: kind, "data": self.keep(value.data), "place": self.place(value.place, at)}
        if type(value) is Tensor:
            return {_TAG: "tensor", "t": self.keep(value)}
        if type(value) is np.ndarray and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
            return {_TAG: "array", "t": self.keep_array(value)}
        if isinstance(value, Points):
            labels = None if value.labels is None else self.keep_array(np.asarray(value.labels))
            kept = {"names": self.value(value.names, at), "labels": labels, "meta": self.value(value.meta, at)}
            return {_TAG: "points", "world": self.keep_array(value.world), **kept}
        if isinstance(value, Boxes):
            kept = {"labels": self.value(value.labels, at), "meta": self.value(value.meta, at)}
            return {_TAG: "boxes", "world": self.keep_array(value.world), **kept}
        if isinstance(value, Space):
            return {_TAG: "space", **value.to_json()}
        raise BadArgument(
            "a member of the sample cannot be cached",
            where=".".join(at),
            found=f"{type(value).__module__}.{type(value).__qualname__}",
            due="images, label maps, points, boxes, arrays, text, numbers, and lists or mappings of these",
            mend="Drop it at the end of the fixed steps, or make it in the random ones.",
        )

    def place(self, place: Place, at: tuple[str, ...]) -> Any:
        how = place.interpolation
        return {
            "space": place.space.to_json(),
            "source": place.source_space.to_json(),
            "deformation": [self.displacement(d) for d in place.deformation],
            "how": [how.order, how.border, self.value(float(how.fill), at), how.antialias],
            "meta": self.value(place.meta, (*at, "meta")),
        }

    def displacement(self, d: Displacement) -> Any:
        return {"t": self.keep(d.values), "knots": d.knots.to_json(), "order": d.order, "inverse": d.inverse}


@dataclass(frozen=True)
class _Reader:
    tensors: Mapping[str, Tensor]

    def array(self, name: str) -> np.ndarray[Any, Any]:
        return self.tensors[name].numpy().copy()  # a copy holds no file open

    def value(self, json: Any) -> Any:
        if isinstance(json, list):
            return [self.value(v) for v in json]
        if not isinstance(json, dict):
            return json
        kind = json[_TAG]
        if kind == "map":
            return {self.value(k): self.value(v) for k, v in json["v"]}
        if kind == "tuple":
            return tuple(self.value(v) for v in json["v"])
        if kind == "float":
            return float(json["v"])
        if kind == "scalar":
            return np.dtype(json["dtype"]).type(self.value(json["v"]))
        if kind == "path":
            return Path(json["v"])
        if kind == "tensor":
            return self.tensors[json["t"]].clone()
        if kind == "array":
            return self.array(json["t"])
        if kind == "space":
            return Space.from_json(json)
        if kind == "points":
            labels = None if json["labels"] is None else self.array(json["labels"])
            names, meta = self.value(json["names"]), self.value(json["meta"])
            return Points(self.array(json["world"]), names, labels, meta)
        if kind == "boxes":
            return Boxes(self.array(json["world"]), self.value(json["labels"]), self.value(json["meta"]))
        place = self.place(json["place"])
        image = (LabelMap if kind == "labels" else Image).at(self.tensors[json["data"]], place)
        return image.with_interpolation(place.interpolation)  # `at` may choose another for a label map

    def place(self, json: Any) -> Place:
        order, border, fill, antialias = json["how"]
        return Place(
            Space.from_json(json["space"]),
            Space.from_json(json["source"]),
            tuple(self.displacement(d) for d in json["deformation"]),
            Interpolation(order, border, self.value(fill), antialias),
            MappingProxyType(self.value(json["meta"])),
        )

    def displacement(self, json: Any) -> Displacement:
        values = self.tensors[json["t"]].clone()
        there = Displacement(values, Space.from_json(json["knots"]), json["order"])
        return there.inverted if json["inverse"] else there
