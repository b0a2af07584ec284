"""The controls of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from t2ikit.demo.asked import EACH, SQUARE, Asked, most_steps_of
from t2ikit.demo.models import Abilities, DemoModel

NONE = "none"
"""Stands for no second model."""
OWN = "own"
"""Stands for the sampler of each model's own recipe."""


class Controls:
    """Makes the controls, where the page is being made.

    Args:
        gr: gradio.
        models: to choose from.

    Attributes:
        all: what is given to a request, by the arguments of `read_asked` and `first`, `second`.
        button, stop, dice: sample, stop, and another seed.
        everything: `all`, and what holds some of them.
        following: of these, what depends on the models.
    """

    def __init__(self, gr: Any, models: Sequence[DemoModel]) -> None:
        self.gr = gr
        shown = models[:2]
        able = together(shown)
        self.all = {**self._models(models), **self._always(models[0])}
        with gr.Row(elem_classes="t2i-buttons"):
            self.button = gr.Button("Sample", variant="primary", elem_id="t2i-sample", min_width=120)
            self.stop = gr.Button("Stop", elem_id="t2i-stop", min_width=80)
        self.all |= {name: self._made(name, able, shown) for name in ("steps", "guidance", "sampler")}
        self.all |= {name: self._made(name, able, shown) for name in ("negative", "aspect")}
        self._image = gr.Accordion("Begin at an image", open=False, visible=able.image, elem_id="t2i-begin")
        with self._image:
            self.all |= self._begin()
        self.everything = [*self.all.values(), self._image]
        self._names = [name for name in self.all if name in DEPENDING]
        self.following = [*(self.all[name] for name in self._names), self._image]

    def _models(self, models: Sequence[DemoModel]) -> dict[str, Any]:
        gr, labels = self.gr, [model.label for model in models]
        several = len(models) > 1
        with gr.Row(visible=several):
            first = gr.Dropdown(labels, value=labels[0], label="Model", elem_id="t2i-first", min_width=120)
            beside = labels[1] if several else NONE
            choices = [("(none)", NONE), *((label, label) for label in labels)]
            second = gr.Dropdown(
                choices, value=beside, label="Beside it", elem_id="t2i-second", min_width=120
            )
        return {"first": first, "second": second}

    def _always(self, model: DemoModel) -> dict[str, Any]:
        gr = self.gr
        words = model.words
        info = f"One a line. Words it knows: {', '.join(words)}, …" if words else "One a line."
        text = gr.Textbox(
            "\n".join(model.first_prompts[:2]),
            lines=3,
            max_lines=8,
            label="Prompts",
            info=info,
            elem_id="t2i-prompts",
        )
        each = gr.Slider(1, EACH, value=4, step=1, label="Images of each prompt", elem_id="t2i-each")
        with gr.Row(equal_height=True):
            seed = gr.Number(0, label="Seed", elem_id="t2i-seed", min_width=100, scale=3)
            self.dice = gr.Button("New seed", elem_id="t2i-dice", min_width=80, scale=1, size="sm")
        return {"text": text, "each": each, "seed": seed}

    def _made(self, name: str, able: Abilities, models: Sequence[DemoModel]) -> Any:
        """A control that only some models have."""
        gr, state = self.gr, {"elem_id": f"t2i-{name}", **self._state(name, able, models)}
        if name in ("steps", "guidance"):
            least, step = (1, 1) if name == "steps" else (0, 0.1)
            return gr.Slider(least, step=step, label=name.capitalize(), **state)
        if name == "negative":
            return gr.Textbox("", label="Negative prompt", placeholder="what not to show", **state)
        return gr.Dropdown(label=LABELS[name], **state)

    def _begin(self) -> dict[str, Any]:
        image = self.gr.Image(
            type="filepath",
            image_mode=None,
            sources=["upload", "clipboard"],
            label="Image",
            height=180,
            elem_id="t2i-image",
        )
        info = "0 keeps the image, 1 leaves nothing of it."
        strength = self.gr.Slider(
            0, 1, value=0.8, step=0.05, label="Strength", info=info, elem_id="t2i-strength"
        )
        return {"image": image, "strength": strength}

    def _state(self, name: str, able: Abilities, models: Sequence[DemoModel]) -> dict[str, Any]:
        """What a control shows for models: whether it is there, its value, its choices."""
        if name == "steps":
            most = most_steps_of(models)
            return {"visible": able.steps is not None, "value": able.steps or 1, "maximum": most}
        if name == "guidance":
            value = able.guidance or 0.0
            return {"visible": able.guidance is not None, "value": value, "maximum": max(10.0, value)}
        if name == "sampler":
            return {"visible": len(able.samplers) > 1, "value": OWN, "choices": sampler_choices(models)}
        if name == "aspect":
            choices = [("1:1 (square)", SQUARE), *able.aspects]
            return {"visible": bool(able.aspects), "value": SQUARE, "choices": choices}
        return {"visible": able.negative}

    def updates(self, models: Sequence[DemoModel]) -> list[Any]:
        """What `following` becomes when other models are chosen."""
        able = together(models)
        states = [self._state(name, able, models) for name in self._names]
        return [self.gr.update(**state) for state in [*states, {"visible": able.image}]]

    def restored(self, labels: Sequence[str], models: Sequence[DemoModel], asked: Asked) -> list[Any]:
        """What `everything` was when something was asked of models."""
        able, (first, second) = together(models), (*labels, NONE)[:2]
        values = {**asdict(asked), "first": first, "second": second, "text": "\n".join(asked.prompts)}
        values["sampler"] = asked.sampler or OWN
        if not (asked.image and Path(asked.image).is_file()):  # uploads are deleted after a while
            values["image"] = None
        states = {name: self._state(name, able, models) for name in self._names}
        found = [self.gr.update(**{**states.get(name, {}), "value": values[name]}) for name in self.all]
        return [*found, self.gr.update(visible=able.image)]


DEPENDING = ("steps", "guidance", "sampler", "negative", "aspect")
LABELS = {"sampler": "Sampler", "aspect": "Aspect (width : height)"}


def together(models: Sequence[DemoModel]) -> Abilities:
    """The controls that any of some models has."""
    able = [model.abilities for model in models]
    return Abilities(
        steps=next((one.steps for one in able if one.steps is not None), None),
        guidance=next((one.guidance for one in able if one.guidance is not None), None),
        negative=any(one.negative for one in able),
        image=any(one.image for one in able),
        samplers=tuple(dict.fromkeys(name for one in able for name in one.samplers)),
        aspects=next((one.aspects for one in able if one.aspects), ()),
    )


def sampler_choices(models: Sequence[DemoModel]) -> list[tuple[str, str]]:
    """Samplers to choose from by what they are called: short names while these are unique."""
    names = together(models).samplers
    own = dict.fromkeys(model.abilities.samplers[0] for model in models if model.abilities.samplers)
    short = [name.rpartition("/")[2] for name in names]
    called = {n: s if short.count(s) == 1 else n for n, s in zip(names, short, strict=True)}
    choices = [(f"{', '.join(called[name] for name in own)} (as trained)", OWN)]
    return choices + [(called[name], name) for name in names if len(own) > 1 or name not in own]
