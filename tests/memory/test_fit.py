"""`t2ikit train --memory`: which micro-batch is chosen, when checkpointing is, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
import torch

from conftest import TOYS
from t2ikit import UserError
from t2ikit.cli import main
from t2ikit.data.feed.resident import free_memory
from t2ikit.memory import fit as fitting
from t2ikit.memory.fit import SPARE, fit, fit_training, parse_memory
from t2ikit.memory.forecast import Forecast
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from training_support import RARELY, interrupted, no_curves

__all__ = ["no_curves"]
FIXED, EACH, LESS = 10**9, 10**9, 4
"""Bytes forecast whatever the micro-batch, and an image; how many times less of these if checkpointed."""


@pytest.fixture
def forecasts(monkeypatch):
    """Forecasts that are a straight line; the micro-batches they were asked for."""
    asked = []

    def forecast(recipe, registry):
        size = recipe.train.micro_batch
        asked.append(size)
        anew = getattr(recipe.parts["generator"].config, "checkpointing", False)
        held = {"parameters": FIXED, "activations": size * EACH // (LESS if anew else 1)}
        return Forecast(recipe.name, "bf16", recipe.train.batch, size, held, held, "forward pass", {})

    monkeypatch.setattr(fitting, "forecast", forecast)
    return asked


def fitted(gigabytes, *settings, recipe="imagen/default", **options):
    registry = Registry.load([])

    def read(more):
        return read_recipe(registry, recipe, settings=["train.batch=16", *settings, *more])

    return fit(read, registry, int(gigabytes * 1e9 / (1 - SPARE)) + 1, **options)


@pytest.mark.parametrize(
    ("gigabytes", "micro_batch", "checkpointing"),
    [
        (17, 16, False),
        (16.9, 16, True),  # 8 without: twice as many
        (9, 16, True),
        (4.9, 8, True),  # 3 without
        (1.5, 2, True),  # nothing without
        (1.3, 1, True),
    ],
)
def test_the_largest_that_fits_and_checkpointing_where_it_doubles_it(
    forecasts, gigabytes, micro_batch, checkpointing
):
    found = fitted(gigabytes)
    assert (found.forecast.micro_batch, found.checkpointing) == (micro_batch, checkpointing)
    on = ("generator.checkpointing=true",) if checkpointing else ()
    assert found.settings == (*on, f"train.micro_batch={micro_batch}")
    assert ("checkpointing on" in found.describe()) == checkpointing
    assert f"micro-batch {micro_batch} of 16" in found.describe()


def test_checkpointing_that_does_not_double_the_micro_batch_stays_off(forecasts, monkeypatch):
    monkeypatch.setattr(fitting, "WORTH", 3)
    assert fitted(10).settings == ("train.micro_batch=8",)


def test_parts_are_about_even_and_no_larger_than_the_recipes(forecasts):
    off = "generator.checkpointing=true"  # there is nothing to turn on
    assert fitted(8, off, "train.batch=10").settings == ("train.micro_batch=10",)
    assert fitted(2.6, off, "train.batch=10").settings == (
        "train.micro_batch=5",
    )  # 6 fit: 6 + 4 is no faster
    assert fitted(100, "train.micro_batch=3").settings == ("train.micro_batch=3",)
    assert len(forecasts) < 10


def test_critics_are_checkpointed_where_they_can_be(forecasts):
    found = fitted(1.3, recipe="gigagan/default")
    assert "generator.checkpointing=true" in found.settings
    assert not any("critics" in setting for setting in found.settings)  # GigaGAN's cannot


def test_a_run_that_goes_on_changes_its_micro_batch_alone(forecasts):
    assert fitted(9, resumed=True).settings == ("train.micro_batch=8",)
    with pytest.raises(UserError, match="no step"):
        fitted(1.3, resumed=True)


def test_where_nothing_fits_it_says_what_would(forecasts):
    with pytest.raises(UserError, match="no step of this training fits into") as error:
        fitted(1.2)
    assert "1.4GB" in error.value.fix  # 1.25 GB and what is left free
    assert fitted(1.4 * (1 - SPARE)).forecast.micro_batch == 1


def test_a_real_forecast_fits():
    registry = Registry.load([str(TOYS)])
    settings = ["data.keep_on=host", "train.compile=off", "train.batch=16", 'train.prompts=["a red square"]']

    def read(more):
        return read_recipe(registry, "toys/denoiser", settings=[*settings, *more])

    most, least = (fitting.forecast(read([f"train.micro_batch={size}"]), registry).total for size in (16, 1))
    memory = int((most + least) / 2 / (1 - SPARE))
    found = fit(read, registry, memory)
    assert 6 <= found.forecast.micro_batch <= 8
    assert least < found.forecast.total <= (1 - SPARE) * memory
    assert read(found.settings).train.micro_batch == found.forecast.micro_batch


# ---------------------------------------------------------------- what a user types


@pytest.mark.parametrize(
    ("text", "count"),
    [("12GB", 12 * 10**9), ("11.5 gib", int(11.5 * 2**30)), ("800MB", 8 * 10**8), ("1MiB", 2**20)],
)
def test_sizes(text, count):
    assert parse_memory(text) == count


@pytest.mark.parametrize("text", ["12", "GB", "-1GB", "0GB", "12TB", "1.2.3GB", ""])
def test_wrong_sizes_exit_2(capsys, text):
    assert main(["train", "--plugin", "imagen", "--memory", text]) == 2
    assert "such as 12GB" in capsys.readouterr().err


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="one process"):
        fit_training("imagen", memory="12GB")


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_the_command_trains_with_what_was_chosen_and_little_is_free_meanwhile(
    forecasts, monkeypatch, capsys, more
):
    seen = {}
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64e9))

    def train(plugin, **options):
        seen.update(options, free=free_memory(torch.device("cpu")))
        raise UserError("seen", expected="", got="", fix="")

    monkeypatch.setattr("t2ikit.training.train.train", train)
    monkeypatch.setattr("t2ikit.memory.dry_run.forecast_training", train)
    words = ["--plugin", "imagen", "--device", "cpu", "--set", "train.steps=3", "--set", "train.batch=16"]
    assert main(["train", *words, "--memory", "18.6GB", *more]) == 2
    assert seen["set"] == ["train.steps=3", "train.batch=16", "train.micro_batch=16"]
    assert seen["free"] == int(18.6e9) - FIXED - 16 * EACH
    assert free_memory(torch.device("cpu")) == 64e9
    assert "micro-batch 16 of 16: about 17 GB" in capsys.readouterr().err


def test_a_resumed_run_goes_on_with_what_was_chosen(forecasts, tmp_path):
    run = interrupted(tmp_path / "run", {**RARELY, "train.steps": 3, "train.log_every": 1}, at=1)
    found = fit_training(str(TOYS), resume=run.path, memory="3.3GB")  # 2 images
    assert found.settings == ("train.micro_batch=2",)
    words = ["train", "--plugin", str(TOYS), "--resume", str(run.path), "--device", "cpu"]
    assert main([*words, "--memory", "3.3GB"]) == 0
    assert "micro_batch = 2" in (run.path / "recipe.toml").read_text()


def test_a_gpu_is_held_to_it_meanwhile(forecasts, monkeypatch):
    shares = []
    monkeypatch.setattr(fitting, "find_device", lambda device: torch.device("cuda", 0))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80e9)
    )
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: shares.append(share)
    )
    found = fitted(16)
    with pytest.raises(KeyError), fitting.capped(found, "cuda"):
        raise KeyError
    assert shares == [(found.memory - fitting.CONTEXT) / 80e9, 1.0]
