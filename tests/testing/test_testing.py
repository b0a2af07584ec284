"""The conformance checks of losses, plugins, recipes and exporters: good ones pass."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from t2ikit import (
    Config,
    ExporterSpec,
    LossSpec,
    RecipeSpec,
)
from t2ikit.registry.registry import Registry
from t2ikit.testing import (
    check_exporter,
    check_loss,
    check_plugin,
    check_recipe,
)
from testing_support import fails, registry_with

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
    weight = (step.batch.mismatch_mask * step.prediction.image_weight)[:, None, None, None]
    return (step.fake[-1] * weight).sum() / step.batch.mismatch_mask.sum().clamp_min(1)


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
