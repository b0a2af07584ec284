"""Imports of the layout before go on working, with one warning that names the new place."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

import t2ikit
from t2ikit.utils.moved import MODULES, NAMES

AUTHORS = {
    "batch": "Batch Condition Draws Prediction Record TextEmbedding mix",
    "clip": "load_clip",
    "config": "Option Problems apply_settings dump_toml load_toml merge parse_setting validate",
    "data.captioned_config": "CaptionedConfig SplitConfig",
    "data.creatures": "Creatures",
    "ema": "Average",
    "enlarging": "Enlarging enlarge",
    "hookspecs": "hookimpl hookspec",
    "interfaces": "Critic Dataset Denoiser Download Drawn Generator Loss Measure Metric NotMeasured OneStep",
    "level_embedding": "LevelEmbedding",
    "memory": "is_out_of_memory",
    "modes": "evaluating",
    "muon": "not_matrices MuonAdamW",
    "recipe": "Recipe find_dataset read_recipe resolve",
    "registry": "Entry Plugin Registry",
    "run": "Run open_run",
    "schema": "LossTerm OptimizerConfig TrainConfig",
    "specs": "Config Context GeneratorSpec LossSpec",
    "step": "Step resize_level",
    "text.held": "HeldEncoder",
    "text.tower": "TextTower",
    "trainer": "Seat Trainer",
    "training": "resume_run",
}
"""Names that a plugin may have imported, by old module."""


@pytest.mark.parametrize("old", MODULES)
def test_an_old_module_is_found_at_its_new_place(old):
    importlib.import_module(f"t2ikit.{MODULES[old]}")
    if type(sys.modules.get(f"t2ikit.{old}")).__name__ == "_OldModule":  # no folder of the same name
        del sys.modules[f"t2ikit.{old}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module(f"t2ikit.{old}")


@pytest.mark.parametrize("old", NAMES)
def test_an_old_name_is_the_new_one(old):
    module, _, name = old.rpartition(".")
    place, _, new = NAMES[old].rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = getattr(importlib.import_module(f"t2ikit.{module}"), name)
    assert found is getattr(importlib.import_module(f"t2ikit.{place}"), new)


@pytest.mark.parametrize("module", AUTHORS)
def test_what_plugins_imported_is_there(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        place = importlib.import_module(f"t2ikit.{module}")
        assert [name for name in AUTHORS[module].split() if not hasattr(place, name)] == []


OLD_PLUGIN = """
import t2ikit.trainer
from t2ikit import hub
from t2ikit.muon import not_matrices
from t2ikit.registry import Registry, specs
from t2ikit.muon import not_matrices
from t2ikit.registry import Registry
print(t2ikit.trainer.Trainer.__module__, hub.folder_of.__module__, not_matrices.__name__, specs.__name__)
"""
TOLD = """\
2: t2ikit.trainer is now t2ikit.training.trainer
3: t2ikit.hub is now t2ikit.utils.hub
4: t2ikit.muon is now t2ikit.nn.muon
4: t2ikit.muon.not_matrices is now t2ikit.nn.muon.exclude_from_muon
5: t2ikit.registry.Registry is now t2ikit.registry.registry.Registry
"""


def test_an_old_plugin_is_told_once_at_its_own_lines(tmp_path):
    path = tmp_path / "old_plugin.py"
    path.write_text(OLD_PLUGIN)
    words = [sys.executable, "-W", "always::DeprecationWarning", str(path)]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [
        "t2ikit.training.trainer",
        "t2ikit.utils.hub",
        "exclude_from_muon",
        "t2ikit.registry.specs",
    ]
    told = [line for line in result.stderr.splitlines() if "DeprecationWarning: t2ikit" in line]
    said = [line.removeprefix(f"{path}:").replace(" DeprecationWarning:", "") for line in told]
    assert said == TOLD.splitlines()


def test_folders_answer_to_no_other_names():
    for module in ("config", "registry", "memory", "training", "data.creatures"):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            importlib.import_module(f"t2ikit.{module}").nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("t2ikit.never_was")
    with pytest.raises(ImportError):
        exec("from t2ikit.batch import nothing")


def test_exports_name_a_path_that_stays_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = importlib.import_module("t2ikit.pipeline")
    for name in ("GeneratorModel", "TextToImagePipeline"):
        kind = getattr(module, name)
        assert (kind.__module__, kind) == ("t2ikit.pipeline", getattr(t2ikit, name))
