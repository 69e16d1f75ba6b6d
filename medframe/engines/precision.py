"""Which precision is fastest here, measured."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.engines.distributed import bare
from medframe.inferers import Precision, autocast, check_precision
from medframe.inferers.precision import PRECISIONS

if TYPE_CHECKING:
    from medframe.image import Batch


@dataclass(frozen=True)
class PrecisionTrial:
    """What was measured of one precision.

    Args:
        precision: its name.
        seconds: a warm step of forward and backward pass, the quickest of several, since other work on the machine
            only ever adds time; NaN if it failed.
        loss_gap: relative difference of the loss from that of float32.
        gradient_gap: 1 less the cosine between the gradient and that of float32.
        verdict: "chosen", "good", or why it was refused.
    """

    precision: Precision
    seconds: float
    loss_gap: float
    gradient_gap: float
    verdict: str


@dataclass(frozen=True)
class PrecisionChoice:
    """The chosen precision and all that was measured; `str()` is a table for the log."""

    precision: Precision
    trials: tuple[PrecisionTrial, ...]

    def __str__(self) -> str:
        lines = [f"{'precision':<10} {'ms a step':>10} {'loss gap':>9} {'grad gap':>9}  verdict"]
        lines += [
            f"{t.precision:<10} {t.seconds * 1e3:>10.1f} {t.loss_gap:>9.1e} {t.gradient_gap:>9.1e}  {t.verdict}"
            for t in self.trials
        ]
        return "\n".join(lines)


def choose_precision(
    model: nn.Module,
    batch: Batch | Mapping[str, Any],
    loss: Callable[[Any, Tensor], Tensor],
    candidates: Sequence[Precision] = PRECISIONS,
    *,
    image: str = "image",
    label: str = "label",
    repeats: int = 6,
    tolerance: float = 0.05,
    gain: float = 0.05,
) -> PrecisionChoice:
    """Run a copy of the model in each precision and choose the fastest that is finite and agrees with float32.

    The copy is made on the device of the model, which is left as it is. float32 is always measured, since the others
    are compared with it. Another precision has to be faster by the share `gain`, so that noise does not choose.

    Args:
        model: as it will be trained, on its device.
        batch: one typical batch.
        loss: from the model's answer and the labels to a number.
        candidates: precisions to try.
        image: the batch's key for the images.
        label: its key for the labels.
        repeats: timed steps, after a warm one; the candidates take turns, so all copies of the model are held at once.
        tolerance: the largest loss and gradient gap allowed, see `PrecisionTrial`.
        gain: see above.

    Raises:
        BadArgument: no such precision, or float32 itself fails or is not finite.
    """
    for name in candidates:
        check_precision(name)
    device = next(model.parameters()).device
    images, labels = batch[image].to(device), batch[label].to(device)
    names: list[Precision] = ["float32", *(c for c in dict.fromkeys(candidates) if c != "float32")]
    runs: dict[Precision, _Run] = {}
    refused: dict[Precision, str] = {}
    for name in names:
        try:
            runs[name] = _Run.warm(copy.deepcopy(bare(model)), (images, labels), loss, name)
        except RuntimeError as error:  # the device or an operation does not know this precision
            if name == "float32":
                raise
            refused[name] = _reason(error)
    # in turns, so that other work on the machine slows all of them alike
    times: dict[Precision, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name in [n for n in runs if n not in refused]:
            try:
                times[name].append(runs[name].timed())
            except RuntimeError as error:
                if name == "float32":
                    raise
                refused[name] = _reason(error)
    exact = runs["float32"].value, runs["float32"].gradient()
    trials: list[PrecisionTrial] = []
    for name in names:
        if name in refused:
            nan = float("nan")
            trials.append(PrecisionTrial(name, nan, nan, nan, f"refused: {refused[name]}"))
            continue
        value, gradient = runs[name].value, runs[name].gradient()
        loss_gap = abs(value - exact[0]) / max(abs(exact[0]), 1e-12)
        gradient_gap = 1 - float(nn.functional.cosine_similarity(gradient, exact[1], dim=0, eps=1e-30))
        finite = bool(torch.isfinite(gradient).all()) and math.isfinite(value)
        if not finite:
            verdict = "refused: not finite"
        elif loss_gap > tolerance or gradient_gap > tolerance:
            verdict = f"refused: differs by more than {tolerance:g}"
        else:
            verdict = "good"
        trials.append(PrecisionTrial(name, min(times[name]), loss_gap, gradient_gap, verdict))
    if trials[0].verdict != "good":
        raise BadArgument("the first step is not finite", found=f"loss {exact[0]}", mend="Check the batch.")
    best = trials[0]
    for trial in trials[1:]:
        if trial.verdict == "good" and trial.seconds < best.seconds * (1 - gain):
            best = trial
    told = tuple(_with_verdict(t, "chosen") if t is best else t for t in trials)
    return PrecisionChoice(best.precision, told)


@dataclass(eq=False)
class _Run:
    """A copy of the model at work in one precision.

    Args:
        model: in training mode.
        pair: images and labels.
        loss: from the model's answer and the labels to a number.
        precision: of the arithmetic.
        scale: of the loss, so that small gradients survive.
        value: the loss of the last step.
    """

    model: nn.Module
    pair: tuple[Tensor, Tensor]
    loss: Callable[[Any, Tensor], Tensor]
    precision: Precision
    scale: float
    value: float = float("nan")

    @classmethod
    def warm(
        cls,
        model: nn.Module,
        pair: tuple[Tensor, Tensor],
        loss: Callable[[Any, Tensor], Tensor],
        precision: Precision,
    ) -> _Run:
        """After one step, with a scale at which the gradient is finite, as a gradient scaler would find it."""
        model.train()
        run = cls(model, pair, loss, precision, 65536.0 if precision == "float16" else 1.0)
        run.step()
        while run.scale > 1 and not _finite(model):
            run.scale /= 16
            run.step()
        return run

    def step(self) -> None:
        """Forward and backward pass."""
        self.model.zero_grad(set_to_none=True)
        images, labels = self.pair
        device = images.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)  # the same dropout for every precision
            with autocast(self.precision, device):
                answer = self.model(images)
            value = self.loss(_float(answer), labels)
            torch.autograd.backward(value * self.scale)
        self.value = float(value.detach())  # waits for the device

    def timed(self) -> float:
        """Seconds of one step."""
        device = self.pair[0].device
        _wait(device)
        begin = time.perf_counter()
        self.step()
        _wait(device)
        return time.perf_counter() - begin

    def gradient(self) -> Tensor:
        """The last gradient as one vector in float64 on the CPU."""
        grads = [p.grad.double().flatten().cpu() / self.scale for p in self.model.parameters() if p.grad is not None]
        return torch.cat(grads)


def _reason(error: RuntimeError) -> str:
    return (str(error).splitlines() or ["it failed"])[0][:60]


def _finite(model: nn.Module) -> bool:
    return all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)


def _float(answer: Any) -> Any:
    return answer.float() if isinstance(answer, Tensor) else [a.float() for a in answer]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _with_verdict(trial: PrecisionTrial, verdict: str) -> PrecisionTrial:
    return PrecisionTrial(trial.precision, trial.seconds, trial.loss_gap, trial.gradient_gap, verdict)
