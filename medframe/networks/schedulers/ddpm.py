"""Ancestral sampling."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.networks.schedulers.noise import NoiseScheduler, noise_like


class DDPMScheduler(NoiseScheduler):
    """Every step back is drawn from the distribution that the network's answer implies.

    With fewer steps than the network was trained with, each covers the way to the next of `timesteps`.

    J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020, arXiv:2006.11239.

    Args:
        num_train_timesteps: see `NoiseScheduler`.
        variance_type: of the draw: the posterior's ("fixed_small") or the step's own ("fixed_large").
        options: see `NoiseScheduler`.

    Raises:
        BadArgument: see `NoiseScheduler`; or an unknown variance.

    Example:
        >>> import torch
        >>> scheduler = DDPMScheduler(100)
        >>> x = torch.randn(1, 1, 8, 8)
        >>> for t in scheduler.timesteps[:3]:
        ...     x, image = scheduler.step(torch.zeros_like(x), int(t), x)
        >>> x.shape
        torch.Size([1, 1, 8, 8])
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        *,
        variance_type: Literal["fixed_small", "fixed_large"] = "fixed_small",
        **options: Any,
    ) -> None:
        super().__init__(num_train_timesteps, **options)
        if variance_type not in ("fixed_small", "fixed_large"):
            raise BadArgument("variance is not known", found=repr(variance_type), due="fixed_small or fixed_large")
        self.variance_type = variance_type

    def step(
        self, model_output: Tensor, timestep: int, sample: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """One step back.

        Args:
            model_output: the network's answer.
            timestep: which step `sample` is at.
            sample: the noisy image.
            generator: of the draw; None for torch's own.

        Returns:
            The sample at the step before, and the image that the answer implies.
        """
        kept, before = self.kept_at(timestep), self.kept_at(timestep - self.stride)
        alpha = kept / before
        image, _ = self.implied(model_output, sample, kept)
        image = self.clipped(image)
        mean = before**0.5 * (1 - alpha) / (1 - kept) * image + alpha**0.5 * (1 - before) / (1 - kept) * sample
        if timestep - self.stride < 0:
            return mean, image
        variance = 1 - alpha
        if self.variance_type == "fixed_small":
            variance = max((1 - before) / (1 - kept) * variance, 1e-20)
        return mean + variance**0.5 * noise_like(sample, generator), image
