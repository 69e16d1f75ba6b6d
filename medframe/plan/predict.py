"""From a trained run and scans to label maps that lie exactly on the scans."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medframe.base.errors import BadDataset, WriteFailed
from medframe.base.extras import need
from medframe.base.rng import Rng
from medframe.data import Record, find_images
from medframe.engines import read_weights
from medframe.image import Image, LabelMap
from medframe.inferers import Precision
from medframe.io import write
from medframe.networks import DynUNet, UNet
from medframe.plan.config import RunConfig, read_config
from medframe.plan.pipeline import build_inferer, build_network, class_values, fixed_steps
from medframe.plan.rules import device_of
from medframe.transforms import KeepLargest, restore
from medframe.transforms.files import load

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Prediction:
    """What the network says of one case, on the lattice of its file.

    Args:
        case: its id.
        labels: the decided classes.
        probabilities: (K, *spatial), K all classes by rising value; None unless asked for.
        image: the scan itself, on the same lattice.
    """

    case: str
    labels: LabelMap
    probabilities: Image | None
    image: Image


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained network with everything that belongs before and after it.

    Args:
        config: the settings of the run.
        network: with its weights, in evaluation mode.
        device: where it computes.
        precision: of the network's arithmetic.
    """

    config: RunConfig
    network: DynUNet | UNet
    device: str
    precision: Precision = "float32"

    @classmethod
    def load(cls, run: str | os.PathLike[str]) -> Predictor:
        """Open a run's folder.

        Raises:
            BadConfig: the settings cannot be read.
            BadFile: the weights are missing or damaged.
            Incompatible: the weights belong to another network than the settings describe.
        """
        run = Path(run)
        config = read_config(run / "run.yaml")
        network = build_network(config)
        about = read_weights(run / WEIGHTS, network)
        device = device_of(config)
        return cls(config, network.to(device).eval(), device, about.get("precision", "float32"))

    def __call__(self, record: Record, *, probabilities: bool = False) -> Prediction:
        """Segment one case.

        Args:
            record: its files.
            probabilities: also bring the probabilities to the scan's lattice.
        """
        source = record.sample()
        source.pop("label", None)
        sample = fixed_steps(self.config, labelled=False)(source, Rng("fixed"))
        image: Image = sample["image"]
        if image.channels != len(self.config.channels):
            raise BadDataset(
                "the scan has another number of channels than the network",
                where=record.images[0],
                found=image.channels,
                due=f"{len(self.config.channels)}: {', '.join(self.config.channels)}",
            )
        likely = self.on_lattice(image.data)
        labels, shares = self._back(likely, image, probabilities)
        if self.config.keep_largest:
            labels = KeepLargest(classes=self.config.keep_largest)(labels)
        scan = load(record.images)
        return Prediction(record.case, labels, shares, scan)

    def on_lattice(self, data: Tensor) -> Tensor:
        """Class probabilities (K, *spatial) of a normalised image (C, *spatial), on its own lattice, on the CPU."""
        shape = tuple(data.shape[1:])
        inferer = build_inferer(self.config, shape, self.network.multiple, self.precision)
        logits = inferer(data[None].to(self.device, torch.float32), self.network)
        return torch.softmax(logits[0].float(), 0).cpu()

    def _back(self, likely: Tensor, image: Image, keep: bool) -> tuple[LabelMap, Image | None]:
        """Decide on the scan's own lattice: probabilities are brought there class by class, and the largest wins.

        Only a running best is kept, so memory holds two volumes and not one a class.
        """
        values = class_values(self.config)
        best: Tensor | None = None
        winner = torch.zeros(image.source_space.shape, dtype=torch.int32)
        shares = []
        for k, value in enumerate(values):
            # outside the network's lattice (after a crop) only background is possible
            how = replace(image.interpolation, order=1, border="zero", fill=1.0 if k == 0 else 0.0, antialias=False)
            one = restore(likely[k : k + 1], image).with_interpolation(how).data[0]
            if keep:
                shares.append(one)
            if best is None:
                best = one.clone()
                winner.fill_(value)
            else:
                better = one > best
                winner[better] = value
                best = torch.where(better, one, best)
        dtype = torch.uint8 if max(values) < 256 else torch.int16 if max(values) < 32768 else torch.int32
        labels = LabelMap(winner.to(dtype)[None], space=image.source_space)
        return labels, Image(torch.stack(shares), space=image.source_space) if keep else None


def predict(
    run: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    probabilities: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Segment scans with a trained run.

    Each label map has the shape and affine of its scan. Files appear whole or not at all, so an interrupted call can
    simply be run again.

    Args:
        run: the folder that `fit` wrote.
        inputs: image files, or folders of them.
        out: folder for `<case>.nii.gz`.
        probabilities: also write `<case>_probabilities.nii.gz`, one channel a class, background first.
        overwrite: replace files that exist.
        progress: show a bar.

    Returns:
        The label maps' paths.

    Raises:
        BadDataset: there is nothing to read, or two files would have one name, or a scan's.
        WriteFailed: a file exists and `overwrite` is off; said before anything is computed.
    """
    predictor = Predictor.load(run)
    records = find_images([Path(p) for p in inputs], channels=len(predictor.config.channels) > 1)
    out = Path(out)
    targets = [out / f"{record.case}.nii.gz" for record in records]
    shares = [out / f"{record.case}_probabilities.nii.gz" for record in records] if probabilities else []
    _check_targets(records, [*targets, *shares], overwrite)
    steps: Any = zip(records, targets, strict=True)
    if progress:
        steps = need("tqdm", "show progress").tqdm(steps, total=len(records), desc="predict", unit="case")
    for record, target in steps:
        made = predictor(record, probabilities=probabilities)
        write(made.labels, target, overwrite=overwrite)
        if made.probabilities is not None:
            write(made.probabilities, out / f"{record.case}_probabilities.nii.gz", overwrite=overwrite)
    return targets


def _check_targets(records: Sequence[Record], targets: Sequence[Path], overwrite: bool) -> None:
    """Say before anything is computed that a file is taken, would be written twice, or is one of the scans.

    Raises:
        BadDataset: two files would have one name, capitals apart, or a scan would be overwritten.
        WriteFailed: a file exists and `overwrite` is off.
    """
    seen: dict[str, Path] = {}
    for target in targets:
        other = seen.setdefault(os.fspath(target).casefold(), target)
        if other is not target:
            raise BadDataset(
                "two predictions would have one name",
                where=target,
                found=f"{other.name}, {target.name}",
                due="one file a case",
                mend="Rename the scans, or predict them into folders of their own.",
            )
    scans = {path.resolve() for record in records for path in record.images}
    hit = next((t for t in targets if t.resolve() in scans), None)
    if hit is not None:
        raise BadDataset(
            "a prediction would overwrite a scan",
            where=hit,
            found="the folder of the scans as --out",
            due="another folder",
            mend="Choose another --out.",
        )
    taken = [t for t in targets if t.exists()]
    if taken and not overwrite:
        raise WriteFailed(
            "the file exists",
            where=taken[0],
            found=f"{len(taken)} of {len(targets)} files are there",
            due="new names",
            mend="Choose another --out, or ask for --overwrite.",
        )
