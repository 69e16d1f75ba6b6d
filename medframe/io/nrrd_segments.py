"""Slicer's segmentations in NRRD files: which label of which layer is which segment.

Source: 3D Slicer documentation, "Segmentation file format (.seg.nrrd)".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medframe.geometry import Source
from medframe.io.nrrd_header import NrrdHeader
from medframe.io.text_header import bad, whole

_KEY = re.compile(r"Segment(\d{1,6})_(Name|LabelValue|Layer)")
_MOST = 10_000


@dataclass(frozen=True)
class Segment:
    """One segment.

    Args:
        name: as the user gave it.
        value: its label.
        layer: the channel it lies in.
    """

    name: str
    value: int
    layer: int


def segments_of(header: NrrdHeader, where: Path) -> tuple[Segment, ...]:
    """The segments that a header lists, by number; none for a file that is no segmentation.

    Raises:
        BadFile: two segments share a label in a layer, or a layer is not there.
    """
    facts: dict[int, dict[str, str]] = {}
    for key, value in header.values.items():
        match = _KEY.fullmatch(key)
        if match:
            facts.setdefault(int(match[1]), {})[match[2]] = value
    if len(facts) > _MOST:
        raise bad(where, "Segment", f"{len(facts)} segments", f"at most {_MOST}")
    axes = header.fields.get("space directions", "").lower().split()
    layers = header.sizes[0] if axes[:1] == ["none"] else header.sizes[-1] if axes[-1:] == ["none"] else 1
    found = []
    for number in sorted(facts):
        fact = facts[number]
        if "LabelValue" in fact:
            label = whole(fact["LabelValue"], where, f"Segment{number}_LabelValue")
            layer = whole(fact.get("Layer", "0"), where, f"Segment{number}_Layer", 0)
        else:  # before Slicer 4.11 each segment was a layer of zeros and ones
            label, layer = 1, number
        if layer >= layers:
            raise bad(where, f"Segment{number}_Layer", layer, f"0 to {layers - 1}")
        found.append(Segment(fact.get("Name", f"Segment{number}")[:64], label, layer))
    places = [(s.layer, s.value) for s in found]
    if len(set(places)) < len(places):
        twice = next(p for p in places if places.count(p) > 1)
        raise bad(where, "Segment_LabelValue", f"two segments with label {twice[1]} in layer {twice[0]}", "one")
    return tuple(found)


@dataclass(frozen=True, eq=False)
class OneLayer:
    """One channel of a source, as a source of one channel.

    Args:
        source: of several channels.
        layer: which one.
    """

    source: Source
    layer: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, *self.source.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        return self.source.dtype

    @property
    def device(self) -> torch.device:
        return self.source.device

    def read(self, window: tuple[slice, ...]) -> Tensor:
        return self.source.read(window)[self.layer : self.layer + 1]


def pick_layer(source: Source, layer: int) -> OneLayer:
    """One layer of a segmentation."""
    return OneLayer(source, layer)
