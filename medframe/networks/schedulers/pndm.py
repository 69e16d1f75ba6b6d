"""Sampling that remembers the last few answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.networks.schedulers.noise import NoiseScheduler


class PNDMScheduler(NoiseScheduler):
    """A linear multi-step method over the last four answers, begun by a Runge-Kutta method.

    It holds the answers of one image (or one batch) at a time; `set_timesteps` forgets them.

    L. Liu, Y. Ren, Z. Lin, Z. Zhao, "Pseudo numerical methods for diffusion models on manifolds", ICLR 2022,
    arXiv:2202.09778.

    Args:
        num_train_timesteps: see `NoiseScheduler`.
        skip_prk_steps: begin with lower orders of the multi-step method instead of Runge-Kutta.
        set_alpha_to_one: the last step ends at the image itself, not at the first training step.
        options: see `NoiseScheduler`; the method has no image to clip.

    Raises:
        BadArgument: see `NoiseScheduler`; or a prediction type that is not "epsilon" or "v_prediction".

    Example:
        >>> import torch
        >>> scheduler = PNDMScheduler(skip_prk_steps=True)
        >>> scheduler.set_timesteps(4)
        >>> scheduler.timesteps
        tensor([750, 500, 500, 250,   0])
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        *,
        skip_prk_steps: bool = False,
        set_alpha_to_one: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(num_train_timesteps, **{"clip_sample": False, **options})
        if self.prediction_type == "sample":
            raise BadArgument("the method adds up noise, not images", found="sample", due="epsilon or v_prediction")
        self.skip_prk_steps = skip_prk_steps
        self.final = 1.0 if set_alpha_to_one else float(self.alphas_cumprod[0])
        self.set_timesteps(num_train_timesteps)

    def set_timesteps(self, num_inference_steps: int) -> None:
        super().set_timesteps(num_inference_steps)
        plain = self.timesteps.flip(0)  # ascending
        if self.skip_prk_steps:
            self.warm = torch.zeros(0, dtype=torch.long)
            # the second step is done twice: the first time for its answer only
            self.timesteps = torch.cat([plain[:-1], plain[-2:-1], plain[-1:]]).flip(0)
        else:
            if num_inference_steps < 4:
                raise BadArgument(
                    "Runge-Kutta begins with four steps",
                    found=f"num_inference_steps={num_inference_steps}",
                    due="4 or more",
                    mend="Or give skip_prk_steps=True.",
                )
            pairs = plain[-4:].repeat_interleave(2) + torch.tensor([0, self.stride // 2]).repeat(4)
            self.warm = pairs[:-1].repeat_interleave(2)[1:-1].flip(0)
            self.timesteps = torch.cat([self.warm, plain[:-3].flip(0)])
        self.answers: list[Tensor] = []
        self.calls = 0
        self._sum: Tensor | float = 0.0
        self._start: Tensor | None = None

    def step(self, model_output: Tensor, timestep: int, sample: Tensor) -> tuple[Tensor, None]:
        """One call of the method; call it for each of `timesteps` in turn.

        Args:
            model_output: the network's answer.
            timestep: which of `timesteps` this is.
            sample: the noisy image.

        Returns:
            The sample to give to the network next; None, as the method implies no image.
        """
        if self.calls < len(self.warm):
            return self._runge_kutta(model_output, timestep, sample), None
        return self._multi_step(model_output, timestep, sample), None

    def _runge_kutta(self, answer: Tensor, timestep: int, sample: Tensor) -> Tensor:
        before = timestep - (0 if self.calls % 2 else self.stride // 2)
        timestep = int(self.warm[self.calls // 4 * 4])
        stage = self.calls % 4
        if stage == 0:
            self._sum = answer / 6
            self.answers.append(answer)
            self._start = sample
        elif stage < 3:
            self._sum = self._sum + answer / 3
        else:
            answer = self._sum + answer / 6
            self._sum = 0.0
        assert self._start is not None
        self.calls += 1
        return self._carry(self._start, timestep, before, answer)

    def _multi_step(self, answer: Tensor, timestep: int, sample: Tensor) -> Tensor:
        before = timestep - self.stride
        if self.calls != 1:
            self.answers = [*self.answers[-3:], answer]
        else:  # the step that is done twice
            before, timestep = timestep, timestep + self.stride
        last = self.answers[::-1]
        if len(last) == 1 and self.calls == 0:
            self._start = sample
        elif len(last) == 1 and self.calls == 1:
            answer = (answer + last[0]) / 2
            assert self._start is not None
            sample, self._start = self._start, None
        elif len(last) == 2:
            answer = (3 * last[0] - last[1]) / 2
        elif len(last) == 3:
            answer = (23 * last[0] - 16 * last[1] + 5 * last[2]) / 12
        else:
            answer = (55 * last[0] - 59 * last[1] + 37 * last[2] - 9 * last[3]) / 24
        self.calls += 1
        return self._carry(sample, timestep, before, answer)

    def _carry(self, sample: Tensor, timestep: int, before: int, answer: Tensor) -> Tensor:
        """Formula (9) of the paper: a sample from one step to another along an estimate of the noise."""
        kept = self.kept_at(timestep)
        earlier = self.kept_at(before) if before >= 0 else self.final
        if self.prediction_type == "v_prediction":
            answer = kept**0.5 * answer + (1 - kept) ** 0.5 * sample
        scale = kept * (1 - earlier) ** 0.5 + (kept * (1 - kept) * earlier) ** 0.5
        carried: Tensor = (earlier / kept) ** 0.5 * sample - (earlier - kept) / scale * answer
        return carried
