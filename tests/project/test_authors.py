"""What `from t2ikit import ...` gives suffices for a third party's denoiser and sampler."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_resume import IMAGEN

from imagen_support import PREDICTIONS, exact_output, make_batch, make_model, options
from t2ikit import Draws, noised_prediction, random_timesteps
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.runs.log import read_log
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model
from t2ikit.testing import check_generator, check_sampler
from t2ikit.training.start import start_run

AUTHORS = Path(__file__).parents[1] / "toys" / "authors.py"


def test_it_imports_nothing_but_public_names():
    found = [node for node in ast.walk(ast.parse(AUTHORS.read_text())) if isinstance(node, ast.ImportFrom)]
    modules = {node.module for node in found} - {"__future__"}
    assert modules == {"torch", "t2ikit"}


def test_it_passes_the_checks_for_plugins():
    registry = Registry.load([str(AUTHORS)])
    check_generator("authors/tiny", registry, 16)
    check_sampler("authors/straight", registry)


def test_it_trains_and_samples(tmp_path):
    registry = Registry.load([str(AUTHORS)])
    shared = [setting for setting in IMAGEN if not setting.startswith("generator.")]
    raw = tmp_path / "recipe.toml"
    raw.write_text(
        '[data]\nspec = "creatures"\n[generator]\nuse = "authors/tiny"\n'
        '[losses.denoise]\nweight = 1\n[sampler]\nuse = "authors/straight"\n'
    )
    settings = [
        *shared,
        "train.batch=8",
        "train.steps=48",
        "train.validate_every=1",
        "train.validation_images=64",
        "optimizer.generator.lr=0.01",
    ]
    recipe = read_recipe(registry, str(raw), settings=settings)
    run = start_run(registry, recipe, tmp_path / "run", device="cpu")
    log = read_log(run.path / "log.jsonl")
    losses = [line["validation/denoise"] for line in log if "validation/denoise" in line]
    assert len(losses) == 48
    assert losses[-1] < 0.8 * losses[0]
    model = open_model(run, plugins=[str(AUTHORS)])
    weak, strong = (sample_images(model, ["a red cat"], guidance=w) for w in (1.0, 5.0))
    assert weak.shape == (1, 3, 16, 16)
    assert weak.isfinite().all()
    assert not torch.equal(weak, strong)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_model_that_knows_the_images_predicts_its_target(prediction):
    model = make_model(options(prediction=prediction, caption_dropout=0.0))
    batch, seen = make_batch(), []

    def knowing(x, t, condition):
        seen.append(condition.captions)
        a = 1 - t / 1000 if prediction == "flow_prediction" else model.alphas_cumprod.double()[t].sqrt()
        sigma = t / 1000 if prediction == "flow_prediction" else (1 - a.square()).sqrt()
        a, sigma = a[:, None, None, None].double(), sigma[:, None, None, None].double()
        return exact_output(prediction, x.double(), batch.images.double(), a, sigma)

    t = torch.tensor([100.5, 500, 900] if prediction == "flow_prediction" else [100, 500, 900])
    found = noised_prediction(model, batch, Draws(batch.keys, 0), model.alphas_cumprod, predict=knowing, t=t)
    torch.testing.assert_close(found.images[0], batch.images, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(found.output, found.target, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(found.image_weight, found.snr / (1 + found.snr))
    assert (found.prediction_type, found.real) == (prediction, None)
    assert seen == [batch.condition.captions]
    assert torch.equal(found.timestep, t)


def test_captions_are_dropped_as_often_as_the_model_says():
    model, batch = make_model(options(caption_dropout=0.3)), make_batch(600)
    texts = []

    def predict(x, t, condition):
        texts.append(condition.text)
        return x

    noised_prediction(model, batch, Draws(batch.keys, 0), model.alphas_cumprod, predict=predict)
    empty = batch.condition.empty.expand(600)
    dropped = (texts[0].tokens == empty.tokens).flatten(1).all(1).float().mean()
    assert 0.24 < dropped < 0.36


def test_images_of_ones_own_are_what_is_trained_towards():
    model, batch = make_model(), make_batch()
    other = batch.images.flip(3)
    draws = [Draws(batch.keys, 0) for _ in range(2)]
    found = noised_prediction(model, batch, draws[0], model.alphas_cumprod, images=other)
    as_batch = noised_prediction(model, replace(batch, images=other), draws[1], model.alphas_cumprod)
    assert torch.equal(found.real, other)
    assert torch.equal(found.output, as_batch.output)
    assert torch.equal(found.target, as_batch.target)


@pytest.mark.parametrize("sampling", ["uniform", "logit_normal"])
@pytest.mark.parametrize("prediction", ["v_prediction", "flow_prediction"])
def test_timesteps_are_of_the_distribution_that_is_asked_for(sampling, prediction):
    draws = Draws(torch.arange(4000), "t")
    t = random_timesteps(draws, 1000, prediction=prediction, sampling=sampling)
    assert t.is_floating_point() == (prediction == "flow_prediction")
    assert 0 <= t.min() <= t.max() < 1000
    spread = {"uniform": 1000 / 12**0.5, "logit_normal": 208.0}[sampling]
    assert t.double().mean() == pytest.approx(500, abs=20)
    assert t.double().std() == pytest.approx(spread, rel=0.05)
    shifted = random_timesteps(Draws(torch.arange(4000), "t"), 1000, prediction=prediction, shift=3.0)
    assert shifted.double().mean() > 600
