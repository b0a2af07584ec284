"""The conformance checks: good parts pass, and each rule catches a part that breaks it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import nn

from t2ikit import (
    Config,
    CriticSpec,
    Dataset,
    DatasetConfig,
    DatasetSpec,
    Draws,
    ExporterSpec,
    GeneratorSpec,
    LossSpec,
    Measure,
    MetricSpec,
    Prediction,
    RecipeSpec,
    Record,
    Sampler,
    SamplerSpec,
    TextEmbedding,
    TextEncoder,
    TextEncoderSpec,
)
from t2ikit.registry import Entry, Registry
from t2ikit.testing import (
    check_critic,
    check_dataset,
    check_exporter,
    check_generator,
    check_loss,
    check_metric,
    check_plugin,
    check_recipe,
    check_sampler,
    check_text_encoder,
)
from t2ikit.testing_toys import ToyCritic, ToyDenoiser, ToyGAN, cosine_alphas, toy_batch, toy_text


def registry_with(*specs) -> Registry:
    """The installed plugins, and a plugin `mine` with these parts."""
    registry = Registry.load()
    for spec in specs:
        registry._entries[spec.kind].append(Entry(spec, "mine", "here"))
    return registry


def fails(check, registry, *more, match, **config):
    with pytest.raises(AssertionError, match=match):
        check("mine/x", registry, *more, **config)


# ---------------------------------------------------------------- toys


def test_the_toy_schedule_is_that_of_diffusers():
    model = ToyDenoiser(16, 16)
    reference = DDPMScheduler(**model.scheduler_config).alphas_cumprod
    torch.testing.assert_close(cosine_alphas(), reference, atol=2e-5, rtol=0)
    assert cosine_alphas()[-1] == 0


def test_the_toy_denoiser_predicts_v_and_sees_the_clean_picture():
    torch.manual_seed(0)
    model, batch = ToyDenoiser(16, 16), toy_batch(64, 16)
    prediction = model(batch, Draws(batch.keys, 0))
    signal = prediction.image_weight.sqrt()[:, None, None, None]
    sigma = (1 - prediction.image_weight).sqrt()[:, None, None, None]
    # With the right v, x0 is the picture: x0(v) = x0(target) - sigma (v - target).
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
    assert torch.equal(batch.wrong_ok == 0, same)
    assert 0 < batch.wrong_ok.sum() < 10
    assert not torch.equal(toy_batch(4, 8, seed=1).images, toy_batch(4, 8).images)


# ---------------------------------------------------------------- losses


class LossConfig(Config):
    scale: float = 1.0


def loss_registry(function, **kwargs) -> Registry:
    return registry_with(LossSpec("x", lambda config, context: function, LossConfig, **kwargs))


TARGET = frozenset({"target"})
CRITIC = frozenset({"critic"})


def mse(step):
    return (step.prediction.output - step.prediction.target).square().mean()


def brightness(step):
    return (step.fake[-1].mean((1, 2, 3)) * step.prediction.image_weight).mean()


def noisy_brightness(step):
    return brightness(step) + (step.draws.named("x").randn() * step.fake[-1].mean((1, 2, 3)) * 0).mean()


def adversarial(step):
    (logits, *_) = step.logits("fake", "own", "main")
    return (F.softplus(-logits) * step.prediction.image_weight).mean()


def adversarial_critic(step):
    real, fake = step.logits("real", "own", "main"), step.logits("fake", "own", "main")
    return sum(F.softplus(-r).mean() + F.softplus(f).mean() for r, f in zip(real, fake))


def r1(step):
    logits = sum(logit.sum() for logit in step.logits("real", "own", "main"))
    gradients = torch.autograd.grad(logits, step.real, create_graph=True)
    return sum(gradient.float().square().sum((1, 2, 3)).mean() for gradient in gradients)


class Learned(nn.Module):
    def __init__(self, idle: bool = False) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(()))
        if idle:
            self.idle = nn.Parameter(torch.zeros(()))

    def forward(self, step):
        return mse(step) / self.log_variance.exp() + self.log_variance


GOOD_LOSSES = {
    "mse": (mse, {"needs": TARGET}),
    "brightness": (brightness, {}),
    "noise": (noisy_brightness, {}),
    "adversarial": (adversarial, {"needs": CRITIC}),
    "critic": (adversarial_critic, {"needs": CRITIC, "player": "critic"}),
    "r1": (r1, {"needs": CRITIC | {"real_grad"}, "player": "critic"}),
    "learned": (Learned(), {"needs": TARGET}),
}


@pytest.mark.parametrize(("function", "spec"), GOOD_LOSSES.values(), ids=GOOD_LOSSES)
def test_good_losses_pass(function, spec):
    check_loss("mine/x", loss_registry(function, **spec))


def per_count(step):
    weight = (step.batch.wrong_ok * step.prediction.image_weight)[:, None, None, None]
    return (step.fake[-1] * weight).sum() / step.batch.wrong_ok.sum().clamp_min(1)


BAD_LOSSES = {
    "per sample": (lambda step: mse(step).expand(3), {"needs": TARGET}, "must give a scalar tensor, gave"),
    "a number": (lambda step: 0.5, {}, "must give a scalar tensor, gave float"),
    "nan": (lambda step: mse(step) * float("nan"), {"needs": TARGET}, "is nan, must be finite"),
    "detached": (lambda step: mse(step).detach(), {"needs": TARGET}, "has no gradient"),
    "needs unsaid": (mse, {}, "one-step generator fails; if it lacks something, say so in `needs`"),
    "critic unsaid": (adversarial, {}, "say so in `needs`"),
    "count": (per_count, {}, "as the mean over micro-batches: it must be a plain mean over B"),
    "summed": (lambda step: mse(step) * len(step.batch), {"needs": TARGET}, "plain mean over B"),
    "global noise": (lambda step: mse(step) * torch.rand(()), {"needs": TARGET}, "must come from step.draws"),
    "untrusted": (lambda step: step.fake[-1].mean(), {}, "ignores image_weight"),
    "idle": (Learned(idle=True), {"needs": TARGET}, "its parameter idle receives no gradient"),
    "wrong player": (
        lambda step: mse(step) + 0 * step.logits("fake", "own", "main")[0].mean(),
        {"needs": TARGET | CRITIC, "player": "critic"},
        "sends no gradient to the critic",
    ),
    "half": (
        lambda step: mse(step) * (float("inf") if torch.is_autocast_enabled("cpu") else 1),
        {"needs": TARGET},
        "under bf16 autocast",
    ),
}


@pytest.mark.parametrize(("function", "spec", "match"), BAD_LOSSES.values(), ids=BAD_LOSSES)
def test_bad_losses_are_caught(function, spec, match):
    fails(check_loss, loss_registry(function, **spec), match=match)


def test_a_wrong_name_or_option_is_an_assertion_too():
    registry = loss_registry(mse, needs=TARGET)
    with pytest.raises(AssertionError, match="did you mean 'mine/x'"):
        check_loss("mine/xx", registry)
    fails(check_loss, registry, match="'scale'", scales=3)
    broken = registry_with(LossSpec("x", lambda config, context: 1 / 0))
    fails(check_loss, broken, match="cannot be built: ZeroDivisionError")


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
        "do not react to the pictures",
    ),
    "noise": (
        {"heads": heads(lambda self, logits, _: [x + torch.rand(()) for x in logits])},
        "same draws gave different logits",
    ),
    "last level": (
        {"features": features(lambda self, levels, d: ToyCritic.features(self, levels[-1:], d))},
        "level of 8, 16 px is not looked at",
    ),
    "ends only": (
        {"features": features(lambda self, levels, d: ToyCritic.features(self, [levels[0], levels[-1]], d))},
        "level of 16 px is not looked at",
    ),
}


@pytest.mark.parametrize(("methods", "match"), BAD_CRITICS.values(), ids=BAD_CRITICS)
def test_bad_critics_are_caught(methods, match):
    fails(check_critic, critic_registry(**methods), match=match)


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


BAD_SAMPLERS = {
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


# ---------------------------------------------------------------- datasets, encoders, metrics


class Grey(Dataset):
    def __init__(self, config):
        self.config, self.number = config, Grey.built
        Grey.built += 1

    built = 0

    def size(self, split):
        return 30 if split == "train" else 5

    def record(self, split, index):
        image = torch.full((3, self.config.size, self.config.size), index, dtype=torch.uint8)
        return Record(image, self.captions(split, index), f"{split}/{index}")

    def captions(self, split, index):
        return (f"grey {index}",)

    def prompts(self, n, seed):
        return [f"grey {seed + i}" for i in range(n)]

    @property
    def fingerprint(self):
        return "grey"


def dataset_registry(**methods) -> Registry:
    made = type("Mine", (Grey,), methods)
    return registry_with(DatasetSpec("x", lambda config, context: made(config), DatasetConfig))


def test_a_good_dataset_passes():
    check_dataset("mine/x", dataset_registry(), size=16)


def record(**changes):
    return lambda self, split, index: replace(
        Grey.record(self, split, index), **{name: change(self, index) for name, change in changes.items()}
    )


BAD_DATASETS = {
    "leak": ({"record": record(key=lambda self, i: f"{i}")}, "is in both splits"),
    "keys": ({"record": record(key=lambda self, i: "one")}, "have the same key"),
    "float": ({"record": record(image=lambda self, i: torch.zeros(3, 16, 16))}, "uint8"),
    "size": ({"record": record(image=lambda self, i: torch.zeros(3, 8, 8).byte())}, r"must be \(3, 16, 16\)"),
    "disagree": ({"record": record(captions=lambda self, i: ("other",))}, "do not agree"),
    "no caption": ({"captions": lambda self, split, i: ()}, "at least one text"),
    "random": (
        {"record": record(image=lambda self, i: torch.full((3, 16, 16), self.number % 250).byte())},
        "not the same the second time",
    ),
    "empty": ({"size": lambda self, split: 0}, "nothing to train on"),
    "prompts": ({"prompts": lambda self, n, seed: ["x"]}, "must be 7 texts"),
    "unsteady": ({"prompts": lambda self, n, seed: [f"{self.number}"] * n}, "prompts are not the same"),
    "fingerprint": ({"fingerprint": property(lambda self: str(self.number))}, "fingerprint"),
}


@pytest.mark.parametrize(("methods", "match"), BAD_DATASETS.values(), ids=BAD_DATASETS)
def test_bad_datasets_are_caught(methods, match):
    fails(check_dataset, dataset_registry(**methods), match=match, size=16)


class Words(TextEncoder):
    width, length, built = 16, 8, 0

    def __init__(self):
        self.number = Words.built
        Words.built += 1

    def encode(self, captions):
        return toy_text(captions, self.width, self.length)

    @property
    def fingerprint(self):
        return "words"


def encoder_registry(**methods) -> Registry:
    made = type("Mine", (Words,), methods)
    return registry_with(TextEncoderSpec("x", lambda config, context: made()))


def encoded(change):
    return lambda self, captions: change(self, Words.encode(self, captions))


BAD_ENCODERS = {
    "width": ({"width": property(lambda self: 17), "encode": lambda s, c: toy_text(c)}, "tokens must be"),
    "mask": (
        {"encode": encoded(lambda s, e: TextEmbedding(e.tokens, e.mask & False, e.pooled))},
        "needs a real token",
    ),
    "float mask": (
        {"encode": encoded(lambda s, e: TextEmbedding(e.tokens, e.mask.float(), e.pooled))},
        "mask must be bool",
    ),
    "mixed": (
        {"encode": encoded(lambda s, e: TextEmbedding(e.tokens - e.tokens.mean(0), e.mask, e.pooled))},
        "when alone",
    ),
    "unsteady": (
        {"encode": encoded(lambda s, e: TextEmbedding(e.tokens + s.number, e.mask, e.pooled))},
        "encodes otherwise",
    ),
    "deaf": (
        {"encode": encoded(lambda s, e: TextEmbedding(e.tokens * 0, e.mask, e.pooled))},
        "encoded alike",
    ),
    "fingerprint": ({"fingerprint": property(lambda self: str(self.number))}, "fingerprint"),
}


def test_good_encoders_pass():
    check_text_encoder("mine/x", encoder_registry())
    check_text_encoder("builtin", width=32, length=10)


@pytest.mark.parametrize(("methods", "match"), BAD_ENCODERS.values(), ids=BAD_ENCODERS)
def test_bad_encoders_are_caught(methods, match):
    fails(check_text_encoder, encoder_registry(**methods), match=match)


def metric_registry(metric) -> Registry:
    return registry_with(MetricSpec("x", lambda config, context: metric))


def test_metrics():
    grey = Grey(DatasetConfig(spec="grey", size=16))

    def good(images, prompts, dataset):
        return {"mean": Measure(float(images.mean()), len(images))}

    check_metric("mine/x", metric_registry(good), grey)
    state = iter(range(100))
    for bad, match in (
        (lambda i, p, d: {"mean": 0.5}, r"must be a t2ikit\.Measure"),
        (lambda i, p, d: {}, "dict of at least one"),
        (lambda i, p, d: {"m": Measure(float("nan"), 1)}, "finite"),
        (lambda i, p, d: {"m": Measure(0.5, 99)}, "99 pictures of 5"),
        (lambda i, p, d: {"m": Measure(0.5, 1, 0.6, 0.7)}, "outside its interval"),
        (lambda i, p, d: {"m": Measure(0.5, 1, 0.4)}, "one end"),
        (lambda i, p, d: {"m": Measure(float(next(state)), 1)}, "other numbers the second time"),
        (lambda i, p, d: {"m": Measure(float(i.zero_().sum()), 1)}, "changed the pictures"),
    ):
        fails(check_metric, metric_registry(bad), grey, match=match)


# ---------------------------------------------------------------- plugins, recipes, exporters


def test_the_installed_plugins_pass():
    check_plugin("imagen")


def test_an_eager_plugin_is_caught(tmp_path, monkeypatch):
    source = "from t2ikit import LossSpec, hookimpl\n@hookimpl\ndef t2ikit_losses():\n    return []\n"
    info = tmp_path / "eager-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: eager\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[t2ikit]\neager = t2ikit_eager\n")
    (tmp_path / "t2ikit_eager.py").write_text(source + "import torch\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(AssertionError, match="t2ikit_eager imports torch"):
        check_plugin("eager")
    with pytest.raises(AssertionError, match="no such plugin"):
        check_plugin("nobody")
    (tmp_path / "mine.py").write_text("import torch\n" + source)
    check_plugin(str(tmp_path / "mine.py"))


def test_recipes(tmp_path):
    check_recipe("imagen/default")
    path = tmp_path / "bad.toml"
    path.write_text('extends = "imagen/default"\n[train]\nsteps = 0\n')
    with pytest.raises(AssertionError, match="steps"):
        check_recipe("mine/x", registry_with(RecipeSpec("x", path)))


def test_exporters(tmp_path):
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (run_folder / "recipe.toml").write_text("")
    run = SimpleNamespace(path=run_folder, model=lambda registry: SimpleNamespace(context=None))

    def registry(export):
        return registry_with(ExporterSpec("x", lambda config, context: export))

    def exporter_of(name):
        return lambda run, out: (out / name).write_bytes(b"x")

    with pytest.raises(AssertionError, match="wrote no file"):
        check_exporter("mine/x", run, registry(lambda run, out: None))
    with pytest.raises(AssertionError, match="not pickle"):
        check_exporter("mine/x", run, registry(exporter_of("weights.pt")))
    with pytest.raises(AssertionError, match="changed the run folder"):
        check_exporter("mine/x", run, registry(lambda run, out: (run.path / "x").write_bytes(b"x")))
    (run_folder / "x").unlink()
    check_exporter("mine/x", run, registry(exporter_of("weights.safetensors")))
