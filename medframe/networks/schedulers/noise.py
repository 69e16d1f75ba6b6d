"""What all diffusion schedulers share: how much noise each step holds."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from medframe.base.errors import BadArgument

Schedule: TypeAlias = Literal["linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"]
Prediction: TypeAlias = Literal["epsilon", "sample", "v_prediction"]


def betas_of(schedule: Schedule, steps: int, beta_start: float, beta_end: float) -> Tensor:
    """The variance each step adds, (steps,) float64.

    "linear_beta" J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020, arXiv:2006.11239;
    "scaled_linear_beta", linear in the square root, R. Rombach et al., CVPR 2022, doi:10.1109/CVPR52688.2022.01042;
    "cosine" A. Nichol, P. Dhariwal, "Improved denoising diffusion probabilistic models", ICML 2021, arXiv:2102.09672.

    Raises:
        BadArgument: an unknown schedule.
    """
    if schedule == "linear_beta":
        return torch.linspace(beta_start, beta_end, steps, dtype=torch.float64)
    if schedule == "scaled_linear_beta":
        return torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
    if schedule == "sigmoid_beta":
        return torch.linspace(-6, 6, steps, dtype=torch.float64).sigmoid() * (beta_end - beta_start) + beta_start
    if schedule == "cosine":
        x = torch.linspace(0, steps, steps + 1, dtype=torch.float64)
        kept = torch.cos((x / steps + 0.008) / 1.008 * math.pi * 0.5) ** 2
        kept = kept / kept[0]
        return (1 - kept[1:] / kept[:-1]).clamp(0.0001, 0.9999)
    raise BadArgument(
        "noise schedule is not known",
        found=repr(schedule),
        due="linear_beta, scaled_linear_beta, sigmoid_beta or cosine",
    )


class NoiseScheduler:
    """Steps 0 to `num_train_timesteps` - 1 that each mix a little more noise into an image.

    Args:
        num_train_timesteps: how many.
        schedule: how their variances grow, see `betas_of`.
        prediction_type: what the network answers: the noise ("epsilon"), the image ("sample"), or the velocity
            ("v_prediction"; T. Salimans, J. Ho, "Progressive distillation for fast sampling of diffusion models", ICLR
            2022, arXiv:2202.00512).
        clip_sample: hold the image that the network implies within `clip_range`.
        clip_range: the images' lowest and highest value.
        beta_start: the first step's variance.
        beta_end: the last one's.

    Raises:
        BadArgument: an unknown schedule or prediction type, or no steps.
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        *,
        schedule: Schedule = "linear_beta",
        prediction_type: Prediction = "epsilon",
        clip_sample: bool = True,
        clip_range: tuple[float, float] = (-1.0, 1.0),
        beta_start: float = 1e-4,
        beta_end: float = 2e-2,
    ) -> None:
        if num_train_timesteps < 1:
            raise BadArgument(
                "there are no steps", found=f"num_train_timesteps={num_train_timesteps}", due="at least 1"
            )
        if prediction_type not in ("epsilon", "sample", "v_prediction"):
            raise BadArgument(
                "prediction type is not known", found=repr(prediction_type), due="epsilon, sample or v_prediction"
            )
        self.num_train_timesteps = num_train_timesteps
        self.prediction_type = prediction_type
        self.clip_sample = clip_sample
        self.clip_range = clip_range
        self.betas = betas_of(schedule, num_train_timesteps, beta_start, beta_end)
        self.alphas_cumprod = torch.cumprod(1 - self.betas, 0)
        """The share of the image's variance that is left after each step."""
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)
        """The steps to go through when an image is made, in order."""
        self.stride = 1

    def set_timesteps(self, num_inference_steps: int) -> None:
        """Choose how many steps making an image takes: every so many-th of all.

        Raises:
            BadArgument: fewer than 1 or more than there are.
        """
        if not 1 <= num_inference_steps <= self.num_train_timesteps:
            raise BadArgument(
                "an image cannot be made in so many steps",
                found=f"num_inference_steps={num_inference_steps}",
                due=f"1 to {self.num_train_timesteps}",
            )
        self.stride = self.num_train_timesteps // num_inference_steps
        self.timesteps = torch.arange(num_inference_steps - 1, -1, -1) * self.stride

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The images (B, C, *spatial) as they are after `timesteps` (B,)."""
        kept = self._kept(timesteps, original_samples)
        return kept.sqrt() * original_samples + (1 - kept).sqrt() * noise

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the network should answer with prediction type "v_prediction"."""
        kept = self._kept(timesteps, sample)
        return kept.sqrt() * noise - (1 - kept).sqrt() * sample

    def target(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the network should answer, whatever the prediction type."""
        if self.prediction_type == "epsilon":
            return noise
        return sample if self.prediction_type == "sample" else self.get_velocity(sample, noise, timesteps)

    def implied(self, model_output: Tensor, sample: Tensor, kept: float) -> tuple[Tensor, Tensor]:
        """The image and the noise that an answer implies, the image not yet clipped."""
        lost = 1 - kept
        if self.prediction_type == "epsilon":
            return (sample - lost**0.5 * model_output) / kept**0.5, model_output
        if self.prediction_type == "sample":
            return model_output, (sample - kept**0.5 * model_output) / lost**0.5
        return (
            kept**0.5 * sample - lost**0.5 * model_output,
            kept**0.5 * model_output + lost**0.5 * sample,
        )

    def clipped(self, image: Tensor) -> Tensor:
        """The image within its range, where clipping is asked for."""
        return image.clamp(*self.clip_range) if self.clip_sample else image

    def kept_at(self, timestep: int) -> float:
        """The share of variance left at a step; 1 before the first."""
        return float(self.alphas_cumprod[timestep]) if timestep >= 0 else 1.0

    def _kept(self, timesteps: Tensor, like: Tensor) -> Tensor:
        if timesteps.dim() != 1 or timesteps.shape[0] != like.shape[0]:
            raise BadArgument(
                "there is not one time step for each image", found=tuple(timesteps.shape), due=f"({like.shape[0]},)"
            )
        kept = self.alphas_cumprod.to(like.device)[timesteps].to(like.dtype)
        return kept.reshape(-1, *(1,) * (like.dim() - 1))


def noise_like(sample: Tensor, generator: torch.Generator | None) -> Tensor:
    """Normal noise drawn on the generator's device, so that every device sees the same."""
    device = sample.device if generator is None else generator.device
    return torch.randn(sample.shape, generator=generator, dtype=sample.dtype, device=device).to(sample.device)
