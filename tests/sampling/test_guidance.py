"""Guidance, thresholding and the clean images that samplers ask for."""

from __future__ import annotations

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from imagen_support import PREDICTIONS, exact_output, make_condition, make_model, options
from t2ikit import GuidedDenoiser, SamplerConfig, clamp_images, guided, threshold, to_clean
from t2ikit_imagen import MultistepConfig


@pytest.mark.parametrize(("guidance", "calls"), [(0.0, 3), (1.0, 3), (3.0, 6)])
def test_guidance_is_its_formula_in_one_call(guidance, calls):
    model = make_model(speaks=True).eval()
    condition = make_condition()
    x, t = torch.randn(3, 3, 16, 16), torch.full((3,), 500)
    seen = []
    hook = model.unet.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    with torch.no_grad():
        out = guided(model, x, t, condition, guidance)
        hook.remove()
        empty = make_condition(("", "", ""))
        text, none = model.denoise(x, t, condition), model.denoise(x, t, empty)
    assert seen == [calls]
    expected = none.double() + guidance * (text.double() - none.double())
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=1e-4)


def _dynamic(image: list[float], percentile: float, maximum: float) -> list[float]:
    """Imagen's rule for one image, in plain Python: linear interpolation between order statistics."""
    ordered = sorted(abs(value) for value in image)
    place = percentile * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    s = ordered[low] + (place - low) * (ordered[high] - ordered[low])
    s = min(max(s, 1.0), maximum)
    return [min(max(value, -s), s) / s for value in image]


@pytest.mark.parametrize(("percentile", "maximum"), [(0.9, 100.0), (0.95, 1.5), (0.995, 1.0)])
def test_dynamic_thresholding_is_imagens(percentile, maximum):
    clean = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    clean[1] *= 0.2
    found = threshold(clean, "dynamic", percentile, maximum)
    expected = [_dynamic(image.flatten().tolist(), percentile, maximum) for image in clean]
    torch.testing.assert_close(
        found.flatten(1), torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=1e-6
    )


def test_dynamic_thresholding_agrees_with_diffusers_and_is_not_clipping():
    clean = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2
    scheduler = DPMSolverMultistepScheduler(
        thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=100.0
    )
    dynamic = threshold(clean, "dynamic", 0.9)
    torch.testing.assert_close(dynamic, scheduler._threshold_sample(clean))
    assert (dynamic - threshold(clean, "static")).abs().max() > 0.3
    # The trap: with diffusers' default maximum of 1, "dynamic" is clipping.
    torch.testing.assert_close(threshold(clean, "dynamic", 0.9, 1.0), clean.clamp(-1, 1))
    assert threshold(clean, "none") is clean


def test_dynamic_thresholding_leaves_alpha_as_it_is():
    clean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    clean[:, 3] = torch.where(clean[:, 3] < 0, -1.2, 1.2)
    found = threshold(clean, "dynamic", 0.9)
    assert set(found[:, 3].unique().tolist()) == {-1.0, 1.0}
    colours = [_dynamic(image[:3].flatten().tolist(), 0.9, 100.0) for image in clean]
    limit = clean[:, 3:].clamp(-1, 1).expand(2, 3, 8, 8).flatten(1).tolist()
    expected = [[min(pair) for pair in zip(*rows, strict=True)] for rows in zip(colours, limit, strict=True)]
    torch.testing.assert_close(
        found[:, :3].flatten(1), torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=1e-6
    )


def test_guidance_is_used_inside_its_interval_only():
    model = make_model(speaks=True).eval()
    config = MultistepConfig(guidance_interval=(0.2, 0.6), thresholding="none")
    condition = make_condition()
    alphas = model.alphas_cumprod
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for t, weight in ((100, 1.0), (400, 5.0), (900, 1.0)):
        with torch.no_grad():
            found = GuidedDenoiser(model, condition, config, 5.0, alphas).at_timestep(x, torch.tensor(t))
            output = guided(model, x, torch.full((3,), t), condition, weight)
        expected = to_clean("v_prediction", output, x, alphas[t].sqrt(), (1 - alphas[t]).sqrt())
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_clean_images_are_right_on_both_paths_whatever_the_model_predicts(prediction):
    """A model that knows the image is asked at levels of both paths; it must be given its own x and t."""
    model = make_model(options(prediction=prediction))
    goal = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 1.8 - 0.9
    fresh = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    alphas = model.alphas_cumprod
    asked = []

    def exact(x, t, condition, previous=None):
        # Between two timesteps the level is interpolated, as the U-Net's embedding of t would have it.
        if prediction == "flow_prediction":
            sigma = (t / 1000)[:, None, None, None].double()
            alpha = 1 - sigma
        else:
            log_ratio = ((1 - alphas.double()) / alphas.double().clamp_min(1e-12)).log() / 2
            low = t.long().clamp(max=998)
            ratio = torch.lerp(log_ratio[low], log_ratio[low + 1], t.double() - low).exp()[
                :, None, None, None
            ]
            alpha = 1 / (1 + ratio**2).sqrt()
            sigma = ratio * alpha
        asked.append((x - alpha * goal - sigma * fresh).abs().max())
        return exact_output(prediction, x.double(), goal, alpha, sigma).float()

    model.denoise = exact
    guide = GuidedDenoiser(model, make_condition(), MultistepConfig(thresholding="none"), 1.0, alphas)
    for t in (5, 400, 900):
        x = alphas[t].sqrt() * goal + (1 - alphas[t]).sqrt() * fresh
        torch.testing.assert_close(guide.at_timestep(x, torch.tensor(t)), goal, atol=2e-3, rtol=0)
    for sigma in (0.01, 0.35, 0.8):
        found = guide.at_flow((1 - sigma) * goal + sigma * fresh, sigma)
        torch.testing.assert_close(found, goal, atol=2e-3, rtol=0)
    assert max(asked) < 2e-3


def test_a_prepared_condition_gives_the_same_output_and_skips_the_tower():
    model = make_model(speaks=True).eval()
    x, t = torch.randn(3, 3, 16, 16), torch.full((3,), 500)
    calls = []
    model.tower.register_forward_pre_hook(lambda module, args: calls.append(1))
    with torch.no_grad():
        plain = guided(model, x, t, make_condition(), 3.0)
        calls.clear()
        prepared = model.prepare(make_condition())
        assert len(calls) == 2
        again = guided(model, x, t, prepared, 3.0)
    assert len(calls) == 2
    assert model.prepare(prepared) is prepared
    torch.testing.assert_close(plain, again, atol=1e-5, rtol=1e-5)


def test_a_self_conditioned_model_is_shown_its_last_estimate():
    model = make_model(options(self_conditioning=0.5), speaks=True).eval()
    seen = []
    model.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0][:, 12:].abs().max()))
    guide = GuidedDenoiser(model, make_condition(), MultistepConfig(), 3.0, model.alphas_cumprod)
    with torch.no_grad():
        guide.at_timestep(torch.randn(3, 3, 16, 16), torch.tensor(900))
        guide.at_timestep(torch.randn(3, 3, 16, 16), torch.tensor(800))
    assert seen[0] == 0
    assert seen[1] > 0


@pytest.mark.parametrize("thresholding", ["none", "static", "dynamic"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_not_hidden_by_thresholding(thresholding, value):
    model = make_model(speaks=True).eval()
    denoise = model.denoise

    def broken(x, t, condition, previous=None):
        output = denoise(x, t, condition, previous)
        output[1, 0, 3, 3] = value
        return output

    model.denoise = broken
    denoiser = GuidedDenoiser(model, make_condition(), SamplerConfig(thresholding=thresholding), 1.0)
    with torch.no_grad():
        clean = denoiser.at_timestep(torch.randn(3, 3, 16, 16), torch.tensor(500))
    assert clean[1].isnan().any()
    assert clean[0].isfinite().all()
    assert clean[2].isfinite().all()


def test_clamped_images_keep_what_is_not_finite_in_sight():
    images = torch.tensor([0.5, 2.0, -3.0, float("inf"), -float("inf"), float("nan")])
    found = clamp_images(images)
    assert found[:3].tolist() == [0.5, 1, -1]
    assert found[3:].isnan().all()


def test_a_denoiser_s_own_schedule_and_weight_are_the_defaults():
    model = make_model(speaks=True).eval()
    x, t, config = torch.randn(3, 3, 16, 16), torch.tensor(700), SamplerConfig(guidance=2.5)
    with torch.no_grad():
        told = GuidedDenoiser(model, make_condition(), config, 2.5, model.alphas_cumprod).at_timestep(x, t)
        own = GuidedDenoiser(model, make_condition(), config).at_timestep(x, t)
    torch.testing.assert_close(own, told)
