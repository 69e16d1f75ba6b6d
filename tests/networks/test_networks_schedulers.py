"""Schedulers: what they must do whatever the network, and the same numbers as MONAI's."""

import pytest
import torch

from medframe.base.errors import BadArgument
from medframe.networks.schedulers import DDIMScheduler, DDPMScheduler, PNDMScheduler, RFlowScheduler

NOISE = [DDPMScheduler, DDIMScheduler, PNDMScheduler]
SCHEDULES = ["linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"]


def data(batch=4):
    g = torch.Generator().manual_seed(0)
    return torch.randn(batch, 1, 6, 6, generator=g).clamp(-1, 1), torch.randn(batch, 1, 6, 6, generator=g)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("make", NOISE)
def test_noise_keeps_the_variance_and_takes_the_image(make, schedule):
    scheduler = make(schedule=schedule)
    kept = scheduler.alphas_cumprod
    assert (kept[1:] < kept[:-1]).all()
    assert kept[0] > 0.98
    x, noise = data()
    t = torch.tensor([0, 10, 500, 999])
    noisy = scheduler.add_noise(x, noise, t)
    for i in range(4):
        a = kept[t[i]].float()
        torch.testing.assert_close(noisy[i], a.sqrt() * x[i] + (1 - a).sqrt() * noise[i])


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("make", [DDPMScheduler, DDIMScheduler])
def test_the_right_answer_implies_the_image(make, prediction_type):
    scheduler = make(prediction_type=prediction_type)
    x, noise = data()
    for t in (0, 300, 999):
        times = torch.full((4,), t)
        noisy = scheduler.add_noise(x.double(), noise.double(), times)
        _, image = scheduler.step(scheduler.target(x.double(), noise.double(), times), t, noisy)
        torch.testing.assert_close(image, x.double(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 5, 50])
def test_ddim_with_the_right_answers_gives_the_image(steps):
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(steps)
    x, noise = (v.double() for v in data())
    first = int(scheduler.timesteps[0])
    sample = scheduler.add_noise(x, noise, torch.full((4,), first))
    for t in scheduler.timesteps:
        sample, _ = scheduler.step(noise, int(t), sample)
    torch.testing.assert_close(sample, x, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("steps", [1000, 250])
def test_ddpm_samples_a_gaussian(steps):
    """The best network for normal images of mean 0.3 and deviation 0.2 is a formula; what it makes must be these."""
    scheduler = DDPMScheduler(clip_sample=False)
    scheduler.set_timesteps(steps)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 1, 1, 1, generator=g)
    for t in scheduler.timesteps:
        kept = scheduler.kept_at(int(t))
        mean, variance = kept**0.5 * 0.3, kept * 0.2**2 + 1 - kept
        x, _ = scheduler.step((1 - kept) ** 0.5 / variance * (x - mean), int(t), x, generator=g)
    assert abs(float(x.mean()) - 0.3) < 0.02
    assert abs(float(x.std()) - 0.2) < 0.02


@pytest.mark.parametrize("skip", [True, False])
def test_pndm_is_near_the_exact_way(skip):
    """Each deterministic step follows the same flow, whose end for normal images is known: x -> 0.3 + 0.2 z."""
    errors = []
    for make in (
        lambda: PNDMScheduler(skip_prk_steps=skip, set_alpha_to_one=True),
        lambda: DDIMScheduler(clip_sample=False),
    ):
        scheduler = make()
        scheduler.set_timesteps(20)
        kept = scheduler.kept_at(int(scheduler.timesteps[0]))
        z = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(9, 1, 1, 1)
        x = kept**0.5 * 0.3 + (kept * 0.04 + 1 - kept) ** 0.5 * z
        for t in scheduler.timesteps:
            kept = scheduler.kept_at(int(t))
            answer = (1 - kept) ** 0.5 / (kept * 0.04 + 1 - kept) * (x - kept**0.5 * 0.3)
            x, _ = scheduler.step(answer, int(t), x)
        errors.append(float((x - (0.3 + 0.2 * z)).abs().max()))
    assert errors[0] < 0.1
    assert errors[0] < 1.5 * errors[1]


def test_rectified_flow_mixes_and_goes_back():
    scheduler = RFlowScheduler()
    x, noise = data()
    t = torch.tensor([0, 250, 500, 1000])
    mixed = scheduler.add_noise(x, noise, t)
    torch.testing.assert_close(mixed[1], 0.75 * x[1] + 0.25 * noise[1])
    torch.testing.assert_close(mixed[3], noise[3])
    scheduler.set_timesteps(7)
    sample = noise
    for now, after in scheduler.pairs():
        sample, image = scheduler.step(scheduler.target(x, noise), now, sample, after)
        torch.testing.assert_close(image, x, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sample, x, atol=1e-5, rtol=1e-5)
    for method in ("uniform", "logit-normal"):
        times = RFlowScheduler(sample_method=method).sample_timesteps(torch.zeros(5000, 1))
        assert int(times.min()) >= 0
        assert int(times.max()) < 1000
        assert abs(float(times.float().mean()) - 500) < 15


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DDPMScheduler(schedule="steep"), "'steep'"),
        (lambda: DDIMScheduler(prediction_type="noise"), "'noise'"),
        (lambda: DDPMScheduler(variance_type="none"), "'none'"),
        (lambda: DDPMScheduler(0), "no steps"),
        (lambda: DDPMScheduler(10).set_timesteps(11), "1 to 10"),
        (lambda: PNDMScheduler().set_timesteps(3), "4 or more"),
        (lambda: PNDMScheduler(prediction_type="sample"), "epsilon or v_prediction"),
        (lambda: RFlowScheduler(sample_method="even"), "'even'"),
        (lambda: DDPMScheduler().add_noise(*data(), torch.tensor([1])), r"\(4,\)"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(BadArgument, match=message):
        call()


@pytest.mark.parity
@pytest.mark.parametrize("schedule", ["linear_beta", "scaled_linear_beta"])
@pytest.mark.parametrize("name", ["DDPM", "DDIM"])
def test_the_same_numbers_as_the_source(name, schedule):
    """The source's DDIM spaces its steps otherwise, and its PNDM carries by another stride than it spaces them."""
    pytest.importorskip("monai", reason="the source that we compare with: pip install monai")
    from monai.networks import schedulers as source

    x, noise = data()
    answer = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    ours = {"DDPM": DDPMScheduler, "DDIM": DDIMScheduler}[name](schedule=schedule)
    theirs = getattr(source, f"{name}Scheduler")(1000, schedule=schedule)
    t = torch.tensor([0, 250, 500, 999])
    torch.testing.assert_close(ours.add_noise(x, noise, t), theirs.add_noise(x, noise, t), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.get_velocity(x, noise, t), theirs.get_velocity(x, noise, t), rtol=1e-5, atol=1e-5)
    if name == "DDIM":
        ours.set_timesteps(20)
        theirs.set_timesteps(20)
    for step in (999, 950, 400, 50, 0):
        g, h = torch.Generator().manual_seed(step), torch.Generator().manual_seed(step)
        a, b = ours.step(answer, step, x, generator=g), theirs.step(answer, step, x, generator=h)
        for mine, other in zip(a, b, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=3e-4)  # the source's shares are float32


@pytest.mark.parity
def test_rectified_flow_is_the_source_s():
    pytest.importorskip("monai", reason="the source that we compare with: pip install monai")
    from monai.networks import schedulers as source

    x, noise = data()
    ours, theirs = RFlowScheduler(), source.RFlowScheduler(1000, use_discrete_timesteps=True)
    t = torch.tensor([0, 250, 500, 999])
    torch.testing.assert_close(ours.add_noise(x, noise, t), theirs.add_noise(x, noise, t))
    theirs.set_timesteps(10)
    for a, b in zip(ours.step(noise, 400, x, 300), theirs.step(noise, 400, x, 300), strict=True):
        torch.testing.assert_close(a, b)
