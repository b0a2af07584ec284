"""Modules and names of the layout before: imports of them go on working for one version, with a warning.

`t2ikit/__init__.py` installs what finds the old modules. A folder that has the name of an old module
(`t2ikit.config`) answers to that module's names, too.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from t2ikit.utils.deprecation import warn_renamed

MODULES = {
    "accelerating": "training.accelerator",
    "batch": "core.batch",
    "cache": "utils.files",
    "callbacks": "registry.callbacks",
    "card": "exporters.card",
    "cascade": "sampling.cascade",
    "checkpoint": "runs.checkpoint",
    "clip": "nn.clip",
    "commands": "runs.commands",
    "comparing": "evaluation.comparison",
    "compose": "recipes.compose",
    "config": "config.toml",
    "config_types": "config.describe",
    "console": "utils.console",
    "cores": "utils.devices",
    "curves": "runs.curves",
    "data.captioned_config": "data.configs",
    "data.creatures": "data.creatures.dataset",
    "data.creatures_config": "data.configs",
    "data.creatures_drawing": "data.creatures.drawing",
    "data.creatures_grammar": "data.creatures.grammar",
    "data.creatures_species": "data.creatures.species",
    "data.folder": "data.formats.folder",
    "data.folder_config": "data.configs",
    "data.folder_hints": "data.formats.folder_hints",
    "data.folder_scan": "data.formats.folder_scan",
    "data.hub": "data.formats.hub",
    "data.looking": "recipes.datasets",
    "data.openmoji_config": "data.configs",
    "data.parquet": "data.formats.parquet",
    "data.pictures": "data.image_files",
    "data.ready": "data.decoded_cache",
    "data.shard_samples": "data.formats.shard_samples",
    "data.shards": "data.formats.shards",
    "data.shards_config": "data.configs",
    "data.stream": "data.formats.shard_stream",
    "data.streaming": "data.loader",
    "data.survey": "data.doctor.survey",
    "data.table": "data.formats.table",
    "data.table_config": "data.configs",
    "devices": "utils.devices",
    "display": "training.display",
    "dry_run": "memory.dry_run",
    "ema": "nn.ema",
    "enlarging": "core.super_resolution",
    "evaluating": "evaluation.evaluator",
    "evaluation_files": "evaluation.files",
    "evaluation_pictures": "evaluation.images",
    "evaluation_results": "evaluation.results",
    "exporting": "exporters.export",
    "extras": "utils.extras",
    "files": "utils.files",
    "generator_model": "exporters.generator_model",
    "given": "sampling.low_res",
    "grids": "utils.grids",
    "hookspecs": "registry.hookspecs",
    "hub": "utils.hub",
    "interfaces": "core.interfaces",
    "interrupts": "training.interrupts",
    "label_fonts": "utils.label_fonts",
    "level_embedding": "nn.noise_level",
    "markdown": "utils.quoting",
    "measuring": "evaluation.functions",
    "memory": "core.out_of_memory",
    "metrics.chosen": "metrics.selection",
    "modes": "nn.modes",
    "muon": "nn.muon",
    "pipeline_calls": "exporters.pipeline_calls",
    "pipeline_checks": "exporters.pipeline_checks",
    "player": "training.player",
    "plotting": "utils.plotting",
    "plugin_loading": "registry.loading",
    "predict_memory": "memory",
    "predict_memory.blame": "memory.blame",
    "predict_memory.gpu": "memory.gpu",
    "predict_memory.ledger": "memory.ledger",
    "predict_memory.report": "memory.report",
    "predict_memory.stand_ins": "memory.stand_ins",
    "progress": "utils.progress",
    "quoting": "utils.quoting",
    "recipe": "recipes.recipe",
    "recipe_options": "recipes.options",
    "registry": "registry.registry",
    "report": "evaluation.report",
    "run": "runs.run",
    "run_files": "runs.files",
    "run_history": "runs.history",
    "run_listing": "runs.listing",
    "run_plugins": "runs.plugins",
    "runlog": "runs.log",
    "sample_grids": "training.sample_grids",
    "schedule": "training.schedule",
    "sampling.draw": "sampling.images",
    "schema": "recipes.schema",
    "schema_lookup": "recipes.lookup",
    "session": "training.session",
    "settings": "recipes.settings",
    "shares": "training.accelerator",
    "snapshots": "training.snapshots",
    "specs": "registry.specs",
    "step": "core.step",
    "sweeping": "evaluation.sweeps",
    "testing_toys": "testing.toys",
    "text.builtin_config": "text.configs",
    "text.cache": "text.embedding_cache",
    "text.held": "text.pretrained",
    "text.pretrained_config": "text.configs",
    "text.tower": "nn.text_tower",
    "trackers": "training.trackers",
    "train_function": "training.train",
    "trainer": "training.trainer",
    "training": "training.start",
    "validation": "training.validation",
    "weights": "nn.weights",
}
"""Old module to new module, within t2ikit."""
NAMES = {
    "batch.Draws": "core.rng.Draws",
    "batch.mix": "core.rng.derive_seed",
    "card.write_card": "exporters.card.write_model_card",
    "cache.VARIABLE": "utils.files.CACHE_VARIABLE",
    "cascade.upscale": "sampling.cascade.upscale_images",
    "clip.Frozen": "nn.clip.FrozenModel",
    "clip.Pixels": "nn.clip.ClipPixels",
    "clip.open_model": "nn.clip.open_clip",
    "comparing.open_picture": "evaluation.comparison.open_image",
    "compose.Cast": "recipes.compose.Components",
    "compose.build_cast": "recipes.compose.build_components",
    "config.Option": "config.describe.Option",
    "config.Problems": "config.validation.Problems",
    "config.validate": "config.validation.validate",
    "data.creatures_config.CreaturesConfig": "data.configs.CreaturesConfig",
    "data.creatures_config.SUMMARY": "data.configs.CREATURES_SUMMARY",
    "data.folder.Files": "data.source.FileSource",
    "data.folder_scan.NO_PICTURE": "data.formats.folder_scan.NO_IMAGE",
    "data.folder_scan.find_picture": "data.formats.folder_scan.find_image",
    "data.openmoji_config.OpenmojiConfig": "data.configs.OpenmojiConfig",
    "data.openmoji_config.SUMMARY": "data.configs.OPENMOJI_SUMMARY",
    "data.pictures.open_picture": "data.image_files.open_image",
    "data.pictures.read_picture": "data.image_files.read_image",
    "data.ready.Ready": "data.decoded_cache.DecodedImages",
    "data.shards.NO_PICTURE": "data.formats.shards.NO_IMAGE",
    "data.shards.open_shards": "data.formats.shard_stream.open_shards",
    "data.streaming.StreamedShares": "data.loader.StreamLoader",
    "data.table.IMAGE_KEYS": "data.formats.rows.IMAGE_KEYS",
    "data.table.Rows": "data.formats.rows.Rows",
    "data.table.cell_bytes": "data.formats.rows.cell_bytes",
    "data.table.choose_columns": "data.formats.rows.choose_columns",
    "data.table.find_column": "data.formats.rows.find_column",
    "dry_run.DryRun": "memory.dry_run_report.DryRun",
    "dry_run.duration": "memory.dry_run_report.duration",
    "ema.Average": "nn.ema.EMA",
    "enlarging.Enlarging": "core.super_resolution.SuperResolution",
    "enlarging.enlarge": "core.super_resolution.upscale",
    "enlarging.prepared": "core.super_resolution.prepare_low_res",
    "evaluation_files.unwritable": "utils.files.unwritable",
    "evaluation_files.write_pictures": "evaluation.files.write_images",
    "evaluation_pictures.as_saved": "utils.images.as_saved",
    "files.save_picture": "utils.files.save_image",
    "given.real_pictures": "sampling.low_res.real_images",
    "given.small_pictures": "sampling.low_res.low_res_images",
    "grids.from_pil": "utils.images.from_pil",
    "grids.to_pil": "utils.images.to_pil",
    "interfaces.Download": "core.metric.Download",
    "interfaces.Drawn": "core.metric.ImageSet",
    "interfaces.Loss": "core.step.Loss",
    "interfaces.Measure": "core.metric.Measure",
    "interfaces.Metric": "core.metric.Metric",
    "interfaces.NotMeasured": "core.metric.NotMeasured",
    "level_embedding.LevelEmbedding": "nn.noise_level.NoiseLevelEmbedding",
    "metrics.chosen.Chosen": "metrics.selection.SelectedMetric",
    "metrics.chosen.choose_metrics": "metrics.selection.select_metrics",
    "modes.evaluating": "nn.modes.eval_mode",
    "muon.not_matrices": "nn.muon.exclude_from_muon",
    "player.Term": "core.step.WeightedLoss",
    "predict_memory.Forecast": "memory.forecast.Forecast",
    "predict_memory.at_once": "memory.forecast.at_once",
    "predict_memory.forecast": "memory.forecast.forecast",
    "predict_memory.rows": "memory.report.rows",
    "predict_memory.summary": "memory.report.summary",
    "recipe.data_of_run": "recipes.datasets.data_of_run",
    "recipe.find_dataset": "recipes.datasets.find_dataset",
    "recipe.read_recipe": "recipes.read.read_recipe",
    "recipe.resolve": "recipes.resolve.resolve",
    "recipe.steps_or_minutes": "recipes.read.steps_or_minutes",
    "run.PACKAGES": "runs.create.PACKAGES",
    "run.as_run": "runs.open.as_run",
    "run.check_free": "runs.create.check_free",
    "run.check_new": "runs.create.check_new",
    "run.create_run": "runs.create.create_run",
    "run.next_run_folder": "runs.create.next_run_folder",
    "run.open_run": "runs.open.open_run",
    "run.plugins_of": "runs.open.plugins_of",
    "run.portable": "runs.create.portable",
    "sampling.draw.check_finite": "sampling.images.check_finite_images",
    "sampling.draw.sample": "sampling.images.sample_images",
    "schema.LossTerm": "recipes.schema.LossConfig",
    "shares.training_shares": "training.accelerator.training_batches",
    "specs.Config": "config.base.Config",
    "text.held.HeldEncoder": "text.pretrained.LoadedTextEncoder",
    "train_function.forecast": "memory.forecast.forecast",
    "trainer.Seat": "training.trainer.PlayerState",
}
"""Old name to new name, where a name has another one, or is elsewhere than the rest of its module."""


def old_names(module: str, depth: int = 3) -> Callable[[str], Any]:
    """The `__getattr__` of a module that stands for an old one, or has its name.

    Args:
        module: its `__name__`.
        depth: calls from the warning to whoever asks for the name.
    """
    old = module.removeprefix("t2ikit.")

    def find(name: str) -> Any:
        place, _, new = NAMES.get(f"{old}.{name}", f"{MODULES.get(old, '')}.{name}").rpartition(".")
        known = f"{old}.{name}" in NAMES
        if not place or name.startswith("_") or (not known and _is_submodule(module, name)):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"t2ikit.{place}"), new)
        if known or not isinstance(sys.modules[module], _OldModule):
            warn_renamed(f"{module}.{name}", f"t2ikit.{place}.{new}", depth)
        setattr(sys.modules[module], name, found)  # found there from now on: warned of once
        return found

    return find


def _is_submodule(module: str, name: str) -> bool:
    """Whether import would find `module.name`: the import system asks for it as an attribute first."""
    return (
        hasattr(sys.modules[module], "__path__") and importlib.util.find_spec(f"{module}.{name}") is not None
    )


class _OldModule(ModuleType):
    """Stands for a module that is gone; its names are those of the new one."""

    def __getattr__(self, name: str) -> Any:
        return old_names(self.__name__, 4)(name)


class OldModules(MetaPathFinder, Loader):
    """Finds the modules that are gone."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What to load for a module of the layout before; None for any other."""
        package, _, old = fullname.partition(".")
        if package != "t2ikit" or old not in MODULES:
            return None
        return ModuleSpec(fullname, self, is_package=any(name.startswith(f"{old}.") for name in MODULES))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty one: the new module is imported when a name is asked for."""
        return _OldModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Warn, at the line that imports it."""
        warn_renamed(module.__name__, f"t2ikit.{MODULES[module.__name__.partition('.')[2]]}")
