"""The trainings that are measured, as words of `t2ikit train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SMALL_MODELS = {"clip": "losses.clip.model", "t5": "text.model"}
"""The settings that name a model that would be downloaded."""


@dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
        name: of the row.
        recipe: its recipe.
        settings: over it.
        cap_gib: GPU memory that it may take; 0: all.
        whole: whether it is short enough to be watched to its end.
        model: clip or t5, built on the spot in place of one that it names.
        toy: settings that make it small enough to be tried on a CPU; None: it is not tried there.
    """

    name: str
    recipe: str
    settings: tuple[str, ...] = ()
    cap_gib: float = 0.0
    whole: bool = False
    model: str = ""
    toy: tuple[str, ...] | None = None

    def words(self, device: str, folder: Path, more: Sequence[str] = ()) -> list[str]:
        """Words after `t2ikit train`; `folder` has the small models."""
        settings = [*self.settings, *more]
        if self.model:
            settings.append(f"{SMALL_MODELS[self.model]}={folder / self.model}")
        if device == "cpu":
            settings += [*TOY, *(self.toy or ())]
        start = ["--plugin", self.recipe.partition("/")[0], "--recipe", self.recipe, "--device", device]
        return start + [word for one in settings for word in ("--set", one)]

    @property
    def note(self) -> str:
        """What a reader of the figures must know."""
        words = [f"at most {self.cap_gib:g} GiB"] if self.cap_gib else []
        return "; ".join(
            [*words, *([f"with a small {self.model.upper()} of random weights"] if self.model else [])]
        )


TOY = (
    "data.count=64",
    "train.steps=3",
    "train.batch=4",
    "train.log_every=1",
    "train.samples=1",
    "train.validation_images=4",
)
QUIET = tuple(f"train.{name}_every=100000" for name in ("validate", "sample", "save"))
"""Nothing but steps; the recipes' own grids take a thousand steps of a sampler."""
TOY_UNET = ("generator.channels=[16,16,16]", "generator.head_width=16")
TOY_GAN = (
    "data.size=32",
    "train.micro_batch=2",
    "generator.channels=[16,16,16,16]",
    "generator.filters=[1,2,2,2]",
    "generator.attention=[false,true,false,false]",
    "critics.multiscale.channels=[16,16,16,16]",
    "critics.multiscale.attention=[false,true,false,false]",
    *(
        f"{part}.{name}"
        for part in ("generator", "critics.multiscale")
        for name in ("head_width=16", "tower_width=32")
    ),
)
IMAGEN_64 = ("train.batch=64", "train.precision=bf16", "train.steps=4000", *QUIET)
CORE = (
    Case("imagen/default", "imagen/default", whole=True, toy=TOY_UNET),
    Case("imagen-64, bf16, batch 64", "imagen/imagen-64", IMAGEN_64),
    Case("gigagan/default", "gigagan/default", whole=True),
    Case(
        "gigagan-64, every loss, batch 16",
        "gigagan/gigagan-64",
        ("train.batch=16", "train.micro_batch=16", "train.steps=4000", *QUIET),
        cap_gib=12,
        model="clip",
        toy=TOY_GAN,
    ),
    Case("sr-64-256, bf16, batch 16", "imagen/sr-64-256", ("train.steps=4000", *QUIET), cap_gib=12),
)
COMPILED = (
    Case("imagen/default, compiled", "imagen/default", ("train.compile=on", "train.steps=6000")),
    Case("imagen-64, bf16, batch 64, compiled", "imagen/imagen-64", (*IMAGEN_64, "train.compile=on")),
)
