"""What the page shows of a request, as HTML. Every text of a visitor or of data is escaped."""

from __future__ import annotations

import base64
import html
import io
import re

from PIL import Image

from t2ikit.demo.job import Job, Part
from t2ikit.sampling.samples import Samples
from t2ikit.utils.images import to_pil
from t2ikit.utils.quoting import shortened

EMPTY = '<p class="t2i-hint">The images appear here. The same seed gives the same images.</p>'
SHOWN = 160
"""Characters of a prompt above its images; the whole is its title."""


def text(words: object) -> str:
    """A text as HTML; what templates of the page could read is escaped as well."""
    return re.sub(r"[${}`\\]", lambda found: f"&#{ord(found[0])};", html.escape(str(words)))


def message(sentence: str, kind: str = "error") -> str:
    """A sentence instead of images."""
    return f'<p class="t2i-{kind}" role="alert">{text(sentence)}</p>'


def waiting(ahead: int) -> str:
    """How many requests are before this one."""
    return message(f"Waiting: {ahead} request{'s' * (ahead != 1)} before yours.", "hint")


class Stage:
    """The models of a request side by side; the images of one that is done are encoded once.

    Args:
        job: the request.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._finished: dict[int, str] = {}

    def html(self) -> str:
        """What there is to see of it now."""
        panels = "".join(self._panel(place, part) for place, part in enumerate(self._job.parts))
        return f'<div class="t2i-stage">{panels}</div>'

    def _panel(self, place: int, part: Part) -> str:
        if part.samples is None:
            return panel(part)
        if place not in self._finished:
            self._finished[place] = panel(part)
        return self._finished[place]


def panel(part: Part) -> str:
    """One model: its name, how far it is, its images."""
    facts = part.facts
    if part.samples is not None:
        facts += f", {part.samples.seconds:.1f} s"
    head = f"<h3>{text(part.model.label)}</h3><p class='t2i-facts'>{text(facts) or '&nbsp;'}</p>"
    body = message(part.error) if part.error else _images(part)
    notes = "".join(f"<li>{text(note)}</li>" for note in dict.fromkeys(part.notes))
    notes = f'<ul class="t2i-notes">{notes}</ul>' if notes else ""
    return f'<section class="t2i-panel">{head}{_bar(part)}{body}{notes}</section>'


def _bar(part: Part) -> str:
    if part.error or part.samples is not None:
        return '<div class="t2i-bar"></div>'
    share = part.done / part.total if part.total else 0
    words = f"step {part.done} of {part.total}" if part.total else "waiting"
    return f'<div class="t2i-bar" role="img" aria-label="{words}"><i style="width: {share:.0%}"></i></div>'


def _images(part: Part) -> str:
    if part.samples is not None:
        return result(part.samples)
    images = [image for batch in part.forming for image in to_pil(batch)]
    tags = [f'<img src="{data_url(image)}" alt="step {part.done}">' for image in images]
    return f'<div class="t2i-row t2i-forming">{"".join(tags)}</div>'


def result(samples: Samples) -> str:
    """A row of images for each prompt; a click on one saves it, as the link saves the grid."""
    images, names, rows = samples.pil(), samples.names(), []
    each = samples.images.shape[2]
    for place, prompt in enumerate(samples.prompts):
        own = range(place * each, (place + 1) * each)
        label = text(shortened(prompt, SHOWN))
        tags = [_saved(image_tag(images[i], f"{label}, image {i - own.start + 1}"), names[i]) for i in own]
        caption = f'<figcaption title="{text(prompt)}">{label}</figcaption>'
        rows.append(f'<figure>{caption}<div class="t2i-row">{"".join(tags)}</div></figure>')
    return "".join(rows) + _grid_link(samples)


def _saved(tag: tuple[str, str], name: str) -> str:
    url, image = tag
    return f'<a href="{url}" download="{text(name)}" title="Save {text(name)}">{image}</a>'


def image_tag(image: Image.Image, label: str) -> tuple[str, str]:
    """An image's address and its element; `label` is HTML."""
    url = data_url(image)
    return url, f'<img src="{url}" width="{image.width}" height="{image.height}" alt="{label}">'


def _grid_link(samples: Samples) -> str:
    run = re.sub(r"[^\w.-]+", "-", samples.run.name)
    name = text(f"{run}-s{samples.seed}-grid.png")
    url = data_url(samples.grid())
    return f'<p><a class="t2i-save" href="{url}" download="{name}">Download the grid (PNG)</a></p>'


def data_url(image: Image.Image) -> str:
    """An image as the address of itself, a PNG: what `t2ikit sample` writes, to the bit."""
    content = io.BytesIO()
    image.save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
