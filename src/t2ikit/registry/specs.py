"""What plugins hand over: frozen descriptions of parts, never instances. Imports no torch.

A spec names a part, says how it is configured and how it is built. `build(config, context)` is called
only when a recipe uses the part, with `config` an instance of the spec's config class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from t2ikit.config.base import Config, DatasetConfig

if TYPE_CHECKING:
    import torch


Needs = frozenset[str]
NEEDS: dict[str, str] = {
    "target": "the generator's output and target (a denoiser's prediction)",
    "snr": "the signal-to-noise ratio of each sample (a denoiser's schedule)",
    "low_res": "a generator that upscales images",
    "critic": "at least one critic",
    "real_grad": "gradients at the real images, on which a critic's penalty stands",
    "fake_grad": "gradients at the generated images, on which a critic's penalty stands",
}
GRADIENTS = frozenset({"real_grad", "fake_grad"})
"""The needs of losses that differentiate twice."""

SINGULAR = {
    "generators": "generator",
    "critics": "critic",
    "losses": "loss",
    "samplers": "sampler",
    "datasets": "dataset",
    "text_encoders": "text encoder",
    "metrics": "metric",
    "exporters": "exporter",
    "recipes": "recipe",
}
"""What one of a kind is called."""


@dataclass(frozen=True)
class Context:
    """What was built before a part, and so is known to it.

    Attributes:
        image_size: pixels, height and width.
        text_width, text_length: D and L of the text encoder.
        device: where the run computes.
        seed: of the run.
        random: how the run's random numbers are made, as `Draws` takes it.
        registry: where a part looks up the parts that it is made of; None: the installed plugins.
        image_channels: C of the images: 3 is RGB, 4 RGB times alpha and alpha, 1 gray.
        image_shapes: height and width of the images, where they are trained in several; empty: squares.
    """

    image_size: int
    text_width: int
    text_length: int
    device: torch.device
    seed: int
    random: Literal["counter", "torch"] = "counter"
    registry: Any = None
    image_channels: int = 3
    image_shapes: tuple[tuple[int, int], ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.image_channels, self.image_size, self.image_size


@dataclass(frozen=True)
class Spec:
    """Name, config class, builder and one line of summary; the base of the kinds below."""

    kind: ClassVar[str]
    name: str
    build: Callable[..., Any]
    config: type[Config] = Config
    summary: str = ""


@dataclass(frozen=True)
class GeneratorSpec(Spec):
    """`build(config, context) -> t2ikit.Denoiser | t2ikit.OneStep`."""

    kind: ClassVar[str] = "generators"


@dataclass(frozen=True)
class CriticSpec(Spec):
    """`build(config, context) -> t2ikit.Critic`."""

    kind: ClassVar[str] = "critics"


@dataclass(frozen=True)
class LossSpec(Spec):
    """`build(config, context) -> (step) -> scalar`, a function or an nn.Module.

    Attributes:
        player: whose loss it is, "generator" or "critic".
        needs: what it cannot do without, names out of `t2ikit.registry.specs.NEEDS`; a run that lacks one is
            refused before it starts.
    """

    kind: ClassVar[str] = "losses"
    player: Literal["generator", "critic"] = "generator"
    needs: Needs = field(default_factory=frozenset)


@dataclass(frozen=True)
class SamplerSpec(Spec):
    """`build(config, context) -> t2ikit.Sampler`.

    Attributes:
        requires: the family of models it can sample, "Denoiser" or "OneStep".
    """

    kind: ClassVar[str] = "samplers"
    requires: Literal["Denoiser", "OneStep"] = "Denoiser"


@dataclass(frozen=True)
class DatasetSpec(Spec):
    """`build(config, context) -> t2ikit.Dataset`; `config` is a subclass of `DatasetConfig`.

    `build` is called first of all, with None for `context`.

    Attributes:
        accepts: whether a SPEC that names no dataset belongs to this one (a folder, a file ending).
    """

    kind: ClassVar[str] = "datasets"
    config: type[DatasetConfig] = DatasetConfig
    accepts: Callable[[str], bool] = lambda spec: False


@dataclass(frozen=True)
class TextEncoderSpec(Spec):
    """`build(config, context) -> t2ikit.TextEncoder`; called with None for `context`."""

    kind: ClassVar[str] = "text_encoders"


@dataclass(frozen=True)
class MetricSpec(Spec):
    """`build(config, context) -> t2ikit.Metric`; called with None for `context`."""

    kind: ClassVar[str] = "metrics"


@dataclass(frozen=True)
class ExporterSpec(Spec):
    """`build(config, context) -> (run, out) -> None`: writes an opened run to the folder `out`, which exists.

    Called with the defaults of `config`, and None for `context`.
    """

    kind: ClassVar[str] = "exporters"


@dataclass(frozen=True)
class RecipeSpec:
    """A named TOML file. The recipe called "default" is what `--plugin NAME` selects.

    Attributes:
        path: the TOML file.
        summary: one line.
        needs: what a plain installation lacks to train it, as `t2ikit recipes` shows it: a command that
            makes or installs it, or a download with its size; empty: nothing.
    """

    kind: ClassVar[str] = "recipes"
    name: str
    path: Path
    summary: str = ""
    needs: str = ""


KINDS: tuple[type[Any], ...] = (
    GeneratorSpec,
    CriticSpec,
    LossSpec,
    SamplerSpec,
    DatasetSpec,
    TextEncoderSpec,
    MetricSpec,
    ExporterSpec,
    RecipeSpec,
)
