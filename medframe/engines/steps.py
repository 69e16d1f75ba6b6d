"""One training step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from medframe.base.errors import BadArgument
from medframe.base.rng import Rng
from medframe.engines.distributed import bare, mean_over_ranks, rank, world_size
from medframe.engines.ema import Ema
from medframe.engines.guards import case_ids, not_finite_gradient, not_finite_loss
from medframe.engines.progress import total_steps
from medframe.engines.step_state import load_step, step_state
from medframe.inferers import Precision, autocast, check_precision

if TYPE_CHECKING:
    from ignite.engine import Engine

    from medframe.image import Batch

Loss: TypeAlias = Callable[[Any, Tensor], Tensor]


class TrainStep:
    """Forward, loss, backward and, at the end of each group of batches, an update: an ignite process function.

    Called with an engine (or None, by hand) and a batch it answers with a dictionary: "loss", the batch's loss as a
    float, averaged over ranks, and "cases", the ids of this rank's cases.

    The gradient of a group is the mean over its batches. The last group of a run may be shorter and is then divided
    by its own number. A loss or gradient that is not finite raises before the weights are changed; in float16 a
    gradient that overflows only lowers the loss scale, and the update is left out, as is usual.

    Chance inside the network (dropout, stochastic depth) is a function of `seed`, the iteration and the rank, so that
    no generator's state has to be saved and a resumed run goes on with the same numbers.

    Args:
        model: from images (B, C, *spatial) to logits, or to a sequence of them; it is moved to the device. To train on
            several ranks, `wrap` it first.
        loss: from the model's answer, in float32, and the labels to a number.
        optimiser: over the model's parameters.
        device: where to compute.
        precision: of the forward and backward pass; weights and loss are float32. "float16" scales the loss.
        accumulate: batches an update.
        clip: the largest norm of the gradient of all parameters together; None for no limit.
        ema: decay of the running mean of the weights per update, see `Ema`; None for none.
        image: the batch's key for the images.
        label: its key for the labels.
        seed: of chance inside the network.

    Raises:
        BadArgument: when made with values out of their domain, or when the loss is no single number.
        NotFinite: in a call, with the cases, the step and the last checkpoint.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimiser: torch.optim.Optimizer,
        *,
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
        accumulate: int = 1,
        clip: float | None = None,
        ema: float | None = None,
        image: str = "image",
        label: str = "label",
        seed: int = 0,
    ) -> None:
        check_precision(precision)
        if accumulate < 1:
            raise BadArgument("at least one batch an update", where="accumulate", found=accumulate)
        if clip is not None and not clip > 0:
            raise BadArgument("the largest norm is positive", where="clip", found=clip, mend="None for no limit.")
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.loss = loss
        self.optimiser = optimiser
        self.precision: Precision = precision
        self.accumulate = accumulate
        self.clip = clip
        self.image = image
        self.label = label
        self.seed = seed
        self.ema = None if ema is None else Ema(bare(self.model), ema)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "float16")
        self.iterations = 0
        """Batches seen."""
        self.updates = 0
        """Updates made."""
        self.samples = 0
        """Samples seen, over all ranks."""
        self.pending = 0
        """Batches whose gradients wait for an update."""
        self._waiting: list[str] = []  # their cases, for messages

    @property
    def eval_model(self) -> nn.Module:
        """The model to judge and to keep: the running mean of the weights if there is one."""
        return bare(self.model) if self.ema is None else self.ema.model

    def __call__(self, engine: Engine | None, batch: Batch | Mapping[str, Any]) -> dict[str, Any]:
        if not self.model.training:
            self.model.train()
        images: Tensor = batch[self.image].to(self.device, non_blocking=True)
        labels: Tensor = batch[self.label].to(self.device, non_blocking=True)
        cases = case_ids(batch, self.image)
        number = self.iterations + 1
        complete = self.pending + 1 >= self.accumulate or number == total_steps(engine)
        if self.pending == 0:
            self.optimiser.zero_grad(set_to_none=True)
            self._waiting = []
        alone = getattr(self.model, "no_sync", nullcontext) if not complete else nullcontext
        with alone(), self._chance(number):
            with autocast(self.precision, self.device):
                answer = self.model(images)
            outputs = _as_float(answer)
            loss = self.loss(outputs, labels)
            if loss.ndim:
                raise BadArgument("the loss is no single number", found=f"shape {tuple(loss.shape)}", due="a mean")
            torch.autograd.backward(self.scaler.scale(loss / self.accumulate))
        value = mean_over_ranks(loss.detach()).item()
        if not math.isfinite(value):
            seen = [outputs] if isinstance(outputs, Tensor) else list(outputs)
            raise not_finite_loss(loss.item(), number, cases, {"input": [images], "output": seen}, engine)
        self.pending += 1
        self._waiting += cases
        if complete:
            self._update(number, engine)
        self.iterations = number
        self.samples += images.shape[0] * world_size()
        return {"loss": value, "cases": cases}

    def _update(self, number: int, engine: Engine | None) -> None:
        self.scaler.unscale_(self.optimiser)
        trained = [p for group in self.optimiser.param_groups for p in group["params"] if p.grad is not None]
        if self.pending < self.accumulate:
            torch._foreach_mul_([p.grad for p in trained], self.accumulate / self.pending)
        norm = clip_grad_norm_(trained, math.inf if self.clip is None else self.clip)
        scale = self.scaler.get_scale()
        if math.isfinite(norm.item()):
            self.scaler.step(self.optimiser)
            self.updates += 1
            if self.ema is not None:
                self.ema.update(bare(self.model))
        elif not self.scaler.is_enabled() or scale <= 1:  # a scale of one overflows nothing: the gradient itself is bad
            raise not_finite_gradient(bare(self.model), number, self._waiting, engine)
        self.scaler.update()
        self.pending = 0

    @contextmanager
    def _chance(self, number: int) -> Iterator[None]:
        cuda = self.device.type == "cuda"
        with torch.random.fork_rng([self.device] if cuda else []):
            torch.manual_seed(Rng("network", self.seed, number, rank()).seed % (1 << 63))
            yield

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, as nested dictionaries of tensors and JSON values.

        With several ranks, every rank has to call it: gradients that wait for an update are averaged.
        """
        return step_state(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            Incompatible: it belongs to another network or optimiser; nothing was changed.
        """
        load_step(self, state)


def _as_float(answer: Any) -> Any:
    if isinstance(answer, Tensor):
        return answer.float() if answer.dtype in (torch.float16, torch.bfloat16) else answer
    if isinstance(answer, Sequence):
        return [_as_float(a) for a in answer]
    raise BadArgument("the model's answer is no tensor", found=type(answer).__name__, due="logits, or a list of them")
