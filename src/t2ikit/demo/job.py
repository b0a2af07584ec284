"""One request at work: models sample in a thread, and the page looks at how far they are."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from t2ikit.demo.asked import Asked
from t2ikit.demo.models import DemoModel
from t2ikit.errors import UserError, each_of
from t2ikit.recipes.compose import Model
from t2ikit.sampling.denoising import DenoiserSampler, StepHook
from t2ikit.sampling.sample import sample_opened
from t2ikit.sampling.samples import Samples
from t2ikit.text.vocabulary import prompt_notes
from t2ikit.utils.console import listening
from t2ikit.utils.quoting import one_line


class Stopped(Exception):
    """Whoever asked is gone, or has asked to stop."""


@dataclass
class Part:
    """What one model of a request has made so far.

    Attributes:
        model: that samples.
        facts: steps, guidance and sampler, in words.
        done, total: of its steps.
        forming: noisy images by batch, each (B, C, H, W), while it samples.
        samples: the result.
        notes: what to know of it, a line each.
        error: why there is none.
    """

    model: DemoModel
    facts: str = ""
    done: int = 0
    total: int = 0
    forming: list[Tensor] = field(default_factory=list)
    samples: Samples | None = None
    notes: list[str] = field(default_factory=list)
    error: str = ""


class Job:
    """Samples the same prompts with one or several models, one after the other.

    Args:
        models: that sample.
        asked: what they sample.

    Attributes:
        parts: of the models; `run` writes them, others read.
        stop: set to end it at the next step.
    """

    def __init__(self, models: Sequence[DemoModel], asked: Asked) -> None:
        self.asked = asked
        self.parts = [Part(model) for model in models]
        self.stop = threading.Event()

    @property
    def stamp(self) -> tuple[object, ...]:
        """Changes with what there is to see."""
        return tuple((part.done, part.samples is None, part.error, len(part.notes)) for part in self.parts)

    @property
    def failed(self) -> bool:
        """Whether a model has given no images."""
        return any(part.error for part in self.parts)

    def run(self) -> None:
        """Sample; errors become sentences of the parts."""
        for part in self.parts:
            try:
                with listening(part.notes.append):
                    self._sample(part)
            except Stopped:
                return
            except UserError as error:
                part.error = sentences(error)
            except Exception as error:  # noqa: BLE001 - a page that goes on must not end with one request
                traceback.print_exc()
                part.error = f"This failed, and the terminal says where: {one_line(error)}"

    def _sample(self, part: Part) -> None:
        asked, able = self.asked, part.model.abilities
        model = part.model.ready(asked.sampler)
        part.facts = facts_of(model, asked, part.model)
        options = asked.options(able)
        part.notes += prompt_notes(model.encoder, model.words, [*asked.prompts, asked.negative])
        if isinstance(model.sampler, DenoiserSampler):
            model.sampler.on_step = _watcher(part)

        def progress(done: int, total: int) -> None:
            part.done, part.total = done, total
            if self.stop.is_set():
                raise Stopped

        progress(0, options.get("steps") or 1)
        part.samples = sample_opened(part.model.run, model, asked.prompts, progress=progress, **options)
        part.forming = []


def _watcher(part: Part) -> StepHook:
    """Keeps the newest images of each batch."""

    def on_step(step: int, timestep: float, images: Tensor) -> bool:
        newest = visible_noise(images)
        part.forming = [*part.forming, newest] if step == 0 else [*part.forming[:-1], newest]
        return True

    return on_step


def visible_noise(images: Tensor) -> Tensor:
    """Noisy images (B, C, H, W) on the CPU, in a range that can be shown.

    Some samplers keep x0 + sigma noise, whose variance is far above 1.
    """
    images = images.detach().float()
    return (images / images.std().clamp_min(1)).clamp(-1, 1).cpu().clone()


def facts_of(model: Model, asked: Asked, own: DemoModel) -> str:
    """How a model samples, in words."""
    able = own.abilities
    if able.steps is None:
        calls = getattr(model.generator, "calls", 1)
        return "one network call" if calls == 1 else f"{calls} network calls"
    steps = asked.steps or able.steps
    words = [f"{steps} step{'s' * (steps != 1)}"]
    if able.guidance is not None:
        words.append(f"guidance {able.guidance if asked.guidance is None else asked.guidance:g}")
    return ", ".join([*words, model.recipe.parts["sampler"].entry.spec.name])


def sentences(error: UserError) -> str:
    """An error as sentences for the page."""
    found = []
    for one in each_of(error):
        details = [
            f"{label}{one_line(value, 300)}"
            for label, value in (("expected ", one.expected), ("got ", one.got))
            if value is not None
        ]
        found.append(_ended(one.what + (f" ({', '.join(details)})" if details else "")))
        if one.fix:
            found.append(_ended(one.fix[:1].upper() + one.fix[1:]))
    return " ".join(found)


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."
