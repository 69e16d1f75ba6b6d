"""Straight ways between noise and images."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from medframe.base.errors import BadArgument


class RFlowScheduler:
    """Rectified flow: an image and noise are mixed linearly in time, and the network answers the way between them.

    X. Liu, C. Gong, Q. Liu, "Flow straight and fast: learning to generate and transfer data with rectified flow", ICLR
    2023, arXiv:2209.03003; logit-normal times P. Esser et al., "Scaling rectified flow transformers for high-resolution
    image synthesis", ICML 2024, arXiv:2403.03206.

    Args:
        num_train_timesteps: the time of pure noise; the image is at time 0.
        use_discrete_timesteps: times are whole numbers.
        sample_method: how `sample_timesteps` draws: "uniform" or "logit-normal".
        loc: mean of the normal behind "logit-normal".
        scale: its deviation.

    Raises:
        BadArgument: an unknown method, or no steps.

    Example:
        >>> import torch
        >>> scheduler = RFlowScheduler()
        >>> image, noise = torch.zeros(1, 1, 4, 4), torch.randn(1, 1, 4, 4)
        >>> scheduler.set_timesteps(2)
        >>> x = noise
        >>> for t, after in scheduler.pairs():
        ...     x, _ = scheduler.step(scheduler.target(image, noise), t, x, after)
        >>> bool(x.abs().max() < 1e-6)
        True
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        *,
        use_discrete_timesteps: bool = True,
        sample_method: Literal["uniform", "logit-normal"] = "uniform",
        loc: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        if num_train_timesteps < 1:
            raise BadArgument(
                "there are no steps", found=f"num_train_timesteps={num_train_timesteps}", due="at least 1"
            )
        if sample_method not in ("uniform", "logit-normal"):
            raise BadArgument("sample_method is not known", found=repr(sample_method), due="uniform or logit-normal")
        self.num_train_timesteps = num_train_timesteps
        self.use_discrete_timesteps = use_discrete_timesteps
        self.sample_method = sample_method
        self.loc, self.scale = loc, scale
        self.set_timesteps(num_train_timesteps)

    def set_timesteps(self, num_inference_steps: int) -> None:
        """Choose how many steps making an image takes.

        Raises:
            BadArgument: fewer than 1 or more than there are times.
        """
        if not 1 <= num_inference_steps <= self.num_train_timesteps:
            raise BadArgument(
                "an image cannot be made in so many steps",
                found=f"num_inference_steps={num_inference_steps}",
                due=f"1 to {self.num_train_timesteps}",
            )
        times = 1 - torch.arange(num_inference_steps, dtype=torch.float64) / num_inference_steps
        times = times * self.num_train_timesteps
        self.timesteps = times.round().long() if self.use_discrete_timesteps else times.float()
        """The times to go through when an image is made, in order."""

    def pairs(self) -> list[tuple[float, float]]:
        """Each of `timesteps` and the one after it; the last goes to 0."""
        times = [float(t) for t in self.timesteps]
        return list(zip(times, [*times[1:], 0.0], strict=True))

    def sample_timesteps(self, x_start: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A random time (B,) for each image of a batch, for training."""
        shape = (x_start.shape[0],)
        if self.sample_method == "uniform":
            t = torch.rand(shape, generator=generator)
        else:
            t = torch.sigmoid(self.loc + self.scale * torch.randn(shape, generator=generator))
        t = t * self.num_train_timesteps
        return (t.floor().long() if self.use_discrete_timesteps else t).to(x_start.device)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The images (B, C, *spatial) at their times (B,)."""
        t = (timesteps.to(original_samples.dtype) / self.num_train_timesteps).to(original_samples.device)
        t = t.reshape(-1, *(1,) * (original_samples.dim() - 1))
        return (1 - t) * original_samples + t * noise

    def target(self, original_samples: Tensor, noise: Tensor) -> Tensor:
        """What the network should answer: the way from noise to image."""
        return original_samples - noise

    def step(
        self, model_output: Tensor, timestep: float, sample: Tensor, next_timestep: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """One step along the way.

        Args:
            model_output: the network's answer.
            timestep: the time of `sample`.
            sample: the mixture.
            next_timestep: the time to go to; None goes on by one of equally many steps as `timesteps` has.

        Returns:
            The mixture at the next time, and the image that the answer implies.
        """
        t = float(timestep) / self.num_train_timesteps
        if next_timestep is None:
            ahead = 1 / len(self.timesteps)
        else:
            ahead = t - float(next_timestep) / self.num_train_timesteps
        if not math.isfinite(ahead):
            raise BadArgument("a time is not finite", found=f"{timestep}, {next_timestep}", due="numbers")
        return sample + model_output * ahead, sample + model_output * t
