"""A run folder: recipe.toml, run.json, log.jsonl, samples/, checkpoints/."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2ikit.config.toml import apply_settings, load_toml
from t2ikit.core.interfaces import TextEncoder
from t2ikit.core.rng import Numbers
from t2ikit.core.shapes import Shape
from t2ikit.errors import T2ikitWarning, UserError
from t2ikit.nn.weights import another_checkpoint, check_finite, exported_weights, load_state, merge_lora
from t2ikit.recipes.compose import Model, build_model
from t2ikit.recipes.datasets import data_of_run
from t2ikit.recipes.recipe import SAMPLING, TABLES, Recipe
from t2ikit.recipes.resolve import resolve
from t2ikit.registry.registry import Registry
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs import files as run_files
from t2ikit.runs.averages import synthesised
from t2ikit.runs.log import read_log
from t2ikit.runs.plugins import check_present, check_same_files, plugins_in
from t2ikit.text.vocabulary import KEY, read_words

ENCODER = "text_encoder"
"""Folder of an export's text encoder."""


@dataclass(frozen=True)
class Run:
    """A run folder that has been looked into.

    Attributes:
        path: the folder.
        table: the fully resolved recipe.
        info: what run.json holds: versions, plugins, data fingerprint, seed, device.
        registry: where `model` looks parts up; None: the installed plugins.
        ema: length of the average that `model` takes where it is told none; None: the one that training kept.
        known_as: hf:OWNER/NAME or the name of a model that comes with t2ikit; None: a folder of the user's.
    """

    path: Path
    table: dict[str, Any]
    info: dict[str, Any]
    registry: Registry | None = field(default=None, repr=False, compare=False)
    ema: float | None = None
    known_as: str | None = None

    @property
    def name(self) -> str:
        """What it is called: that of its folder, or what it is known as."""
        return self.known_as or self.path.resolve().name

    @property
    def image_size(self) -> int:
        """Height and width of the images, pixels."""
        return int(self.table["data"]["size"])

    @property
    def image_channels(self) -> int:
        """Channels of the images; earlier versions, which did not record it, knew RGB alone."""
        return int(self.info.get("image_channels", 3))

    @property
    def image_shapes(self) -> tuple[Shape, ...]:
        """Height and width of the images, where it is trained in several shapes; empty: squares."""
        return tuple((height, width) for height, width, _ in self.info.get("image_shapes", ()))

    @property
    def random(self) -> Numbers:
        """How its random numbers are made; earlier versions, which did not record it, had torch make them."""
        return "counter" if self.info.get("random") == "counter" else "torch"

    @property
    def asked_table(self) -> dict[str, Any]:
        """The recipe with `train.precision` as it was asked for when the run began, which may be "auto"."""
        asked = load_toml(self.path / "recipe.toml").get("train", {}).get("precision", "auto")
        return {**self.table, "train": {**self.table["train"], "precision": asked}}

    @property
    def steps_done(self) -> int:
        """Steps of the newest checkpoint, as the folder stands now; 0 where there is none."""
        if self.exported:
            return int(self.info.get("step", 0))
        found = run_files.checkpoints(self.path)
        return run_files.step_of(found[-1]) if found else 0

    @property
    def finished(self) -> bool:
        """Whether all of its steps, or of its minutes, are done, as the folder stands now.

        Raises:
            UserError: the newest checkpoint is damaged.
        """
        found = run_files.checkpoints(self.path)
        if self.exported or not found:
            return self.exported
        try:
            return run_files.is_over(self.steps_done, self.table["train"], run_files.read_state(found[-1]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise damaged(found[-1] / "state.json", error) from error

    @property
    def grid(self) -> Path | None:
        """The newest grid of validation prompts, a PNG; None where none was sampled."""
        found = run_files.grids(self.path)
        return found[-1] if found else None

    def grid_at(self, step: int) -> Path:
        """Where the grid of a step is, or would be."""
        return self.path / "samples" / f"step-{step:08d}.png"

    def log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl: `step`, and any of `loss/NAME`, `validation/NAME`, `lr/PLAYER` and so on.

        A value that was not finite is None.

        Raises:
            UserError: a line is damaged.
        """
        return read_log(self.path / "log.jsonl")

    def recipe(self, registry: Registry, *, sampling: bool, settings: tuple[str, ...] = ()) -> Recipe:
        """The recipe, checked; for sampling only the tables that sampling needs."""
        where = str(self.path / "recipe.toml")
        only = SAMPLING if sampling else TABLES
        table = self.table if sampling else {**self.table, "data": data_of_run(registry, self.table["data"])}
        return resolve(registry, apply_settings(table, settings), where, settings=settings, only=only)

    def model(
        self,
        registry: Registry | None = None,
        *,
        weights: str = "ema",
        checkpoint: int | None = None,
        ema: float | None = None,
        device: torch.device | str = "cpu",
    ) -> Model:
        """The trained model, in evaluation mode.

        Args:
            registry: where parts are looked up; None takes the run's own.
            weights: "ema" (the averaged ones; the raw ones where none were kept) or "raw".
            checkpoint: step of the checkpoint; None takes the newest that is whole.
            ema: length of the average, a share of the training such as 0.1, of a run that was trained with
                `train.ema_snapshots`; None takes the average that training kept.
            device: where the model goes.

        Warns:
            T2ikitWarning: a newer checkpoint is damaged and was passed over; the model's `notes` say so, too.

        Raises:
            UserError: there is no such checkpoint or average, its weights are not finite, or a plugin is
                missing.
        """
        ema = self.ema if ema is None else ema
        self._check_weights(weights, ema)
        registry = registry or self.registry or Registry.load()
        self.check_plugins(registry, training=False)
        recipe = self.recipe(registry, sampling=True)
        kind = (self.image_size, self.random, self.image_channels, self.image_shapes)
        model = build_model(recipe, registry, torch.device(device), *kind)
        self.check_text(model.encoder)
        snapshot = self.snapshot(checkpoint)
        for note in snapshot.notes:
            warnings.warn(f"{self.path}: {note}", T2ikitWarning, stacklevel=1)  # one place: told once
        tensors = self.weights(snapshot, weights, ema)
        where = f"{self.path}: the model of step {snapshot.step}"
        check_finite(tensors, dict(model.generator.named_buffers()), where, self._instead_of(snapshot.step))
        load_state(model.generator, tensors, self.path)
        model.generator.eval()
        return replace(model, step=snapshot.step, notes=snapshot.notes, words=snapshot.state.get(KEY))

    def _check_weights(self, weights: str, ema: float | None) -> None:
        if weights not in ("ema", "raw") or (weights == "raw" and ema is not None):
            raise UserError(
                "weights: there are no such weights",
                expected='"ema", the averaged ones, or "raw", the last ones, of which there is no average',
                got=repr(weights) + ("" if ema is None else f", and ema {ema:g}"),
                fix="leave it out for the averaged ones",
            )
        if self.exported and (weights != "ema" or ema is not None):
            raise self._one_set_of_weights(f"weights {weights}" if ema is None else f"ema {ema:g}")

    def weights(
        self, snapshot: ckpt.Snapshot, weights: str = "ema", ema: float | None = None
    ) -> dict[str, Tensor]:
        """The generator's weights at a checkpoint, chosen as in `model`; adapters of LoRA are merged."""
        if ema is not None:
            return merge_lora(synthesised(self.path, snapshot, ema))
        part = "ema" if weights == "ema" and "ema" in snapshot.tensors else "generator"
        return merge_lora(snapshot.tensors[part])

    @property
    def exported(self) -> bool:
        """It is what `t2ikit export --format diffusers` wrote: the averaged weights, and no checkpoints."""
        return (self.path / "model_index.json").is_file()

    @property
    def is_closed(self) -> bool:
        """Whether nothing is to be written into its folder: it is an export, or not the user's own."""
        return self.exported or self.known_as is not None

    @property
    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, whole or not; an export has none."""
        return [ckpt.step_of(path) for path in ckpt.checkpoints(self.path)]

    def step(self, checkpoint: int | None = None) -> int:
        """Steps done at a checkpoint, the newest whole one where None is asked for.

        Raises:
            UserError: there is no such checkpoint.
        """
        return self._exported_step if self.exported else self.snapshot(checkpoint).step

    def snapshot(self, checkpoint: int | None = None) -> ckpt.Snapshot:
        """What a checkpoint holds, the newest whole one where None is asked for.

        Its `notes` say which newer ones are damaged. Of an export it has the part "ema" alone.

        Raises:
            UserError: there is no such checkpoint, or it is damaged.
        """
        if not self.exported:
            return ckpt.load_at(self.path, checkpoint)
        if checkpoint is not None:
            raise self._one_set_of_weights(f"checkpoint {checkpoint}")
        state = {KEY: read_words(self.path)}
        return ckpt.Snapshot(self._exported_step, {"ema": exported_weights(self.path)}, state)

    def _instead_of(self, step: int) -> str:
        """What to do where the weights of a step are not finite."""
        if self.exported:
            return "export the run again, from a checkpoint whose weights are"
        return another_checkpoint([one for one in self.steps if one != step])

    @property
    def _exported_step(self) -> int:
        return int(self.info.get("step", 0))

    def _one_set_of_weights(self, got: str) -> UserError:
        return UserError(
            f"{self.path}: an export holds the averaged weights of one checkpoint alone",
            expected="no --weights raw, no --checkpoint and no --ema",
            got=got,
            fix="use the run folder it was made from",
        )

    def check_plugins(self, registry: Registry, *, training: bool) -> None:
        """Refuse to go on without the plugins this run was made with.

        Sampling needs those of the generator, the sampler and the text encoder; resuming all of them,
        and a file plugin must be the very same file.
        """
        needed = self.info["plugins"] if training else self.sampled_with
        check_present(str(self.path), needed, registry)
        if training:
            check_same_files(self.path, needed, registry)

    def check_text(self, encoder: TextEncoder) -> None:
        """Refuse a text encoder whose embeddings are not those the run was trained on."""
        expected = self.info.get("text_fingerprint", encoder.fingerprint)
        if encoder.fingerprint != expected:
            raise UserError(
                f"{self.path}: the text encoder has changed since the run began",
                expected=f"fingerprint {expected}",
                got=f"fingerprint {encoder.fingerprint} of {self.table['text']}",
                fix="restore recipe.toml and the encoder's files; text.revision pins a version on the Hub",
            )

    @property
    def sampled_with(self) -> list[dict[str, Any]]:
        """The plugins that sampling needs, as run.json records them."""
        return [plugin for plugin in self.info["plugins"] if self.samples_with(plugin["name"])]

    def samples_with(self, plugin: str) -> bool:
        """Whether the generator, the sampler or the text encoder is of this plugin."""
        return any(plugin in plugins_in(self.table.get(key)) for key in ("generator", "sampler", "text"))


def damaged(path: Path, error: Exception) -> UserError:
    """The error for a file of a run folder that cannot be read."""
    return UserError(
        f"{path} is damaged",
        expected="the file as `t2ikit train` wrote it",
        got=f"no entry {error}" if isinstance(error, KeyError) else error,
        fix="restore it from a copy",
    )
