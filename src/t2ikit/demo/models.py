"""The models of the page, opened once, and which controls mean something to each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from t2ikit.core.interfaces import Denoiser
from t2ikit.errors import UserError, as_word, command
from t2ikit.recipes.compose import FAMILIES, Model
from t2ikit.registry.registry import Registry
from t2ikit.runs.named import packaged_names
from t2ikit.runs.open import open_run, plugins_of
from t2ikit.runs.run import Run
from t2ikit.sampling.editing.edit import takes_edits
from t2ikit.sampling.open import Guides, open_model, sampling_recipe, with_recipe

ASPECTS = ("5:4", "4:3", "3:2", "16:9", "2:1", "4:5", "3:4", "2:3", "9:16", "1:2")
"""Shapes to choose from besides the square: those of training in buckets."""
KNOWN = 20
"""Words of the training captions that the page names."""
FIRST = {"creatures": ("a green cat with red eyes", "a blue fish")}
"""What is typed at first, by the data a run was trained on."""


@dataclass(frozen=True)
class Abilities:
    """Which controls mean something to a model.

    Attributes:
        steps, guidance: what it samples with by itself; None: it has none to choose.
        negative: guidance can lead away from a prompt.
        image: it can begin at an image.
        samplers: names of those it can be sampled with, its own first; fewer than two: there is no choice.
        aspects: shapes besides the square.
    """

    steps: int | None = None
    guidance: float | None = None
    negative: bool = False
    image: bool = False
    samplers: tuple[str, ...] = ()
    aspects: tuple[str, ...] = ()


class DemoModel:
    """A run that is open, and keeps its weights in memory.

    Args:
        run: to open.
        label: what the page calls it.
        plugins: files of plugins that it needs.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        UserError: it cannot be opened, or it upscales images and so makes none of a prompt alone.
    """

    def __init__(self, run: Run, label: str, plugins: Sequence[str] = (), device: str = "auto") -> None:
        self.run, self.label = run, label
        self.registry = plugins_of(run, plugins)
        self._guides = Guides(run, self.registry)
        self._model = open_model(run, plugins=plugins, device=device, guides=self._guides)
        if self._model.generator.super_resolution is not None:
            raise _upscales(run)
        self.abilities = abilities_of(self._model, self.registry)

    @property
    def words(self) -> list[str]:
        """Words of the training captions, the most frequent first; empty where they are not known.

        Those that stand in most captions, which say little, and short ones are left out.
        """
        counts = self._model.words or {}
        most = max(counts.values(), default=0) / 2
        telling = {word: count for word, count in counts.items() if count < most and len(word) > 2}
        return [word for word, _ in Counter(telling).most_common(KNOWN)]

    @property
    def first_prompts(self) -> Sequence[str]:
        """What the page begins with: the run's own prompts, or those of its data."""
        return self.run.table["train"].get("prompts") or FIRST.get(self.run.table["data"]["spec"], ())

    @property
    def size(self) -> int:
        """Height and width of its square images, pixels."""
        return self._model.context.image_size

    def ready(self, sampler: str | None) -> Model:
        """The model with a sampler of the caller's own, which may be given hooks.

        Args:
            sampler: its name; None: the run's own, as for one that the model cannot be sampled with.
        """
        name = sampler if sampler in self.abilities.samplers else None
        return with_recipe(self._model, sampling_recipe(self.run, self.registry, name), self._guides)


def abilities_of(model: Model, registry: Registry) -> Abilities:
    """Which controls mean something to a model."""
    generator, own = model.generator, model.recipe.parts["sampler"].entry
    fitting = [e for e in registry.entries("samplers") if isinstance(generator, FAMILIES[e.spec.requires])]
    names = [entry.canonical for entry in fitting if entry.canonical != own.canonical]
    if not isinstance(generator, Denoiser):
        return Abilities()
    guided = generator.caption_dropout > 0
    return Abilities(
        steps=model.sampler.steps,
        guidance=model.sampler.guidance if guided else None,
        negative=guided,
        image=takes_edits(model.sampler),
        samplers=(own.canonical, *names),
        aspects=ASPECTS if generator.shape_multiple else (),
    )


def open_models(
    names: Sequence[str | Path], plugins: Sequence[str] = (), device: str = "auto"
) -> list[DemoModel]:
    """The models of the page, each once; without a name those that come with t2ikit.

    Raises:
        UserError: one of them cannot be opened.
    """
    runs = [open_run(name) for name in dict.fromkeys(map(str, names or packaged_names()))]
    labels = [run.name for run in runs]
    return [
        DemoModel(run, label if labels.count(label) == 1 else str(run.path), plugins, device)
        for run, label in zip(runs, labels, strict=True)
    ]


def _upscales(run: Run) -> UserError:
    return UserError(
        f"{as_word(run.path)}: this run upscales images, and makes none of a prompt alone",
        expected="a run that samples from text",
        got="a super-resolution run",
        fix=command("t2ikit", "sample", "BASE", "--upscale", run.path, "a prompt"),
    )
