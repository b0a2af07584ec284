"""What is asked of an evaluation, and what comes of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator

from t2ikit.core.metric import ImageSet, Measure
from t2ikit.errors import UserError
from t2ikit.metrics.downloads import Needs, unmeasured
from t2ikit.sampling.costs import Costs
from t2ikit.utils.deprecation import renamed


@renamed(again="repeated_prompts", copies="images_per_prompt")
@dataclass(frozen=True)
class EvaluationOptions:
    """What to sample and measure.

    Raises:
        UserError: no image at all.

    Attributes:
        data: a SPEC; None takes the run's own data.
        metrics: names, whose metrics may download what they need; "all" for every one that is installed;
            empty takes those that need no download.
        n: number of prompts, one image each; prompts that repeat count once.
        repeated_prompts: prompts of which more images are sampled, for metrics of diversity.
        images_per_prompt: how many more of each of them.
        seed: of prompts and noise.
        steps, guidance, sampler: as in `t2ikit sample`; None takes the recipe's.
        settings: sampler.KEY=VALUE and metrics.NAME.KEY=VALUE.
        weights: "ema" or "raw".
        checkpoint: step of the checkpoint; None takes the newest.
        ema: length of the average, as in `t2ikit sample`; None takes the one that training kept.
    """

    data: str | None = None
    metrics: Sequence[str] = ()
    n: int = 256
    repeated_prompts: int = 16
    images_per_prompt: int = 4
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    settings: Sequence[str] = ()
    weights: str = "ema"
    checkpoint: int | None = None
    ema: float | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserError("n: there is nothing to measure", expected="at least one image", got=self.n)


@renamed(drawn="image_set")
@dataclass(frozen=True)
class EvaluationResult:
    """What was measured, and on what.

    Attributes:
        measures: by metric and name, as "prompt-accuracy/colour".
        not_measured: by metric, what is missing.
        costs: of sampling; depends on the machine; of no image where a folder was measured.
        settings: run, checkpoint step, data, prompts, sampler, seeds: what the numbers depend on.
        image_set: the images that were measured; of a result that was read from its folder the first of them,
            or None.
        failed: those metrics of `not_measured` that lack nothing, but raised an error.
        notes: what should be known before the numbers are read.
        checkpoint_notes: which newer checkpoints are damaged, so that an older one was measured.
        needs: by metric, of those of `not_measured` that lack a package or a download.
        folder: where its files are; None where it was not written.
    """

    measures: dict[str, Measure]
    not_measured: dict[str, str]
    costs: Costs
    settings: dict[str, Any] = field(default_factory=dict)
    image_set: Annotated[ImageSet | None, PlainValidator(lambda value: value)] = field(
        default=None, repr=False
    )
    failed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    checkpoint_notes: tuple[str, ...] = ()
    needs: dict[str, Needs] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def name(self) -> str:
        """Of its folder."""
        return name_of(self.settings)

    def text(self) -> str:
        """The numbers as lines of text, what was not measured and why, notes, and where the files are."""
        rows = [row(name, measure) for name, measure in self.measures.items()]
        costs = self.costs
        if costs.images:
            milliseconds = f"{1000 * costs.seconds / costs.images:.3g} ms"
            calls = "" if costs.calls is None else f", {costs.calls:g} network calls"
            rows.append(["sampling an image", milliseconds + calls])
        lines = aligned(rows) if rows else []
        lines += unmeasured(self.not_measured, self.needs)
        lines += [f"note: {note}" for note in [*self.notes, *self._cautions()]]
        lines += [] if self.folder is None else [f"images and numbers: {self.folder}"]
        return "\n".join(lines)

    def _cautions(self) -> list[str]:
        """Why measures should be read with care, each reason once."""
        names: dict[str, list[str]] = {}
        for name, measure in self.measures.items():
            if measure.warning:
                names.setdefault(measure.warning, []).append(name)
        return [f"{', '.join(of)}: {text}" for text, of in names.items()]

    def table(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "settings": self.settings,
            "costs": self.costs.table(),
            "notes": list(self.notes),
            "checkpoint_notes": list(self.checkpoint_notes),
            "measures": {name: asdict(measure) for name, measure in self.measures.items()},
            "not_measured": self.not_measured,
            "needs": {name: asdict(needs) for name, needs in self.needs.items()},
            "failed": list(self.failed),
        }


def name_of(settings: dict[str, Any]) -> str:
    """Names the checkpoint and, by a hash, everything else that numbers depend on."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=4)
    return f"step-{settings['step']:08d}-{digest.hexdigest()}"


def row(name: str, measure: Measure) -> list[str]:
    """A measure as the cells of a table."""
    interval = ""
    if measure.low is not None and measure.high is not None:
        interval = f"[{number(measure.low, measure.unit)}, {number(measure.high, measure.unit)}]"
    value = f"{number(measure.value, measure.unit)} {measure.unit}"
    return [name, value, interval, f"n={measure.n}"]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines whose cells stand below each other; the last cell of a row takes what it needs."""
    columns = max(map(len, rows))
    widths = [max((len(row[at]) for row in rows if len(row) > at + 1), default=0) for at in range(columns)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def number(value: float, unit: str) -> str:
    """A value with the digits that mean something: one after the point of a percentage, else four in all."""
    return f"{value:.1f}" if unit == "%" else f"{value:.4g}"


def check_measured(evaluations: Sequence[EvaluationResult]) -> None:
    """Refuse results of which not one metric could be computed.

    Raises:
        UserError: there is not one measure.
    """
    if any(found.measures or found.failed for found in evaluations):
        return
    reasons = evaluations[0].not_measured
    raise UserError(
        "nothing could be measured",
        expected="at least one of: " + ", ".join(reasons),
        got="; ".join(f"{name} {reason}" for name, reason in reasons.items()),
        fix="get what is missing, or choose others with --metrics (`t2ikit plugins` lists them)",
    )
