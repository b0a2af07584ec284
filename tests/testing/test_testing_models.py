"""The toys, and the conformance checks of generators, critics and samplers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

from t2ikit import (
    CriticSpec,
    Draws,
    GeneratorSpec,
    Prediction,
    Sampler,
    SamplerSpec,
)
from t2ikit.registry.registry import Registry
from t2ikit.testing import (
    check_critic,
    check_generator,
    check_sampler,
)
from t2ikit.testing.toys import ToyCritic, ToyDenoiser, ToyGAN, cosine_alphas, toy_batch
from testing_support import fails, registry_with

# ---------------------------------------------------------------- toys


def test_the_toy_schedule_is_that_of_diffusers():
    model = ToyDenoiser(16, 16)
    reference = DDPMScheduler(**model.scheduler_config).alphas_cumprod
    torch.testing.assert_close(cosine_alphas(), reference, atol=2e-5, rtol=0)
    assert cosine_alphas()[-1] == 0


def test_the_toy_denoiser_predicts_v_and_sees_the_clean_image():
    torch.manual_seed(0)
    model, batch = ToyDenoiser(16, 16), toy_batch(64, 16)
    prediction = model(batch, Draws(batch.keys, 0))
    signal = prediction.image_weight.sqrt()[:, None, None, None]
    sigma = (1 - prediction.image_weight).sqrt()[:, None, None, None]
    # With the right v, x0 is the image: x0(v) = x0(target) - sigma (v - target).
    right = prediction.images[0] + sigma * (prediction.output - prediction.target)
    torch.testing.assert_close(right, batch.images, atol=1e-5, rtol=0)
    noise = (prediction.target + sigma * batch.images) / signal.clamp_min(1e-6)
    assert noise[signal[:, 0, 0, 0] > 0.1].std() == pytest.approx(1, abs=0.05)
    assert prediction.timestep.unique().numel() > 50


def test_the_toy_denoiser_drops_a_tenth_of_the_captions():
    class Spy(ToyDenoiser):
        def denoise(self, x, t, condition):
            self.seen = condition.text.pooled
            return super().denoise(x, t, condition)

    model, batch = Spy(16, 4), toy_batch(1000, 4)
    model(batch, Draws(batch.keys, 0))
    empty = (model.seen == batch.condition.empty.pooled).all(1)
    kept = (model.seen == batch.condition.text.pooled).all(1)
    assert (empty ^ kept).all()
    assert empty.float().mean() == pytest.approx(0.1, abs=0.03)


def test_toy_batches_have_right_and_wrong_captions():
    batch = toy_batch(10, 8)
    same = (batch.wrong.pooled == batch.condition.text.pooled).all(1)
    assert torch.equal(batch.mismatch_mask == 0, same)
    assert 0 < batch.mismatch_mask.sum() < 10
    assert not torch.equal(toy_batch(4, 8, seed=1).images, toy_batch(4, 8).images)


# ---------------------------------------------------------------- generators


def generator_registry(kind, **methods) -> Registry:
    made = type("Mine", (kind,), methods)
    return registry_with(GeneratorSpec("x", lambda config, c: made(c.text_width, c.image_size)))


@pytest.mark.parametrize("kind", [ToyDenoiser, ToyGAN])
def test_toy_generators_pass(kind):
    check_generator("mine/x", generator_registry(kind))


def changed(kind, **changes):
    """A forward whose prediction is changed by functions of it."""

    def forward(self, batch, draws):
        prediction = kind.forward(self, batch, draws)
        return replace(prediction, **{name: change(prediction) for name, change in changes.items()})

    return forward


def mixed(prediction: Prediction):
    return [level + level.mean(0, keepdim=True) for level in prediction.images]


def unused_parameter(self, text_width, image_size):
    ToyGAN.__init__(self, text_width, image_size)
    self.idle = nn.Parameter(torch.zeros(()))


BAD_GENERATORS = {
    "order": (ToyGAN, {"forward": changed(ToyGAN, images=lambda p: p.images[::-1])}, "coarse to fine"),
    "size": (ToyGAN, {"forward": changed(ToyGAN, images=lambda p: p.images[:2])}, "end at 32 px"),
    "weight": (
        ToyGAN,
        {"forward": changed(ToyGAN, image_weight=lambda p: 2 * p.image_weight)},
        r"in \[0, 1\]",
    ),
    "nan": (
        ToyGAN,
        {"forward": changed(ToyGAN, images=lambda p: [x * float("nan") for x in p.images])},
        "finite",
    ),
    "mixed": (ToyGAN, {"forward": changed(ToyGAN, images=mixed)}, "depends on the others"),
    "unused": (ToyGAN, {"__init__": unused_parameter}, "receive no gradient: idle"),
    "noise": (
        ToyGAN,
        {"forward": changed(ToyGAN, images=lambda p: [x + torch.rand(()) for x in p.images])},
        "all randomness must come from `draws`",
    ),
    "truncation": (
        ToyGAN,
        {"generate": lambda self, condition, draws, truncation=1.0: ToyGAN.generate(self, condition, draws)},
        "truncation",
    ),
    "target": (
        ToyDenoiser,
        {"forward": changed(ToyDenoiser, target=lambda p: p.output)},
        "target must carry",
    ),
    "no target": (ToyDenoiser, {"forward": changed(ToyDenoiser, target=lambda p: None)}, "fails"),
    "snr": (ToyDenoiser, {"forward": changed(ToyDenoiser, snr=lambda p: -p.snr - 1)}, "snr must be"),
    "schedule": (
        ToyDenoiser,
        {
            "__setattr__": lambda self, k, v: nn.Module.__setattr__(
                self, k, {} if k == "scheduler_config" else v
            )
        },
        "lacks num_train_timesteps, prediction_type",
    ),
}


@pytest.mark.parametrize(("kind", "methods", "match"), BAD_GENERATORS.values(), ids=BAD_GENERATORS)
def test_bad_generators_are_caught(kind, methods, match):
    fails(check_generator, generator_registry(kind, **methods), match=match)


def test_something_else_is_no_generator():
    registry = registry_with(GeneratorSpec("x", lambda config, context: nn.Linear(1, 1)))
    fails(check_generator, registry, match=r"must be a t2ikit\.Denoiser or a t2ikit\.OneStep")


# ---------------------------------------------------------------- critics


def critic_registry(**methods) -> Registry:
    made = type("Mine", (ToyCritic,), methods)
    return registry_with(CriticSpec("x", lambda config, c: made(c.text_width)))


def test_the_toy_critic_passes():
    check_critic("mine/x", critic_registry())


def heads(change):
    return lambda self, features, text: change(self, ToyCritic.heads(self, features, text), features)


def features(change):
    return lambda self, levels, draws: change(self, levels, draws)


BAD_CRITICS = {
    "shape": ({"heads": heads(lambda self, logits, _: [x[:, None] for x in logits])}, r"list of \(B,\)"),
    "mixed": (
        {"heads": heads(lambda self, logits, _: [x - x.mean() for x in logits])},
        "depends on the other",
    ),
    "textless": (
        {"heads": lambda self, f, text: [self.judge(x)[:, 0] for x in f]},
        "do not react to the text",
    ),
    "blind": (
        {"heads": heads(lambda self, logits, f: [self.text(torch.ones(len(f[0]), 16)).sum(1)])},
        "do not react to the images",
    ),
    "noise": (
        {"heads": heads(lambda self, logits, _: [x + torch.rand(()) for x in logits])},
        "same draws gave different logits",
    ),
    "coarse only": (
        {"features": features(lambda self, levels, d: ToyCritic.features(self, levels[:1], d))},
        "the full image is not looked at",
    ),
}


@pytest.mark.parametrize(("methods", "match"), BAD_CRITICS.values(), ids=BAD_CRITICS)
def test_bad_critics_are_caught(methods, match):
    fails(check_critic, critic_registry(**methods), match=match)


def test_a_critic_of_the_full_image_alone_passes():
    full = features(lambda self, levels, d: ToyCritic.features(self, levels[-1:], d))
    check_critic("mine/x", critic_registry(features=full))


def test_a_critic_that_cannot_take_one_level():
    def three(self, levels, draws):
        first, second, third = levels
        return ToyCritic.features(self, [first, second, third], draws)

    fails(check_critic, critic_registry(features=three), match="on 1 level fails: ValueError")


# ---------------------------------------------------------------- samplers


class Noise(Sampler):
    """A sampler as simple as can be: noise, moved by the model once a step."""

    steps = 4
    guidance = 1.0

    def __call__(self, model, condition, *, steps=None, guidance=None, draws, progress=None):
        steps, images = steps or self.steps, draws.randn(3, model.image_size, model.image_size)
        with torch.no_grad():
            for done in range(steps):
                t = torch.full((len(images),), 999 - done)
                images = images - self.moved(model, images, t, condition)
                if progress:
                    progress(done + 1, steps)
        return self.end(images)

    def moved(self, model, images, t, condition):
        return 0.1 * model.denoise(images, t, condition)

    def end(self, images):
        return images.clamp(-1, 1)


def one_step(self, model, condition, *, steps=None, guidance=None, draws, progress=None):
    with torch.no_grad():
        images = model.generate(condition, draws)[-1]
    if progress:
        progress(1, 1)
    return images


def sampler_registry(requires="Denoiser", **methods) -> Registry:
    made = type("Mine", (Noise,), methods)
    return registry_with(SamplerSpec("x", lambda config, context: made(), requires=requires))


def test_good_samplers_pass():
    check_sampler("mine/x", sampler_registry())
    check_sampler("mine/x", sampler_registry("OneStep", __call__=one_step))


def counted(self, x):
    """What it gives depends on how often it was called."""
    self.calls = getattr(self, "calls", 0) + 1
    return (x + 0.01 * self.calls).clamp(-1, 1)


BAD_SAMPLERS = {
    "state": ({"end": counted}, "nothing of one call may be kept for the next"),
    "range": ({"end": lambda self, x: x * 3}, r"must lie in \[-1, 1\]"),
    "shape": ({"end": lambda self, x: x[0].clamp(-1, 1)}, "must give"),
    "noise": ({"end": lambda self, x: (x + torch.randn(())).clamp(-1, 1)}, "must come from `draws`"),
    "mixed": ({"end": lambda self, x: (x - x.mean()).clamp(-1, 1)}, "depends on the others"),
    "same": ({"end": lambda self, x: torch.zeros_like(x)}, "other draws changed nothing"),
    "steps": ({"steps": 0}, "steps must be"),
}


@pytest.mark.parametrize(("methods", "match"), BAD_SAMPLERS.values(), ids=BAD_SAMPLERS)
def test_bad_samplers_are_caught(methods, match):
    fails(check_sampler, sampler_registry(**methods), match=match)


def test_a_sampler_must_report_progress():
    def silent(self, model, condition, *, steps=None, guidance=None, draws, progress=None):
        return Noise.__call__(self, model, condition, steps=steps, draws=draws)

    fails(check_sampler, sampler_registry(__call__=silent), match="progress must be called")
