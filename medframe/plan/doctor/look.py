"""One case is looked at: its headers, and its voxels where that is asked for. Faults become findings, not errors."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.errors import BadFile, MedframeError, MedframeWarning
from medframe.data import Record
from medframe.data.identity import files_behind
from medframe.data.listing import relative
from medframe.geometry import Space
from medframe.image import Image, LabelMap
from medframe.io import read
from medframe.plan.doctor.findings import Finding
from medframe.transforms.files import load

_EDGE = 64 << 10  # bytes hashed of a file in the quick form
_SAMPLE = 1 << 20  # voxels a channel that percentiles are taken from, evenly spaced


@dataclass(frozen=True)
class Channel:
    """Intensities of one channel.

    Args:
        lowest: of the finite values.
        highest: of the finite values.
        low: 1st percentile.
        middle: median.
        high: 99th percentile.
        at_top: share of voxels that have the highest value.
    """

    lowest: float
    highest: float
    low: float
    middle: float
    high: float
    at_top: float


@dataclass(frozen=True)
class Look:
    """What one case is like; geometry is None where a file could not be read.

    Args:
        record: its files.
        images: their names relative to the dataset.
        label: the label's name, or "".
        space: the image's lattice.
        channels: of the image.
        axcodes: axis directions as stored.
        tilt: degrees between the lattice axes and the nearest world axes, at most.
        size: bytes of the image files.
        mark: hash of the files' first bytes and sizes (quick form), or of the voxels.
        label_mark: the same of the label; "" where it is empty or there is none.
        whole: whether the marks cover every voxel.
        intensities: per channel, where voxels were read.
        counts: voxels of each label value, where voxels were read.
        findings: what is wrong with this case alone.
    """

    record: Record
    images: tuple[str, ...]
    label: str
    space: Space | None = None
    channels: int = 0
    axcodes: str = ""
    tilt: float = 0.0
    size: int = 0
    mark: str = ""
    label_mark: str = ""
    whole: bool = False
    intensities: tuple[Channel, ...] = ()
    counts: Mapping[int, int] | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def case(self) -> str:
        return self.record.case

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Millimetres along the axes nearest to right, front, top, so that cases stored differently compare."""
        return self._standing.spacing

    @property
    def extent(self) -> NDArray[np.float64]:
        """Millimetres from edge to edge, in the same order."""
        return self._standing.extent

    @property
    def _standing(self) -> Space:
        assert self.space is not None
        return self.space.reoriented("RAS"[: self.space.ndim])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        known = self.space
        return {
            "case": self.case,
            "images": list(self.images),
            "label": self.label or None,
            "shape": None if known is None else list(known.shape),
            "spacing": None if known is None else [float(s) for s in known.spacing],
            "axcodes": self.axcodes or None,
            "channels": self.channels or None,
            "bytes": self.size,
            "intensities": [asdict(c) for c in self.intensities],
            "label_counts": None if self.counts is None else {str(k): n for k, n in sorted(self.counts.items())},
        }


def look_at(record: Record, root: Path, classes: Mapping[int, str], heard: Heard, *, voxels: bool) -> Look:
    """Look at one case.

    Args:
        record: its files.
        root: the dataset's folder, which names are shown relative to.
        classes: the declared classes; empty where nothing is declared.
        heard: listens to warnings.
        voxels: also read the voxels.
    """
    images = tuple(relative(p, root) for p in record.images)
    label = "" if record.label is None else relative(record.label, root)
    case = record.case
    out: list[Finding] = []
    facts: dict[str, Any] = {}
    absent = [p for p in (*record.images, *([record.label] if record.label else [])) if not p.exists()]
    for path in absent:
        out.append(
            Finding(
                "error",
                "file",
                "the file is not there",
                case,
                relative(path, root),
                found="no such file",
                due="every file that the dataset names",
                mend="Copy the missing file, or take the case off the list.",
                error="BadFile",
            )
        )
    here = _Case(case, out, heard)
    image = _open_image(record, root, here) if not set(absent) & set(record.images) else None
    if image is not None:
        facts |= _geometry(image)
        facts |= _marks(record.images, "size", "mark")
    truth = None
    if record.label is not None and record.label not in absent:
        truth = here.open(record.label, LabelMap, label)
        if truth is not None:
            facts["label_mark"] = _marks((record.label,), "_", "mark").get("mark", "")
            _pair(image, truth, case, label, out)
    if voxels and image is not None:
        facts |= _intensities(image, case, images[0], out)
    if voxels and truth is not None:
        facts |= _labels(truth, classes, case, label, out)
    if voxels:
        facts["whole"] = True
        facts.setdefault("mark", "")
    return Look(record, images, label, findings=tuple(out), **facts)


def _open_image(record: Record, root: Path, case: _Case) -> Image | None:
    # channel by channel first: an error then names its own file
    names = [relative(p, root) for p in record.images]
    opened = [case.open(p, Image, name) for p, name in zip(record.images, names, strict=True)]
    parts = [p for p in opened if p is not None]
    if len(parts) < len(names):
        return None
    if len(parts) == 1:
        return parts[0]
    for name, part in zip(names[1:], parts[1:], strict=True):
        if not part.space.matches(parts[0].space):
            case.out.append(
                Finding(
                    "error",
                    "lattice",
                    "the channels of the case lie on different lattices",
                    record.case,
                    name,
                    found=str(part.space),
                    due=f"that of {Path(names[0]).name}: {parts[0].space}",
                    mend="Resample the channels onto one lattice first (medframe.transforms.MatchSpace).",
                    error="BadGeometry",
                )
            )
            return None
    return load(record.images)


class Heard:
    """What is warned about while cases are read, told apart by thread.

    `warnings.catch_warnings` changes the whole process, so one stands around all threads, and this listens in it.
    """

    def __init__(self) -> None:
        self._own = threading.local()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Heard:
        self._stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", MedframeWarning)
        warnings.showwarning = self._hear
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _hear(self, message: Warning | str, *_: Any, **__: Any) -> None:
        self.here.append(str(message))

    @property
    def here(self) -> list[str]:
        """What this thread has heard."""
        if not hasattr(self._own, "said"):
            self._own.said = []
        said: list[str] = self._own.said
        return said


@dataclass(frozen=True)
class _Case:
    name: str
    out: list[Finding]
    heard: Heard

    def open(self, path: Path, kind: type[Image], file: str) -> Image | None:
        """The image of a file, or None after a finding."""
        field = "label file" if issubclass(kind, LabelMap) else "image file"
        self.heard.here.clear()
        try:
            opened = read(path, kind)
        except MedframeError as error:
            self.out.append(Finding.of_error(error, field=field, case=self.name, file=file))
            return None
        # a warning begins with the file as messages show it
        alarms = [text.partition(": ")[2] or text for text in self.heard.here]
        notes = [str(n) for n in opened.meta.get("notes", ())]
        for text in dict.fromkeys([*alarms, *notes]):
            serious = text in alarms
            what = "the header's place is in doubt" if serious else "the header needed an assumption"
            self.out.append(
                Finding("warning" if serious else "note", "header", what, self.name, file, found=text, error="BadFile")
            )
        return opened


def _geometry(image: Image) -> dict[str, Any]:
    nearest = np.abs(image.space.direction).max(0)
    tilt = float(np.degrees(np.arccos(np.clip(nearest, 0, 1))).max())
    return {"space": image.space, "channels": image.channels, "axcodes": image.space.axcodes, "tilt": round(tilt, 3)}


def _pair(image: Image | None, truth: Image, case: str, name: str, out: list[Finding]) -> None:
    if image is not None and not image.space.matches(truth.space):
        far = image.space.distance(truth.space)
        out.append(
            Finding(
                "error",
                "lattice",
                "image and label lie on different lattices",
                case,
                name,
                found=f"{truth.space}" + (f", up to {far:.3g} mm off" if np.isfinite(far) else ""),
                due=f"the image's {image.space}",
                mend="Resample the label onto the image (medframe.transforms.MatchSpace), or mend the wrong header.",
                error="BadGeometry",
            )
        )
    if truth.channels != 1:
        out.append(
            Finding(
                "error",
                "channels",
                "a label map has one channel",
                case,
                name,
                found=str(truth.channels),
                due="1",
                mend="Join the channels into one map of numbered classes.",
                error="BadLabel",
            )
        )


def _marks(paths: tuple[Path, ...], size: str, mark: str) -> dict[str, Any]:
    """Size and a hash of the first bytes of all files, names left out."""
    total = 0
    digest = hashlib.blake2b(digest_size=12)
    try:
        for part in (p for path in paths for p in files_behind(path)):
            count = part.stat().st_size
            total += count
            with open(part, "rb") as stream:
                digest.update(f"{count}|".encode() + stream.read(_EDGE))
    except (OSError, BadFile):
        return {size: total, mark: ""}
    return {size: total, mark: digest.hexdigest()}


def _intensities(image: Image, case: str, name: str, out: list[Finding]) -> dict[str, Any]:
    try:
        data = image.data
    except MedframeError as error:
        out.append(Finding.of_error(error, field="voxels", case=case, file=name))
        return {"mark": ""}
    mark = voxel_hash(data)
    found = []
    for k, channel in enumerate(data):
        values = channel.reshape(-1)
        odd = 0
        if values.dtype.is_floating_point:
            good = torch.isfinite(values)
            odd = int(values.numel() - int(good.sum()))
            if odd:
                place = torch.nonzero(~torch.isfinite(channel))[0].tolist()
                out.append(
                    Finding(
                        "error",
                        "voxels",
                        "the image holds voxels that are NaN or infinite",
                        case,
                        name,
                        found=f"{odd} of {values.numel()} voxels, the first at {tuple(place)}"
                        + (f" of channel {k}" if len(data) > 1 else ""),
                        due="finite values",
                        mend="Replace them (0 outside the body is usual), or leave the case out.",
                        error="BadVoxels",
                    )
                )
                values = values[good]
        if not values.numel():
            continue
        facts = _channel(values)
        if facts.lowest == facts.highest:
            out.append(
                Finding(
                    "error",
                    "voxels",
                    "the image is constant",
                    case,
                    name,
                    found=f"{facts.lowest:g} at every voxel" + (f" of channel {k}" if len(data) > 1 else ""),
                    due="contrast",
                    mend="Export the image again, or leave the case out.",
                    error="BadVoxels",
                )
            )
        found.append(facts)
    return {"mark": mark, "intensities": tuple(found) if len(found) == len(data) else ()}


def _channel(values: Tensor) -> Channel:
    lowest, highest = (float(v) for v in torch.aminmax(values))
    at_top = float((values == values.max()).sum()) / values.numel()
    sample = values[:: max(1, values.numel() // _SAMPLE)].double().numpy()
    low, middle, high = (float(v) for v in np.percentile(sample, [1, 50, 99]))
    return Channel(lowest, highest, low, middle, high, round(at_top, 6))


def _labels(truth: Image, classes: Mapping[int, str], case: str, name: str, out: list[Finding]) -> dict[str, Any]:
    try:
        data = truth.data
    except MedframeError as error:
        out.append(Finding.of_error(error, field="label values", case=case, file=name))
        return {"label_mark": ""}
    values, counts = torch.unique(data, return_counts=True)
    present = {int(v): int(n) for v, n in zip(values, counts, strict=True)}
    unknown = sorted(set(present) - set(classes) - {0}) if classes else [v for v in present if v < 0]
    if unknown:
        place = torch.nonzero(data == unknown[0])[0, 1:].tolist()
        more = " and more" if len(unknown) > 8 else ""
        out.append(
            Finding(
                "error",
                "label values",
                "the label map holds values outside the declared classes",
                case,
                name,
                found=f"{unknown[:8]}{more}, the first at voxel {tuple(place)}",
                due=f"values among {sorted({0, *classes})}" if classes else "values from 0",
                mend="Declare them in the dataset's list of labels, or mend the label map.",
                error="BadLabel",
            )
        )
    empty = set(present) <= {0}
    if empty:
        out.append(
            Finding(
                "warning",
                "label values",
                "the label map is empty",
                case,
                name,
                found="background at every voxel",
                due="at least one labelled voxel",
                mend="If nothing is there to be labelled, all is well; else label the case or leave it out.",
            )
        )
    return {"counts": present, "label_mark": "" if empty else voxel_hash(data)}


def voxel_hash(data: Tensor) -> str:
    """A hash of shape and values: an image keeps it in another format, compression or integer dtype.

    Values are hashed as float64, which merges none but integers above 2^53.
    """
    digest = hashlib.blake2b(repr(tuple(data.shape)).encode(), digest_size=12)
    flat = data.reshape(-1)
    for start in range(0, flat.numel(), _SAMPLE):
        part = flat[start : start + _SAMPLE].double() + 0.0  # -0.0 is 0.0
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()
