"""Sampling without chance, in few steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.networks.schedulers.noise import NoiseScheduler, noise_like


class DDIMScheduler(NoiseScheduler):
    """Every step goes the way that the network's answer points, over as many training steps as wanted.

    J. Song, C. Meng, S. Ermon, "Denoising diffusion implicit models", ICLR 2021, arXiv:2010.02502.

    Args:
        num_train_timesteps: see `NoiseScheduler`.
        set_alpha_to_one: the last step ends at the image itself, not at the first training step.
        steps_offset: added to all of `timesteps`.
        options: see `NoiseScheduler`.

    Raises:
        BadArgument: see `NoiseScheduler`.

    Example:
        >>> import torch
        >>> scheduler = DDIMScheduler()
        >>> scheduler.set_timesteps(4)
        >>> scheduler.timesteps
        tensor([750, 500, 250,   0])
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        *,
        set_alpha_to_one: bool = True,
        steps_offset: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(num_train_timesteps, **options)
        if not 0 <= steps_offset < num_train_timesteps:
            raise BadArgument("the steps' offset is beyond them", found=steps_offset, due="0 or a few steps")
        self.final = 1.0 if set_alpha_to_one else float(self.alphas_cumprod[0])
        self.steps_offset = steps_offset
        self.timesteps = (self.timesteps + steps_offset).clamp(max=num_train_timesteps - 1)

    def set_timesteps(self, num_inference_steps: int) -> None:
        super().set_timesteps(num_inference_steps)
        self.timesteps = (self.timesteps + self.steps_offset).clamp(max=self.num_train_timesteps - 1)

    def step(
        self,
        model_output: Tensor,
        timestep: int,
        sample: Tensor,
        eta: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One step back.

        Args:
            model_output: the network's answer.
            timestep: which step `sample` is at.
            sample: the noisy image.
            eta: 0 for no chance, 1 for as much as ancestral sampling has.
            generator: of the draw; None for torch's own.

        Returns:
            The sample at the step before, and the image that the answer implies.
        """
        kept, before = self.kept_at(timestep), self._before(timestep - self.stride)
        image, noise = self.implied(model_output, sample, kept)
        image = self.clipped(image)
        deviation = eta * ((1 - before) / (1 - kept) * (1 - kept / before)) ** 0.5
        towards = before**0.5 * image + max(1 - before - deviation**2, 0.0) ** 0.5 * noise
        if eta > 0:
            towards = towards + deviation * noise_like(sample, generator)
        return towards, image

    def reversed_step(self, model_output: Tensor, timestep: int, sample: Tensor) -> tuple[Tensor, Tensor]:
        """One step towards noise, the way that `step` would come back: finds the noise that an image is made from."""
        kept = self.kept_at(timestep)
        image, noise = self.implied(model_output, sample, kept)
        image = self.clipped(image)
        after = timestep + self.stride
        later = self.kept_at(after) if after < self.num_train_timesteps else self.final
        return later**0.5 * image + (1 - later) ** 0.5 * noise, image

    def _before(self, timestep: int) -> float:
        return self.kept_at(timestep) if timestep >= 0 else self.final
