"""Every sampler on every kind of model."""

from __future__ import annotations

import itertools

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DConditionModel

from imagen_support import PREDICTIONS, exact_output, make_condition, make_model, options
from t2ikit import Draws
from t2ikit_imagen import (
    DDIMConfig,
    DDIMSampler,
    DDPMConfig,
    DDPMSampler,
    DPMSolverSampler,
    EulerConfig,
    EulerSampler,
    FlowConfig,
    FlowSampler,
    MultistepConfig,
    UniPCSampler,
)

SAMPLERS = {
    "ddpm": (DDPMSampler, DDPMConfig),
    "ddim": (DDIMSampler, DDIMConfig),
    "dpm++": (DPMSolverSampler, MultistepConfig),
    "unipc": (UniPCSampler, MultistepConfig),
    "euler": (EulerSampler, EulerConfig),
    "flow": (FlowSampler, FlowConfig),
}
KEYS = torch.tensor([5, 6, 7])


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_model_that_knows_the_image_ends_there(name, prediction):
    kind, config = SAMPLERS[name]
    model = make_model(options(prediction=prediction))
    goal = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 1.8 - 0.9

    def exact(x, t, condition, previous=None):
        if prediction == "flow_prediction":
            alpha, sigma = (1 - t / 1000)[:, None, None, None], (t / 1000)[:, None, None, None]
        else:
            a = model.alphas_cumprod.double()[t.long()][:, None, None, None]
            alpha, sigma = a.sqrt(), (1 - a).sqrt()
        return exact_output(prediction, x.double(), goal, alpha, sigma).float()

    model.denoise = exact
    out = kind(config(steps=12, guidance=1.0))(model, make_condition(), draws=Draws(KEYS, "s"))
    # The flow sampler asks between timesteps, where this model rounds down.
    torch.testing.assert_close(out, goal, atol=2e-2 if name == "flow" else 2e-3, rtol=0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_images_repeat_and_belong_to_their_keys(name):
    kind, config = SAMPLERS[name]
    model, sampler = make_model(speaks=True).eval(), kind(config(steps=4))
    told = []
    first = sampler(
        model,
        make_condition(),
        draws=Draws(KEYS, "s"),
        progress=lambda done, total: told.append((done, total)),
    )
    again = sampler(model, make_condition(), draws=Draws(KEYS, "s"))
    other = sampler(model, make_condition(), draws=Draws(KEYS + 1, "s"))
    alone = sampler(model, make_condition()[1:2], draws=Draws(KEYS[1:2], "s"))
    assert first.shape == (3, 3, 16, 16)
    assert first.abs().max() <= 1
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first[1:2], alone, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpm++", "unipc", "euler"])
def test_sampling_begins_at_the_last_timestep(name):
    """The trap: "leading", diffusers' default, begins at t = 950 with 20 steps."""
    kind, config = SAMPLERS[name]
    model, seen = make_model().eval(), []
    model.unet.register_forward_pre_hook(lambda module, args: seen.append(float(args[1].max())))
    kind(config(steps=20))(model, make_condition(), draws=Draws(KEYS, "s"))
    assert len(seen) == 20
    assert seen[0] == 999
    assert seen == sorted(seen, reverse=True)


def test_ddpm_takes_every_timestep_once():
    scheduler = DDPMSampler(DDPMConfig()).scheduler(make_model())
    scheduler.set_timesteps(1000)
    assert scheduler.timesteps.tolist() == list(range(999, -1, -1))


def test_ddpm_equals_diffusers_own_loop_on_the_raw_prediction():
    """Working with clean images changes nothing: diffusers given v and told to clip ends at the same."""
    model = make_model(options(schedule="linear", zero_snr=False), speaks=True).eval()
    sampler = DDPMSampler(DDPMConfig(steps=50, guidance=1.0, thresholding="static"))
    found = sampler(model, make_condition(), draws=Draws(KEYS, "s"))
    scheduler = DDPMScheduler.from_config(model.scheduler_config, clip_sample=True)
    scheduler.set_timesteps(50)
    draws = Draws(KEYS, "s")
    x = draws.randn(3, 16, 16)
    with torch.no_grad():
        for t in scheduler.timesteps:
            v = model.denoise(x, t.expand(3), make_condition())
            x = scheduler.step(v, t, x, generator=draws.generators).prev_sample
    torch.testing.assert_close(found, x.clamp(-1, 1), atol=1e-4, rtol=1e-4)


def test_ddim_follows_its_equation_in_float64():
    """Equation 12 of arXiv 2010.02502 with eta 0.5, on 5 steps."""
    model = make_model(speaks=True).eval()
    sampler = DDIMSampler(DDIMConfig(steps=5, guidance=1.0, eta=0.5, thresholding="none"))
    scheduler = sampler.scheduler(model)
    assert isinstance(scheduler, DDIMScheduler)
    found = sampler(model, make_condition(), draws=Draws(KEYS, "s"))
    alphas = model.alphas_cumprod.double()
    draws = Draws(KEYS, "s")
    x = draws.randn(3, 16, 16).double()
    times = [999, 799, 599, 399, 199, -1]
    for t, after in itertools.pairwise(times):
        a, b = alphas[t], alphas[after] if after >= 0 else torch.tensor(1.0, dtype=torch.float64)
        with torch.no_grad():
            v = model.denoise(x.float(), torch.full((3,), t), make_condition()).double()
        clean, noise = a.sqrt() * x - (1 - a).sqrt() * v, (1 - a).sqrt() * x + a.sqrt() * v
        sigma = 0.5 * ((1 - b) / (1 - a) * (1 - a / b)).sqrt()
        fresh = torch.stack([torch.randn(3, 16, 16, generator=g) for g in draws.generators])
        x = b.sqrt() * clean + (1 - b - sigma**2).clamp_min(0).sqrt() * noise + sigma * fresh
    torch.testing.assert_close(found.double(), x.clamp(-1, 1), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["ddim", "dpm++", "unipc", "euler", "flow"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_deterministic_samplers_solve_the_probability_flow(name, prediction):
    """For images that are normal around m with deviation s, noise z must end at m + s z."""
    kind, config = SAMPLERS[name]
    model = make_model(options(prediction=prediction))
    mean, deviation = 0.2, 0.3

    def exact(x, t, condition, previous=None):
        if prediction == "flow_prediction":
            alpha, sigma = (1 - t / 1000)[:, None, None, None], (t / 1000)[:, None, None, None]
        else:
            low = t.long().clamp(max=998)
            root = model.alphas_cumprod.double().sqrt()
            alpha = torch.lerp(root[low], root[low + 1], t.double() - low)[:, None, None, None]
            sigma = (1 - alpha**2).sqrt()
        x = x.double()
        clean = mean + alpha * deviation**2 * (x - alpha * mean) / (alpha**2 * deviation**2 + sigma**2)
        return exact_output(prediction, x, clean, alpha, sigma).float()

    model.denoise = exact
    sampler = kind(config(steps=100, guidance=1.0, thresholding="none"))
    found = sampler(model, make_condition(), draws=Draws(KEYS, "s"))
    expected = (mean + deviation * Draws(KEYS, "s").randn(3, 16, 16)).clamp(-1, 1)
    assert (found - expected).abs().mean() < 0.02


def test_the_models_are_stock_diffusers():
    assert type(make_model().unet) is UNet2DConditionModel
