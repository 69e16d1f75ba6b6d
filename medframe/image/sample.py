"""Samples are plain mappings; a Batch is their stacked tensors with every sample's place kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from medframe.base.errors import BadGeometry
from medframe.image.image import Image, Place

Sample: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """Tensors (B, C, *spatial) for a network, and for each sample what a tensor cannot hold.

    Args:
        tensors: one stacked tensor a key.
        places: for each key, the places of the B images; never stacked.
        kinds: for each key, `Image` or `LabelMap`.
        extras: everything else, as lists of B.
    """

    tensors: Mapping[str, Tensor]
    places: Mapping[str, tuple[Place, ...]]
    kinds: Mapping[str, type[Image]]
    extras: Mapping[str, tuple[Any, ...]]

    def __getitem__(self, key: str) -> Any:
        """The stacked tensor of an image key, or the list of another."""
        return self.tensors[key] if key in self.tensors else self.extras[key]

    def __contains__(self, key: object) -> bool:
        return key in self.tensors or key in self.extras

    def __len__(self) -> int:
        for tensor in self.tensors.values():
            return int(tensor.shape[0])
        return max((len(v) for v in self.extras.values()), default=0)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch with its tensors on another device."""
        moved = {k: t.to(device, non_blocking=non_blocking) for k, t in self.tensors.items()}
        return Batch(moved, self.places, self.kinds, self.extras)

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory (asked for by torch's loader)."""
        return Batch({k: t.pin_memory() for k, t in self.tensors.items()}, self.places, self.kinds, self.extras)

    def samples(self) -> list[dict[str, Any]]:
        """The samples again, images with their places; tensors are views."""
        out: list[dict[str, Any]] = []
        for i in range(len(self)):
            sample: dict[str, Any] = {k: v[i] for k, v in self.extras.items()}
            for key, tensor in self.tensors.items():
                place = self.places[key][i]
                # `at` gives labels their usual interpolation; these had one of their own
                sample[key] = self.kinds[key].at(tensor[i], place).with_interpolation(place.interpolation)
            out.append(sample)
        return out


def collate(samples: Sequence[Sample | Sequence[Sample]]) -> Batch:
    """Stack samples into a Batch; lists of samples (several crops of one case) are flattened first.

    Raises:
        BadGeometry: images of one key differ in shape or kind, or samples in keys.
    """
    flat: list[Sample] = []
    for item in samples:
        flat.extend([item] if isinstance(item, Mapping) else item)
    if not flat:
        raise BadGeometry("an empty batch", due="at least one sample")
    keys = list(flat[0])
    for sample in flat:
        if set(sample) != set(keys):
            raise BadGeometry("samples of one batch differ in keys", found=sorted(sample), due=sorted(keys))
    tensors, places, kinds, extras = {}, {}, {}, {}
    for key in keys:
        members = [sample[key] for sample in flat]
        if not any(isinstance(m, Image) for m in members):
            extras[key] = tuple(members)
            continue
        if len({type(m) for m in members}) > 1:
            found = sorted({type(m).__name__ for m in members})
            raise BadGeometry(f"members {key!r} of one batch differ in kind", found=found, due="one kind")
        shapes = [m.shape for m in members]
        if len(set(shapes)) > 1:
            raise BadGeometry(
                f"images {key!r} of one batch differ in shape",
                found=sorted(set(shapes)),
                due="one shape",
                mend="End the pipeline with a step that fixes it, such as RandomCrop or PadTo.",
            )
        tensors[key] = torch.stack([m.data for m in members])
        places[key] = tuple(m.place for m in members)
        kinds[key] = type(members[0])
    return Batch(tensors, places, kinds, extras)
