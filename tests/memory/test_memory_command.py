"""`t2ikit memory` beside what a step really allocates, and what it says when it cannot know."""

from __future__ import annotations

import json

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from conftest import TOYS, build_toy
from t2ikit import UserError
from t2ikit.cli import main
from t2ikit.core.tensors import tensors_of
from t2ikit.data.loader import BatchLoader
from t2ikit.memory.forecast import _tensors, at_once, forecast
from t2ikit.recipes.compose import build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.training.accelerator import make_accelerator
from t2ikit.training.start import make_trainer

IMAGEN = ["generator.channels=[16, 32]", "generator.attention=[false, true]", "data.count=64"]
ADAMW = "optimizer.generator.kind=adamw"
READABLE = 'train.prompts=["a red square"]'
"""Captions that the toys' losses can read."""
GIGAGAN = ["data.count=64", "train.batch=8"]


def measured(recipe, registry):
    """The most that a second training step allocates on the CPU beyond what is held before it, and the
    batch's own bytes."""
    accelerator = make_accelerator(recipe.train, "cpu", lazy_parameters=False)
    components = build_components(recipe, registry, accelerator.device)
    trainer = make_trainer(recipe, components, accelerator)
    batch = BatchLoader(components.dataset, recipe.train.seed, recipe.train.batch)[0].batch(
        components.model.encoder, "cpu"
    )
    trainer.step(batch, 0)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        trainer.step(batch, 0)
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    given = sum(x.untyped_storage().nbytes() for x in _tensors(batch))
    return peak, given


CASES = {
    "imagen": ("imagen/default", IMAGEN),
    "imagen, micro-batches": ("imagen/default", [*IMAGEN, "train.micro_batch=4"]),
    "imagen, adamw": ("imagen/default", [*IMAGEN, ADAMW]),
    "gigagan": ("gigagan/default", GIGAGAN),
}


@pytest.mark.parametrize("case", CASES)
def test_the_forecast_is_what_a_step_allocates(case):
    name, settings = CASES[case]
    registry = Registry.load([])
    recipe = read_recipe(registry, name, settings=settings)
    found = forecast(recipe, registry, device="cpu")
    peak, given = measured(recipe, registry)
    passing = found.at_peak["activations"] + found.at_peak["gradients"] - given
    assert passing == pytest.approx(peak, rel=0.08)


def test_parameters_and_optimiser_are_counted_exactly():
    registry = Registry.load([])
    recipe = read_recipe(registry, "imagen/default", settings=[*IMAGEN, ADAMW, "train.ema_snapshots=4"])
    found = forecast(recipe, registry, device="cpu")
    generator = build_components(recipe, registry, torch.device("cpu")).model.generator
    weights = sum(p.numel() * 4 for p in generator.parameters())
    buffers = sum(b.numel() * b.element_size() for b in generator.buffers())
    steps = 4 * sum(1 for _ in generator.parameters())
    assert found.at_peak["parameters"] == weights + buffers
    assert found.at_most["gradients"] == weights
    assert found.at_peak["optimiser"] == 2 * weights + steps
    assert found.at_peak["averaged weights"] == 3 * weights  # the usual one, and two to choose a length from


def on_a_gpu(recipe, *settings):
    registry = Registry.load([str(TOYS)])
    return forecast(read_recipe(registry, recipe, settings=["train.batch=4", READABLE, *settings]), registry)


@pytest.mark.parametrize("kind", ["denoiser", "gan"])
def test_captured_steps_hold_the_state_twice_and_batches_and_the_memory_of_the_first(kind):
    toy = build_toy(f"toys/{kind}", "train.batch=4", READABLE, plugin=str(TOYS))
    batch = toy.batch()
    toy.trainer.step(batch, 0)
    state, inputs = (
        sum(one.numel() * one.element_size() for one in tensors)
        for tensors in (toy.trainer.state(), tensors_of(batch))
    )
    found = on_a_gpu(f"toys/{kind}")
    if kind == "denoiser":
        assert found.beside["captured steps"] == pytest.approx(state + inputs, rel=0.01)
    else:  # R1 is not due at every step, so there are two graphs
        light = found.beside["captured steps"] - state - 2 * inputs
        assert 0.2 * found.at_peak["activations"] < light < 1.1 * found.at_peak["activations"]


def test_what_else_a_gpu_holds_depends_on_settings():
    assert on_a_gpu("toys/denoiser").beside["texts on the device"] == 1 << 28
    off = on_a_gpu("toys/denoiser", "train.compile=off", "data.keep_on=host")
    assert list(off.beside) == ["CUDA context"]
    assert off.total == off.step + off.beside["CUDA context"]


def test_a_larger_batch_and_wider_channels_take_more():
    registry = Registry.load([])
    base = read_recipe(registry, "imagen/default", settings=IMAGEN)
    plain = forecast(base, registry).step
    assert forecast(at_once(base, 32), registry).step > 1.5 * plain
    wide = read_recipe(registry, "imagen/default", settings=[*IMAGEN, "generator.channels=[64, 128]"])
    assert forecast(wide, registry).step > 2 * plain


def test_checkpointing_takes_less_and_bf16_takes_less():
    registry = Registry.load([])

    def total(*settings):
        return forecast(
            read_recipe(registry, "imagen/default", settings=[*IMAGEN, ADAMW, *settings]), registry
        )

    plain = total("train.precision=no").at_most["activations"]
    fp32 = total("generator.checkpointing=true", "train.precision=no").at_most["activations"]
    assert fp32 < plain
    both, half = total("generator.checkpointing=true"), total()  # auto; computed anew as at first
    assert both.precision == half.precision == "bf16"
    assert both.at_most["activations"] < half.at_most["activations"] < 0.95 * plain


def test_the_command_prints_a_table_and_writes_bytes(tmp_path, capsys):
    target = tmp_path / "memory.json"
    words = [word for setting in IMAGEN for word in ("--set", setting)]
    assert main(["memory", "--plugin", "imagen", *words, "--batch", "8", "--json", str(target)]) == 0
    text = capsys.readouterr().out
    assert "micro-batch 8 of batch 16" in text
    assert "activations and temporaries" in text
    table = json.loads(target.read_text())
    assert table["step"] == sum(table["at_peak"].values()) > 1e6
    assert table["total"] == table["step"] + sum(table["beside"].values())
    assert all(kind in text for kind in table["beside"])


PEEKING = """
from t2ikit import LossSpec, hookimpl

@hookimpl
def t2ikit_losses():
    return [LossSpec("peek", lambda config, context: peek)]

def peek(step):
    return step.fake[-1].mean() * (1 if float(step.fake[-1].mean()) > 0 else 2)
"""


def test_a_loss_that_looks_at_contents_is_named(tmp_path):
    path = tmp_path / "peeking.py"
    path.write_text(PEEKING)
    registry = Registry.load([str(path)])
    recipe = read_recipe(registry, "imagen/default", settings=[*IMAGEN, "losses.extra.use=peeking/peek"])
    with pytest.raises(UserError, match=r"losses\.extra cannot be followed"):
        forecast(recipe, registry)


def test_an_unknown_recipe_and_a_folder_that_is_not_there_exit_2(capsys, tmp_path):
    for words in (["--recipe", "imagen/none"], ["--json", str(tmp_path / "no" / "x.json")]):
        assert main(["memory", "--plugin", "imagen", *words]) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_a_third_partys_recipe():
    registry = Registry.load([str(TOYS)])
    found = forecast(read_recipe(registry, "toys/denoiser", settings=[READABLE]), registry)
    assert found.total > 0
