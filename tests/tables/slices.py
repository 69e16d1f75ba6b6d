"""How an autoencoder and a diffusion network are taught real slices: in tests/networks and benchmarks/slices.py."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from medframe.networks import AutoencoderKL, DiffusionModelUNet, kl_loss
from medframe.networks.schedulers import DDPMScheduler

PNEUMONIA = Path(__file__).resolve().parents[3] / "shared" / "data" / "pneumoniamnist" / "pneumoniamnist_train_val.npz"


def pneumonia(part):
    """Radiographs (N, 1, 28, 28) from -1 to 1, and whether they show pneumonia (N,)."""
    with np.load(PNEUMONIA) as held:
        images, labels = held[f"{part}_images"], held[f"{part}_labels"]
    return torch.from_numpy(images).float()[:, None] / 127.5 - 1, torch.from_numpy(labels[:, 0].astype(np.float32))


def descend(network, loss_of, x, steps, *, batch, rate=2e-3):
    """The losses of `steps` batches."""
    optimiser = torch.optim.AdamW(network.parameters(), rate)
    losses = []
    for _ in range(steps):
        loss = loss_of(x[torch.randint(len(x), (batch,))])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    network.eval()
    return losses


def autoencoder(x, steps):
    torch.manual_seed(0)
    network = AutoencoderKL(
        2, 1, 1, channels=(16, 32), attention_levels=(False, False), num_res_blocks=1, norm_num_groups=8
    )

    def loss_of(images):
        answer, mean, deviation = network(images)
        return F.l1_loss(answer, images) + 1e-6 * kl_loss(mean, deviation)

    return network, descend(network, loss_of, x, steps, batch=16)


def diffusion(x, steps):
    torch.manual_seed(0)
    network = DiffusionModelUNet(
        2, 1, 1, channels=(16, 32), attention_levels=(False, True), num_res_blocks=1, norm_num_groups=8
    )
    scheduler = DDPMScheduler(200, schedule="cosine")

    def loss_of(images):
        times, noise = torch.randint(200, (len(images),)), torch.randn_like(images)
        answer = network(scheduler.add_noise(images, noise, times), times)
        return F.mse_loss(answer, scheduler.target(images, noise, times))

    return network, descend(network, loss_of, x, steps, batch=32)


def draw(network, count, size):
    """New images, in 50 steps from noise."""
    scheduler = DDPMScheduler(200, schedule="cosine")
    scheduler.set_timesteps(50)
    images = torch.randn(count, 1, *size)
    with torch.no_grad():
        for t in scheduler.timesteps.tolist():
            images, _ = scheduler.step(network(images, torch.full((count,), t)), t, images)
    return images


def means(losses):
    """Of the first and of the last tenth."""
    n = max(1, len(losses) // 10)
    return sum(losses[:n]) / n, sum(losses[-n:]) / n
