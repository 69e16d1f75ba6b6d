"""The training of a run, put together from the framework's parts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medframe.base.extras import has
from medframe.base.files import write_text
from medframe.data import Cache, Dataset, Key, KeySampler, loader
from medframe.engines import (
    TrainStep,
    choose_precision,
    from_first,
    is_first,
    rank,
    read_weights,
    train,
    trainer,
    world_size,
    wrap,
    write_weights,
)
from medframe.handlers import (
    BestModel,
    Checkpoint,
    CSVLog,
    ProgressBar,
    Schedule,
    Signals,
    TensorBoardLog,
    TimeBudget,
    Validate,
    WarmupStableDecay,
    resume,
)
from medframe.image import collate
from medframe.inferers import Precision
from medframe.metrics import joint_histogram
from medframe.plan.config import RunConfig
from medframe.plan.job import CACHE, CHECKPOINTS, LOG, Job
from medframe.plan.pipeline import build_loss, build_network, build_optimiser, class_values, fixed_steps, random_steps
from medframe.plan.predict import WEIGHTS, Predictor
from medframe.plan.rules import device_of

_LOOKS = 0.2  # of a time budget may go into looks at the monitor cases
_MEMORY = 4 << 30  # settled training cases up to this many bytes are kept in memory


def train_network(job: Job) -> None:
    """Train from where the run stands to its end; afterwards the weights to use lie in the run's folder."""
    config, cases, folder = job.config, job.cases, job.folder
    device = device_of(config)
    fixed, chance = fixed_steps(config, labelled=True), random_steps(config)
    cache = Cache(folder / CACHE)
    voxels = 8 * len(config.channels) * int(np.prod(config.patch))  # a guess: settled cases are rarely eight patches
    small = voxels * len(cases.train) * 8 < _MEMORY
    data = Dataset(cases.train, fixed, chance, config.seed, cache, memory=small)
    looks = Dataset(cases.monitor, fixed, None, config.seed, cache, memory=True) if cases.monitor else None
    for part in (data, looks):
        if part is not None and is_first():
            part.prepare(progress=job.progress)
    from_first(None)  # the other ranks wait for the cache

    network = build_network(config)
    if config.ndim == 3:
        network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # stubs lack it
    network = network.to(device)
    loss = build_loss(config)
    precision = _precision(job, network, loss, data)
    model = wrap(network)
    step = TrainStep(
        model,
        loss,
        build_optimiser(config, network),
        device=device,
        precision=precision,
        accumulate=config.accumulate,
        clip=config.clip,
        ema=config.ema or None,
        seed=config.seed,
    )
    state = resume(folder / CHECKPOINTS, step)
    if state is not None:
        job.say(f"going on after step {state.iteration}")
    engine = trainer(step, state)
    curve = WarmupStableDecay(warmup=config.warmup, decay=config.decay)
    Schedule(step, curve).attach(engine)
    minutes = config.minutes if config.steps is None else None
    if minutes is not None:
        spent = time.monotonic() - job.begun if state is None else 0.0
        TimeBudget(max(minutes - spent / 60, 0.05), curve).attach(engine)
    if looks is not None:
        judge = Monitor(config, step, looks, device)
        Validate(config.validate_every, judge, share=None if minutes is None else _LOOKS).attach(engine)
        BestModel(folder, step, "dice").attach(engine)
    CSVLog(folder / LOG, step).attach(engine)
    if has("tensorboard"):
        TensorBoardLog(folder / "tensorboard", step).attach(engine)
    Checkpoint(folder / CHECKPOINTS, step, every=config.validate_every).attach(engine)
    Signals().attach(engine)
    if job.progress:
        ProgressBar().attach(engine)
    start = state.samples if state is not None else 0
    keys = KeySampler(len(data), config.seed, start=start, rank=rank(), world=world_size())
    batches = loader(data, config.batch, keys, workers=config.workers)
    job.say(f"training on {len(cases.train)} cases, {len(cases.monitor)} monitor, {len(cases.held_out)} held out")
    train(engine, batches, steps=config.steps, epoch_length=config.validate_every)
    if is_first():
        _keep_best(config, step, folder)


def _precision(job: Job, network: Any, loss: Any, data: Dataset) -> Any:
    """The arithmetic: as set, as the run began, or the fastest one measured that agrees with float32."""
    config, path = job.config, job.folder / "precision.txt"
    if config.precision != "auto":
        return config.precision
    if is_first() and not path.exists():
        batch = collate([data[Key(0, i % len(data))] for i in range(config.batch)])
        candidates: tuple[Precision, ...] = ("bfloat16", "float16") if device_of(config) == "cuda" else ("bfloat16",)
        choice = choose_precision(network, batch, loss, candidates)
        write_text(path, f"{choice.precision}\n\n{choice}\n")
        job.say(f"precision {choice.precision}, the fastest of\n{choice}")
    # a run keeps what it began with: measuring again could turn out otherwise
    return from_first(path.read_text(encoding="utf-8").split()[0] if is_first() else None)


@dataclass(frozen=True, eq=False)
class Monitor:
    """Dice on the monitor cases, on the network's lattice; asked by `Validate`.

    Args:
        config: of the run.
        step: whose `eval_model` is judged.
        cases: the monitor cases, settled.
        device: where to compute.
    """

    config: RunConfig
    step: TrainStep
    cases: Dataset
    device: str

    def __call__(self) -> dict[str, float]:
        network: Any = self.step.eval_model
        was_training = network.training
        network.eval()
        predictor = Predictor(self.config, network, self.device, self.step.precision)
        values = class_values(self.config)
        sums: dict[str, list[float]] = {self.config.classes.get(v, f"class {v}"): [] for v in values if v}
        for i in range(len(self.cases)):
            sample = self.cases.settled(i)
            found = predictor.on_lattice(sample["image"].data).argmax(0)
            counts = joint_histogram(found, sample["label"].data[0], list(range(1, len(values))))
            for k, scores in enumerate(sums.values(), start=1):
                size = int(counts[k].sum() + counts[:, k].sum())
                if size:  # a class absent on both sides says nothing
                    scores.append(2 * int(counts[k, k]) / size)
        network.train(was_training)
        means = {f"dice {name}": float(np.mean(s)) if s else float("nan") for name, s in sums.items()}
        defined = [v for v in means.values() if np.isfinite(v)]
        return {"dice": float(np.mean(defined)) if defined else float("nan"), **means}


def _keep_best(config: RunConfig, step: TrainStep, folder: Path) -> None:
    """Put the weights to use under their final name: the best by the monitor cases, or the last ones."""
    best = folder / "best.safetensors"
    about: dict[str, Any] = {"precision": step.precision, "iteration": step.iterations}
    if best.exists():
        network = build_network(config)
        about = read_weights(best, network)
        write_weights(folder / WEIGHTS, network, about)
    else:
        write_weights(folder / WEIGHTS, step.eval_model, about)
