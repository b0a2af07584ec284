"""What a visitor asks for, checked before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2ikit.data.image_files import UNREADABLE, open_image
from t2ikit.demo.models import Abilities, DemoModel
from t2ikit.errors import UserError
from t2ikit.utils.quoting import one_line, shortened

PROMPTS = 8
EACH = 8
"""Most images of one prompt."""
CHARACTERS = 10_000
"""Of all prompts, and of the negative one."""
PIXELS = 24_000_000
"""Of an image to begin at: those that most cameras take; a fraction of a gigabyte when decoded."""
STEPS = 200
"""Most steps, except of a model that takes more by itself."""
SEEDS = 2**53
"""Those below it, which a browser can hold."""
SQUARE = "1:1"


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        prompts: captions.
        each, seed: images of each prompt, and the seed of their noise.
        steps, guidance, sampler: of models that have them; None: the model's own.
        negative: what guidance leads away from.
        aspect: such as 3:2.
        image, strength: a file to begin at, and how much of it to change.
    """

    prompts: tuple[str, ...]
    each: int = 4
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    negative: str = ""
    aspect: str = SQUARE
    image: str | None = None
    strength: float = 0.8

    def options(self, able: Abilities) -> dict[str, Any]:
        """Arguments of `sample_opened` that mean something to a model, others left out."""
        found: dict[str, Any] = {"n": self.each, "seed": self.seed}
        if able.steps is not None:
            found["steps"] = self.steps
        if able.guidance is not None:
            found["guidance"] = self.guidance
        if able.negative:
            found["negative_prompt"] = self.negative
        if able.aspects and self.aspect != SQUARE:
            found["aspect"] = self.aspect
        if able.image and self.image:
            found |= {"image": self.image, "strength": self.strength}
        return found


def read_asked(
    uploads: Path,
    *,
    most_steps: int = STEPS,
    text: Any,
    each: Any,
    seed: Any,
    steps: Any,
    guidance: Any,
    image: Any,
    strength: Any,
    **others: Any,
) -> Asked:
    """A request as the page's controls give it, whatever they give.

    Args:
        uploads: the folder of what was uploaded; no other file is opened.
        most_steps: of the models that are asked.
        text, each, seed, steps, guidance, image, strength: of the controls.
        others: texts, as in `Asked`.

    Raises:
        UserError: what cannot be sampled, by the name of its control.
    """
    numbers = {
        "each": whole("images", each, 1, EACH),
        "seed": whole("seed", seed, 0, SEEDS - 1),
        "steps": None if steps is None else whole("steps", steps, 1, most_steps),
        "guidance": None if guidance is None else number("guidance", guidance, 0, 50),
        "strength": number("strength", strength, 0, 1),
    }
    words = {name: line(checked_text(name, value or "")) for name, value in others.items()}
    path = None if image is None else uploaded(image, uploads)
    return Asked(read_prompts(text), image=path, **numbers, **words)  # type: ignore[arg-type]


def most_steps_of(models: Sequence[DemoModel]) -> int:
    """Most steps that may be asked of models: what one takes by itself is never too many."""
    return max([STEPS, *(model.abilities.steps or 0 for model in models)])


def read_prompts(text: Any) -> tuple[str, ...]:
    """Prompts, one a line, each once.

    Raises:
        UserError: there is none, or there are too many.
    """
    prompts = tuple(dict.fromkeys(filter(None, map(line, checked_text("prompts", text).splitlines()))))
    if not prompts:
        raise UserError("Write a prompt first: what the image shows, one prompt a line")
    if len(prompts) > PROMPTS:
        raise UserError(
            f"There are {len(prompts)} prompts, and at most {PROMPTS} are sampled at once",
            fix="take some lines out",
        )
    return prompts


def line(text: str) -> str:
    """A text on one line; lone surrogates, which no encoder takes, become question marks."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def checked_text(name: str, text: Any) -> str:
    """A text of the page.

    Raises:
        UserError: it is none, or too long.
    """
    if not isinstance(text, str):
        raise UserError(f"{name}: a text is expected, not {type(text).__name__}")
    if len(text) > CHARACTERS:
        raise UserError(
            f"{name}: there are {len(text):,} characters, and at most {CHARACTERS:,} are read",
            fix="a dozen words say most of what a small model can show",
        )
    return text


def number(name: str, value: Any, least: float, most: float) -> float:
    """A number between bounds.

    Raises:
        UserError: it is none.
    """
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not least <= found <= most:
        raise UserError(
            f"{name}: a number from {least:g} to {most:g} is expected, not {shortened(str(value), 40)}"
        )
    return found


def whole(name: str, value: Any, least: int, most: int) -> int:
    """A whole number between bounds.

    Raises:
        UserError: it is none.
    """
    found = value if isinstance(value, int) else number(name, value, least, most)
    if found != int(found) or not least <= found <= most:
        raise UserError(
            f"{name}: a whole number from {least} to {most} is expected, not {shortened(str(value), 40)}"
        )
    return int(found)


def uploaded(image: Any, uploads: Path) -> str:
    """The path of an image that was uploaded to a folder, as gradio tells of it.

    Raises:
        UserError: it lies elsewhere, its header names no image, or one with too many pixels to decode.
    """
    path = str(image.get("path")) if isinstance(image, dict) else ""
    if not Path(path).resolve().is_relative_to(uploads.resolve()):
        raise UserError("Only an image that was uploaded to this page can be used")
    try:
        with open_image(Path(path)) as opened:
            width, height = opened.size
    except UNREADABLE as error:
        raise UserError(
            f"The image cannot be read: {one_line(str(error).replace(path, 'the file'))}",
            fix="save it as PNG or JPEG",
        ) from error
    if width * height > PIXELS:
        raise UserError(
            f"The image has {width} x {height} pixels, which is more than {PIXELS // 1_000_000} million",
            fix="make it smaller: little of it is left at the size of the model's own images",
        )
    return path
