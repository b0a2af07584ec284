"""Autoguidance: a worse model that the sampling of a better one is guided away from (arXiv 2406.02507)."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from test_resume import IMAGEN
from test_samplers import KEYS, SAMPLERS

import t2ikit
from imagen_support import make_condition, make_model, options
from t2ikit import Draws, GuidedDenoiser, SamplerConfig, UserError
from t2ikit.evaluation.evaluator import Evaluator
from t2ikit.evaluation.results import EvaluationOptions
from t2ikit.nn.cuda_graphs import CudaGraphs
from t2ikit.recipes.compose import build_model
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.sampling.graphs import DenoiserGraphs
from t2ikit.sampling.open import check_guide, open_model
from t2ikit.training.start import start_run


def pair(**changes):
    """A model, and a narrower one with a text tower of its own."""
    model = make_model(speaks=True).eval()
    guide = make_model(options(channels=(16, 16), **changes), speaks=True).eval()
    for parameter in guide.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    return model, guide


def denoiser(model, guide, guidance, autoguidance=2.0, **more):
    config = SamplerConfig(guidance=guidance, autoguidance=autoguidance, thresholding="none", **more)
    return GuidedDenoiser(model, make_condition(), config, guide=guide)


def clean(model, x, t, condition):
    """Clean images without guidance, in float64: v-prediction by its definition."""
    alpha = model.alphas_cumprod.double()[t]
    with torch.no_grad():
        v = model.denoise(x, torch.full((len(x),), t), condition).double()
    return alpha.sqrt() * x - (1 - alpha).sqrt() * v


@pytest.mark.parametrize(("guidance", "evaluations"), [(0.0, 9), (1.0, 6), (3.0, 9)])
def test_the_formula_beside_float64(guidance, evaluations):
    model, guide = pair()
    x, t, weight = torch.randn(3, 3, 16, 16), 500, 2.5
    found = denoiser(model, guide, guidance, weight)
    with torch.no_grad():
        images = found.at_timestep(x, torch.tensor(t))
    text, empty = (clean(model, x, t, make_condition(c)) for c in (make_condition().captions, ("", "", "")))
    worse = clean(guide, x, t, make_condition())
    expected = empty + guidance * (text - empty) + (weight - 1) * (text - worse)
    torch.testing.assert_close(images.double(), expected, atol=2e-4, rtol=1e-4)
    assert (expected - (empty + guidance * (text - empty))).abs().max() > 0.1
    assert found.function_evaluations == evaluations
    if guidance == 1:
        torch.testing.assert_close(expected, worse + weight * (text - worse))  # the paper's


def test_a_guide_of_the_same_weights_or_of_weight_one_changes_nothing():
    model, guide = pair()
    x, t = torch.randn(3, 3, 16, 16), torch.tensor(700)
    with torch.no_grad():
        plain = denoiser(model, None, 3.0)
        expected = plain.at_timestep(x, t)
        of_one = denoiser(model, guide, 3.0, 1.0)
        torch.testing.assert_close(of_one.at_timestep(x, t), expected)
        same = denoiser(model, model, 3.0).at_timestep(x, t)
    torch.testing.assert_close(same, expected, atol=1e-4, rtol=1e-4)
    assert of_one.function_evaluations == plain.function_evaluations == 6


def test_it_holds_within_the_guidance_interval_alone():
    model, guide = pair()
    x = torch.randn(3, 3, 16, 16)
    found = denoiser(model, guide, 3.0, guidance_interval=(0.2, 0.6))
    with torch.no_grad():
        outside, inside = (found.at_timestep(x, torch.tensor(t)) for t in (900, 500))
        alone = denoiser(model, None, 1.0)
        torch.testing.assert_close(outside, alone.at_timestep(x, torch.tensor(900)))
        assert (inside - alone.at_timestep(x, torch.tensor(500))).abs().max() > 0.1
    assert found.function_evaluations == 3 + 9


def test_a_self_conditioned_guide_is_shown_the_last_estimate():
    model, guide = pair(self_conditioning=0.5)
    seen = []
    guide.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0][:, 12:].abs().max()))
    found = denoiser(model, guide, 1.0)
    with torch.no_grad():
        for t in (900, 800):
            found.at_timestep(torch.randn(3, 3, 16, 16), torch.tensor(t))
    assert seen[0] == 0
    assert seen[1] > 0


class Replayed:
    """Stands for a CUDA device: what is captured runs again."""

    def run(self, code):
        return code()

    def capture(self, code):
        code()
        return code


def test_captured_calls_hold_the_guide():
    model, guide = pair()
    x, t, graphs = torch.randn(3, 3, 16, 16), torch.tensor(500), DenoiserGraphs(Replayed())
    config = SamplerConfig(guidance=3.0)
    captured = GuidedDenoiser(model, make_condition(), config, graphs=graphs, guide=guide)
    with torch.no_grad():
        found = [captured.at_timestep(x, t) for _ in range(5)]
        plain = GuidedDenoiser(model, make_condition(), config, graphs=graphs).at_timestep(x, t)
    assert isinstance(graphs.graphs, CudaGraphs)
    assert len(graphs.graphs) == 1
    with torch.no_grad():
        wanted = GuidedDenoiser(model, make_condition(), config, guide=guide).at_timestep(x, t)
    for one in found:
        torch.testing.assert_close(one, wanted)
    assert (plain - wanted).abs().max() > 0.1


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_takes_a_guide(name):
    kind, config = SAMPLERS[name]
    model, guide = pair()
    plain, guided = kind(config(steps=3)), kind(config(steps=3, guidance_model="somewhere"))
    with pytest.raises(UserError, match="was not opened"):
        guided(model, make_condition(), draws=Draws(KEYS, "s"))
    guided.guide = guide
    images = [one(model, make_condition(), draws=Draws(KEYS, "s")) for one in (plain, guided)]
    assert not torch.equal(*images)
    assert (plain.function_evaluations, guided.function_evaluations) == (18, 27)


def train(out, *settings):
    registry = Registry.load()
    given = [*IMAGEN, "train.steps=4", "train.save_every=2", "train.sample_every=100", *settings]
    return start_run(registry, read_recipe(registry, "imagen/default", settings=given), out, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("t2ikit.training.session.plot_curves", lambda log, out: None)
        yield train(tmp_path_factory.mktemp("guided") / "run", "train.ema_snapshots=2")


def built(*settings):
    """An untrained model."""
    registry = Registry.load()
    recipe = read_recipe(registry, "imagen/default", settings=settings)
    return build_model(recipe, registry, torch.device("cpu"), recipe.parts["data"].config.size)


def guide_of(run, named):
    return open_model(run, settings=[f"sampler.guidance_model={named}"]).sampler.guide


def test_a_guide_is_named_in_one_setting(run, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "small")
    for named, model in {
        "self:2": run.model(checkpoint=2),
        "self:raw": run.model(weights="raw"),
        "self:ema=0.1": run.model(ema=0.1),
        f"{folder}": run.model(),
        f"{folder}:2": run.model(checkpoint=2),
    }.items():
        expected = model.generator.state_dict()
        found = guide_of(run, f'"{named}"').state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected), named
    own = {"set": {"sampler.guidance_model": "self:2"}, "n": 1, "device": "cpu"}
    sampled = t2ikit.sample(run, "a red cat", **own)
    assert sampled.function_evaluations == 6  # two steps of three
    assert not torch.equal(sampled.images, t2ikit.sample(run, "a red cat", n=1, device="cpu").images)


@pytest.mark.parametrize(
    ("what", "settings"),
    [
        ("has another image size", ["data.size=24"]),
        ("has another text encoder", ["text.width=32"]),
        (r"has another schedule \(prediction_type\)", ["generator.prediction=v_prediction"]),
    ],
)
def test_a_guide_that_does_not_fit_is_refused(what, settings):
    with pytest.raises(UserError, match=what) as error:
        check_guide(built(*IMAGEN), built(*IMAGEN, *settings), "runs/other")
    assert None not in (error.value.expected, error.value.got, error.value.fix)
    assert error.value.expected.removesuffix(", as in the model that it guides") != error.value.got


def test_a_guide_must_be_a_diffusion_model():
    gan = SimpleNamespace(generator=torch.nn.Linear(1, 1))
    with pytest.raises(UserError, match="is not a diffusion model"):
        check_guide(built(*IMAGEN), gan, "runs/gan")


def test_weights_that_cannot_guide_are_refused(run):
    with pytest.raises(UserError, match="cannot guide itself"):
        guide_of(run, "self")
    with pytest.raises(UserError, match="no checkpoint of step 3"):
        guide_of(run, "self:3")
    with pytest.raises(UserError, match="not a run folder"):
        guide_of(run, "self:best")


def test_no_plugin_is_loaded_because_a_guide_names_it(run, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "other")
    (folder / "evil.py").write_text("raise SystemExit('was run')")
    info = json.loads((folder / "run.json").read_text())
    info["plugins"].append({"name": "evil", "origin": str(folder / "evil.py"), "sha256": "0" * 64})
    (folder / "run.json").write_text(json.dumps(info))
    recipe = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(recipe.replace('use = "imagen/unet"', 'use = "evil/unet"'))
    with pytest.raises(UserError, match="made with plugin 'evil', which is not here"):
        guide_of(run, folder)


def test_training_and_exports_do_not_take_it(run, tmp_path):
    with pytest.raises(UserError, match="training does not take it"):
        train(tmp_path / "run", "sampler.guidance_model=self:2")
    folder = shutil.copytree(run.path, tmp_path / "copy")
    recipe = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(recipe.replace('guidance_model = ""', 'guidance_model = "self:2"'))
    with pytest.raises(UserError, match="cannot hold the model that guides"):
        t2ikit.export(folder, out=tmp_path / "export")


def test_an_export_holds_the_average_that_is_asked_for(run, tmp_path):
    t2ikit.export(run, ema=0.1, out=tmp_path / "export")
    exported = t2ikit.open_run(tmp_path / "export")
    expected = run.model(ema=0.1).generator.state_dict()
    found = exported.model().generator.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert exported.info["ema"] == 0.1
    assert "averaged to a relative width of 0.1" in (exported.path / "README.md").read_text()
    with pytest.raises(UserError, match="an export holds the averaged weights"):
        exported.model(ema=0.1)


def test_a_sweep_may_be_over_guides_and_its_numbers_know_their_step(run):
    asked = EvaluationOptions(metrics=["colours"], n=2, settings=["sampler.guidance_model=self:2"])
    evaluator = Evaluator(run, asked, device="cpu")
    assert evaluator.settings()["guide_step"] == 2
    points = [{"guidance_model": "self:ema=0.1"}, {"guidance_model": "self:2", "ema": "0.1"}]
    assert [evaluator.settings(point)["guide_step"] for point in points] == [4, 2]
    assert evaluator.settings(points[1])["ema"] == 0.1
    before = {name: tensor.clone() for name, tensor in evaluator.model.generator.state_dict().items()}
    images = [evaluator.sample(point).image_set.images for point in ({}, *points)]
    assert not any(torch.equal(images[0], other) for other in images[1:])
    after = evaluator.model.generator.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
