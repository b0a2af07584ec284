"""The first denoiser: schedule, prediction, guidance, sampler."""

from __future__ import annotations

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from t2ikit import Batch, Condition, Draws, TextEmbedding, UserError
from t2ikit.step import Step
from t2ikit.text.builtin import BuiltinTextEncoder
from t2ikit.text.builtin_config import BuiltinTextConfig
from t2ikit_imagen import DenoiseLoss, DPMSolverConfig, DPMSolverSampler, ImagenDenoiser, UNetConfig
from t2ikit_imagen.losses import min_snr_weight
from t2ikit_imagen.samplers import guided

SMALL = UNetConfig(channels=(16, 32), attention=(False, True), text_width=16, text_layers=1)
ENCODER = BuiltinTextEncoder(BuiltinTextConfig(width=32, length=8))
CAPTIONS = ("a red cat", "a blue bird with red eyes", "a fish")


def make_model(config: UNetConfig = SMALL) -> ImagenDenoiser:
    torch.manual_seed(0)
    return ImagenDenoiser(config, 16, 32, 8)


def make_condition(captions=CAPTIONS) -> Condition:
    text = ENCODER.encode([*captions, ""])
    return Condition(tuple(captions), text[: len(captions)], text[len(captions) :])


def make_batch() -> Batch:
    condition = make_condition()
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(
        images, condition, condition.text, torch.zeros(3), CAPTIONS, torch.arange(3), torch.arange(3)
    )


def test_the_schedule_ends_in_pure_noise():
    model = make_model()
    assert model.alphas_cumprod[-1] == 0
    assert (model.alphas_cumprod.diff() < 0).all()
    assert model.scheduler_config["timestep_spacing"] == "trailing"


def test_prediction_agrees_with_its_definition_in_float64():
    model, batch = make_model(), make_batch()
    draws = Draws(batch.keys, "x")
    p = model(batch, draws)
    again = Draws(batch.keys, "x")
    t = (again.rand() * 1000).long()
    again.rand()
    noise = again.randn(3, 16, 16).double()
    a = model.alphas_cumprod.double()[t]
    signal, sigma = a.sqrt()[:, None, None, None], (1 - a).sqrt()[:, None, None, None]
    x0 = batch.images.double()
    x = signal * x0 + sigma * noise
    assert torch.equal(p.timestep, t)
    torch.testing.assert_close(p.target.double(), signal * noise - sigma * x0, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(p.snr.double(), a / (1 - a), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        p.images[-1].double(), signal * x - sigma * p.output.double(), atol=1e-5, rtol=1e-5
    )
    # With the true v the clean picture comes back: x0 = alpha x - sigma v.
    torch.testing.assert_close(signal * x - sigma * p.target.double(), x0, atol=1e-5, rtol=1e-5)
    assert ((p.image_weight >= 0) & (p.image_weight <= 1)).all()


def test_min_snr_is_finite_at_every_step_and_equals_its_formula():
    model = make_model()
    a = model.alphas_cumprod.double()
    snr = (a / (1 - a)).float()
    weight = min_snr_weight(snr, 5.0)
    assert weight.isfinite().all()
    reference = [min(s, 5.0) / (s + 1) for s in (a / (1 - a)).tolist()]
    torch.testing.assert_close(weight.double(), torch.tensor(reference).double(), atol=1e-6, rtol=1e-5)


def test_the_loss_equals_a_float64_reference():
    model, batch = make_model(), make_batch()
    step = Step(batch, model(batch, Draws(batch.keys, 0)), {}, "generator", Draws(batch.keys, 1), 0)
    output, target, snr = step.prediction.denoising()
    expected = sum(
        min(float(s), 5.0) / (float(s) + 1) * float(((o - y).double() ** 2).mean())
        for o, y, s in zip(output, target, snr, strict=True)
    )
    assert float(DenoiseLoss(5.0)(step).detach()) == pytest.approx(expected / 3, rel=1e-5)


def test_padding_changes_nothing():
    model = make_model().eval()
    condition = make_condition()
    x, t = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(3)), torch.tensor([10, 500, 999])
    with torch.no_grad():
        plain = model.denoise(x, t, condition)
        tokens = condition.text.tokens.clone()
        tokens[~condition.text.mask] = 50.0
        text = TextEmbedding(tokens, condition.text.mask, condition.text.pooled)
        padded = model.denoise(x, t, Condition(condition.captions, text, condition.empty))
    assert (plain - padded).abs().max() < 1e-5


def test_captions_change_the_output_and_samples_do_not_mix():
    model = make_model().eval()
    for layer in model.unet.conv_out.parameters():
        torch.nn.init.normal_(layer, std=0.1)
    x, t = torch.randn(1, 3, 16, 16).expand(3, -1, -1, -1), torch.full((3,), 500)
    with torch.no_grad():
        together = model.denoise(x, t, make_condition())
        alone = model.denoise(x[:1], t[:1], make_condition(CAPTIONS[:1]))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-4


def test_caption_dropout_drops_its_share():
    config = SMALL.model_copy(update={"caption_dropout": 0.5})
    model, batch = make_model(config), make_batch()
    seen = []
    model.tower.register_forward_pre_hook(lambda module, args: seen.append(args[0].mask.sum(1)))
    for step in range(60):
        with torch.no_grad():
            model(batch, Draws(batch.keys + 3 * step, 0))
    dropped = (torch.stack(seen) == 1).float().mean().item()
    assert 0.35 < dropped < 0.65


@pytest.mark.parametrize(("guidance", "calls"), [(0.0, 3), (1.0, 3), (3.0, 6)])
def test_guidance_is_its_formula_in_one_call(guidance, calls):
    model = make_model().eval()
    torch.nn.init.normal_(model.unet.conv_out.weight, std=0.1)
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


def test_the_sampler_starts_at_the_last_timestep_and_repeats():
    model = make_model().eval()
    sampler = DPMSolverSampler(DPMSolverConfig(steps=5))
    scheduler = sampler.scheduler(model)
    scheduler.set_timesteps(5)
    assert scheduler.timesteps[0] == 999
    keys = torch.tensor([5, 6, 7])
    first = sampler(model, make_condition(), draws=Draws(keys, "s"))
    again = sampler(model, make_condition(), draws=Draws(keys, "s"))
    other = sampler(model, make_condition(), draws=Draws(keys + 1, "s"))
    assert first.shape == (3, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.abs().max() <= 1


def test_a_perfect_denoiser_gives_the_picture_back():
    """With the exact v of one known picture, the sampler ends at that picture whatever the noise."""
    model = make_model()
    goal = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 1.8 - 0.9

    def exact(x, t, condition):
        a = model.alphas_cumprod[t]
        signal, sigma = a.sqrt()[:, None, None, None], (1 - a).sqrt()[:, None, None, None]
        return (signal * x - goal) / sigma

    model.denoise = exact
    sampler = DPMSolverSampler(DPMSolverConfig(steps=10, guidance=1.0))
    out = sampler(model, make_condition(), draws=Draws(torch.arange(3), "s"))
    torch.testing.assert_close(out, goal, atol=1e-3, rtol=0)


def test_dynamic_thresholding_is_not_clipping():
    """`sample_max_value` 1, the default, would make it so."""
    x0 = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2
    results = {}
    for name in ("static", "dynamic"):
        scheduler = DPMSolverSampler(DPMSolverConfig(thresholding=name, percentile=0.9)).scheduler(
            make_model()
        )
        assert isinstance(scheduler, DPMSolverMultistepScheduler)
        results[name] = scheduler._threshold_sample(x0)
    torch.testing.assert_close(results["static"], x0.clamp(-1, 1))
    limit = x0.abs().flatten(1).quantile(0.9, dim=1).clamp(min=1)[:, None, None, None]
    torch.testing.assert_close(results["dynamic"], x0.clamp(-limit, limit) / limit)


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        ({}, 18, "multiple of 4"),
        ({"attention": (True,) * 3}, 16, "2 entries"),
        ({"channels": (18, 32)}, 16, "generator.groups"),
        ({"channels": (16, 40)}, 16, "generator.head_width"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, size, message):
    with pytest.raises(UserError, match=message):
        ImagenDenoiser(SMALL.model_copy(update=change), size, 32, 8)


def test_pictures_of_another_size_are_refused():
    with pytest.raises(UserError, match="another size"):
        make_model().denoise(torch.zeros(3, 3, 8, 8), torch.zeros(3).long(), make_condition())
