"""The settings of a run: one flat, readable file in which every choice stands with its reason."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from medframe.base.errors import BadConfig
from medframe.base.extras import need
from medframe.base.files import write_text

FORMAT = 1
_SECTIONS = {
    "dataset": "the data",
    "orientation": "the lattice every case is brought to",
    "normalise": "intensities",
    "patch": "what the network sees at once",
    "network": "the network",
    "minutes": "training",
    "flip": "augmentation: ranges are drawn anew for every patch",
    "overlap": "prediction",
    "device": "the machine",
}


@dataclass(frozen=True)
class RunConfig:
    """Every setting of a run. Units: millimetres, degrees, minutes.

    Args:
        dataset: the dataset's folder or list.
        name: of the dataset.
        classes: label value -> name; 0 is background.
        channels: names of the image channels.
        fold: which fold is held out: never trained on, never used to choose anything, scored at the end.
        folds: how many folds the cases are split into.
        monitor: how many training cases are set aside to choose the best model by.
        seed: of all chance.
        orientation: axis directions.
        spacing: mm per axis.
        crop: "none", or "nonzero" to cut away empty margins first.
        normalise: per channel: "zscore", "zscore_nonzero" or "ct".
        intensity: per channel, for "ct": lowest, highest, mean and standard deviation of the foreground.
        patch: voxels per axis.
        batch: patches a step.
        foreground: share of patches centred on a class.
        network: "DynUNet" or "UNet".
        features: channels of each level, finest first.
        strides: of each level's first convolution.
        kernels: kernel size of each level.
        deep_supervision: also score coarser outputs while training.
        minutes: time for training, the survey and preparation included; None when `steps` is given.
        steps: optimiser steps; None when `minutes` is given.
        optimiser: "adamw" or "sgd" (Nesterov 0.99).
        learning_rate: the highest.
        weight_decay: as the optimiser defines it.
        warmup: steps of rising learning rate.
        decay: the last share of the steps, over which the learning rate falls to zero.
        ema: decay of the running mean of the weights, which is what is kept; 0 for none.
        clip: largest gradient norm.
        accumulate: steps whose gradients are added up.
        precision: "float32", "bfloat16", "float16", or "auto" to measure which is fastest.
        validate_every: steps between looks at the monitor cases.
        flip: directions mirrored with probability 1/2 each, such as "RAS"; "" for none.
        rotate: degrees about each axis.
        scale: zoom factor.
        elastic: mm of smooth deformation.
        spatial_p: probability of each of rotate, scale and elastic.
        noise: standard deviation, in units of the normalised image.
        blur: sigma in voxels.
        brightness: factor.
        contrast: factor.
        low_resolution: zoom before interpolating back.
        gamma: exponent.
        intensity_p: probability of each of these.
        overlap: share by which neighbouring windows overlap.
        mirror: directions over which mirrored predictions are averaged.
        keep_largest: classes of which only the largest component is kept.
        device: "auto", "cpu" or "cuda".
        threads: of the CPU; 0 for all.
        workers: processes that prepare patches; 0 prepares them in the training process.
    """

    dataset: str = ""
    name: str = ""
    classes: dict[int, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ("image",)
    fold: int = 0
    folds: int = 5
    monitor: int = 0
    seed: int = 0
    orientation: str = "RAS"
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    crop: str = "none"
    normalise: tuple[str, ...] = ("zscore",)
    intensity: tuple[tuple[float, float, float, float], ...] = ()
    patch: tuple[int, ...] = (64, 64, 64)
    batch: int = 2
    foreground: float = 0.67
    network: str = "DynUNet"
    features: tuple[int, ...] = (16, 32, 64, 128)
    strides: tuple[tuple[int, ...], ...] = ()
    kernels: tuple[tuple[int, ...], ...] = ()
    deep_supervision: bool = False
    minutes: float | None = 15.0
    steps: int | None = None
    optimiser: str = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    warmup: int = 100
    decay: float = 0.7
    ema: float = 0.995
    clip: float = 5.0
    accumulate: int = 1
    precision: str = "auto"
    validate_every: int = 200
    flip: str = ""
    rotate: tuple[float, float] = (-20.0, 20.0)
    scale: tuple[float, float] = (0.8, 1.25)
    elastic: tuple[float, float] = (0.0, 0.0)
    spatial_p: float = 0.9
    noise: tuple[float, float] = (0.0, 0.1)
    blur: tuple[float, float] = (0.5, 1.0)
    brightness: tuple[float, float] = (0.75, 1.25)
    contrast: tuple[float, float] = (0.75, 1.25)
    low_resolution: tuple[float, float] = (0.5, 1.0)
    gamma: tuple[float, float] = (0.7, 1.5)
    intensity_p: float = 0.15
    overlap: float = 0.5
    mirror: str = ""
    keep_largest: tuple[int, ...] = ()
    device: str = "auto"
    threads: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        choices = {
            "network": ("DynUNet", "UNet"),
            "optimiser": ("adamw", "sgd"),
            "precision": ("auto", "float32", "bfloat16", "float16"),
            "crop": ("none", "nonzero"),
            "device": ("auto", "cpu", "cuda"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise BadConfig("not a choice", where=name, found=getattr(self, name), due=" or ".join(allowed))
        for how in self.normalise:
            if how not in ("zscore", "zscore_nonzero", "ct"):
                raise BadConfig("not a choice", where="normalise", found=how, due="zscore, zscore_nonzero or ct")
        if not 0 <= self.fold < self.folds:
            raise BadConfig("no such fold", where="fold", found=self.fold, due=f"0 to {self.folds - 1}")
        if self.minutes is None and self.steps is None:
            raise BadConfig("a run needs an end", where="minutes", found="neither minutes nor steps", due="one of them")
        positive = ("batch", "learning_rate", "accumulate", "validate_every", "folds")
        for name in positive:
            if not getattr(self, name) > 0:
                raise BadConfig("must be positive", where=name, found=getattr(self, name))
        for name in ("foreground", "spatial_p", "intensity_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadConfig("a probability", where=name, found=getattr(self, name), due="0 to 1")
        if not 0 <= self.overlap < 1 or not 0 <= self.decay <= 1 or not 0 <= self.ema < 1:
            found = f"overlap={self.overlap}, decay={self.decay}, ema={self.ema}"
            raise BadConfig("a share", where="overlap, decay or ema", found=found, due="0 to 1")

    @property
    def ndim(self) -> int:
        return len(self.spacing)

    def changed(self, values: Mapping[str, Any]) -> RunConfig:
        """The same settings with some changed; values as YAML gives them.

        Raises:
            BadConfig: a name is unknown (with the closest known one) or a value is of the wrong kind.
        """
        hints = get_type_hints(RunConfig)
        ready: dict[str, Any] = {}
        for name, value in values.items():
            if name not in hints:
                close = difflib.get_close_matches(name, hints, 1)
                mend = f"Did you mean {close[0]!r}?" if close else "See run.yaml for the names."
                raise BadConfig("no such setting", where=name, found=name, mend=mend)
            ready[name] = _coerce(name, value, hints[name])
        if "steps" in ready and "minutes" not in ready and ready["steps"] is not None:
            ready["minutes"] = None
        return replace(self, **ready)


def _coerce(name: str, value: Any, kind: Any) -> Any:
    """A YAML value as the kind a field is declared with."""
    wrong = BadConfig("of the wrong kind", where=name, found=repr(value), due=_kind_name(kind))
    options = get_args(kind)
    if type(None) in options:
        return None if value is None else _coerce(name, value, next(o for o in options if o is not type(None)))
    origin = get_origin(kind)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise wrong
        inner = options[0] if len(options) == 2 and options[1] is Ellipsis else None
        if inner is None and len(value) != len(options):
            raise wrong
        return tuple(_coerce(name, v, inner or options[i]) for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise wrong
        return {_coerce(name, k, options[0]): _coerce(name, v, options[1]) for k, v in value.items()}
    if kind is bool:
        if not isinstance(value, bool):
            raise wrong
        return value
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, int | float) or (kind is int and value != int(value)):
            raise wrong
        return kind(value)
    if not isinstance(value, str):
        raise wrong
    return value


def _kind_name(kind: Any) -> str:
    return str(kind).replace("<class '", "").replace("'>", "").replace("typing.", "")


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """`name=value` words of a command line; values are YAML.

    Raises:
        BadConfig: a word without "=", or a value that is not YAML.
    """
    yaml = need("yaml", "read settings")
    out: dict[str, Any] = {}
    for item in items:
        name, sign, text = item.partition("=")
        if not sign:
            raise BadConfig("not a setting", where=item, found=item, due="name=value")
        try:
            out[name.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise BadConfig("not a value", where=name, found=text, due="a YAML value, such as 3 or [1, 2]") from None
    return out


def write_config(path: str | os.PathLike[str], config: RunConfig, why: Mapping[str, str]) -> None:
    """Write the settings as YAML, one a line, each with its reason behind it."""
    yaml = need("yaml", "write settings")
    lines = ["# Settings of this run. Every line can be given on the command line as name=value.", f"format: {FORMAT}"]
    values = asdict(config)
    for f in fields(config):
        if f.name in _SECTIONS:
            lines += ["", f"# {_SECTIONS[f.name]}"]
        text = yaml.safe_dump(_plain(values[f.name]), default_flow_style=True, width=10**6, sort_keys=False)
        text = text.removesuffix("\n").removesuffix("\n...")
        reason = why.get(f.name)
        lines.append(f"{f.name}: {text}" + (f"  # {reason}" if reason else ""))
    write_text(path, "\n".join(lines) + "\n")


def read_config(path: str | os.PathLike[str]) -> RunConfig:
    """Read what `write_config` wrote.

    Raises:
        BadConfig: missing, not YAML, unknown names, wrong kinds, or of a newer format.
    """
    yaml = need("yaml", "read settings")
    path = Path(path)
    mend = "Give the folder that `medframe fit` wrote."
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig("the settings cannot be read", where=path, found=error.strerror, mend=mend) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadConfig("the settings are not YAML", where=path, found=str(error).splitlines()[0], mend=mend) from None
    if not isinstance(values, dict) or not isinstance(values.get("format"), int):
        raise BadConfig("not the settings of a run", where=path, found=type(values).__name__, mend=mend)
    if values.pop("format") > FORMAT:
        raise BadConfig("the settings are of a newer format", where=path, due=FORMAT, mend="Update medframe.")
    return RunConfig().changed(values)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
