"""The page: its controls, which follow what the models can, and what happens when they are used."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from t2ikit.demo import view
from t2ikit.demo.asked import Asked, most_steps_of, read_asked
from t2ikit.demo.controls import Controls
from t2ikit.demo.history import History
from t2ikit.demo.job import Job, sentences
from t2ikit.demo.library import import_gradio
from t2ikit.demo.models import DemoModel
from t2ikit.demo.turns import Full, Turns
from t2ikit.errors import UserError

PAUSE = 0.12
"""Seconds between two looks at images that form."""
CHOOSE = """element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-number]');
  if (button) trigger('choose', {number: Number(button.dataset.number)});
});"""
SHOW = "() => { if (innerWidth < 700) document.getElementById('t2i-stage').scrollIntoView(); }"
"""On a narrow page the images are below the controls."""
Shown = tuple[Any, Any]
"""HTML of the stage and of the history; None leaves one as it is."""


class Page:
    """The page of some models.

    Args:
        models: to choose from; the second, if there is one, is beside the first at the start.
        limit: requests that may wait.
        uploads: the folder for what is uploaded.
    """

    def __init__(self, models: Sequence[DemoModel], limit: int, uploads: Path) -> None:
        self.models, self.uploads = {model.label: model for model in models}, uploads
        self.turns, self.history = Turns(limit), History()
        self._worker = ThreadPoolExecutor(1, "t2ikit-demo")

    async def sample(self, values: dict[str, Any], visitor: str) -> AsyncIterator[Shown]:
        """What to show of a request, until it is done; mistakes are sentences.

        Args:
            values: of the controls, by name.
            visitor: whose history it goes to.
        """
        me, job = object(), None
        with self.history.request(visitor) as number:
            try:
                job = Job(*self._read(values))
                stage = view.Stage(job)
                async for ahead in self.turns.wait(me):
                    yield view.waiting(ahead), None
                async for shown in self._watched(job, stage):
                    yield shown, None
            except UserError as error:
                yield view.message(sentences(error)), None
                return
            except Full:
                yield view.message(self._full), None
                return
            finally:
                await self._end(me, job)
            shown = await asyncio.to_thread(self._kept, number, job, stage)
        yield shown, self.history.of(visitor)

    def _kept(self, number: int, job: Job, stage: view.Stage) -> str:
        """What there is to see of a request that is done; the history keeps it if all went well."""
        shown = stage.html()
        if not job.failed:
            self.history.add(number, job, shown)
        return shown

    def _read(self, values: dict[str, Any]) -> tuple[list[DemoModel], Asked]:
        """The models that are asked, and what for."""
        values = dict(values)
        models = self._of((values.pop("first"), values.pop("second")))
        if not models:
            raise UserError("Choose a model first")
        return models, read_asked(self.uploads, most_steps=most_steps_of(models), **values)

    async def _watched(self, job: Job, stage: view.Stage) -> AsyncIterator[str]:
        """What there is to see of a request, whenever that changes, while it is sampled."""
        done = asyncio.get_running_loop().run_in_executor(self._worker, job.run)
        stamp: object = None
        while not done.done():
            if job.stamp != stamp:
                stamp = job.stamp
                yield await asyncio.to_thread(stage.html)
            await asyncio.wait([done], timeout=PAUSE)
        done.result()

    async def _end(self, me: object, job: Job | None) -> None:
        """Stop what is still sampled, and let the next begin."""
        if job is not None:
            job.stop.set()
        await self.turns.leave(me)

    @property
    def _full(self) -> str:
        most = self.turns.most
        return (
            f"Too many requests: one is sampled and {most} wait, which is the limit. Try again in a minute."
        )

    def blocks(self) -> Any:
        """The page as gradio's `Blocks`."""
        gr = import_gradio()
        kept = (600, 3600)  # uploads are deleted after an hour
        plain = {"apply_default_css": False}
        with gr.Blocks(
            title="t2ikit demo", analytics_enabled=False, fill_width=True, delete_cache=kept
        ) as page:
            gr.HTML("<h1>t2ikit demo</h1>", elem_id="t2i-title", js_on_load=None, **plain)
            with gr.Row(elem_id="t2i-page"):
                with gr.Column(scale=1, min_width=300):
                    controls = Controls(gr, list(self.models.values()))
                with gr.Column(scale=2, min_width=300):
                    stage = gr.HTML(view.EMPTY, elem_id="t2i-stage", js_on_load=None, **plain)
                    history = gr.HTML("", elem_id="t2i-past", js_on_load=CHOOSE, **plain)
            self._connect(gr, controls, stage, history)
            page.has_launched = True  # or gradio would take any file of this machine for an upload
            page.unload(with_request(gr, lambda request: self.history.forget(str(request.session_hash))))
        page.queue(default_concurrency_limit=None)
        return page

    def _connect(self, gr: Any, controls: Controls, stage: Any, history: Any) -> None:
        """What the controls do."""
        quiet = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
        names = {control: name for name, control in controls.all.items()}

        async def sample(values: dict[Any, Any], request: Any) -> AsyncIterator[Shown]:
            found = {names[control]: value for control, value in values.items()}
            async for shown in self.sample(found, str(request.session_hash)):
                yield tuple(gr.skip() if one is None else one for one in shown)

        running = gr.on(
            [controls.button.click, controls.all["text"].submit],
            with_request(gr, sample),
            set(controls.all.values()),
            [stage, history],
            api_name="sample",
            show_progress="hidden",
            preprocess=False,  # `read_asked` checks: gradio knows no NaN, and decodes images unseen
        )
        controls.stop.click(lambda: view.message("Stopped.", "hint"), None, stage, cancels=running, **quiet)
        controls.button.click(None, js=SHOW)
        controls.dice.click(lambda: secrets.randbelow(2**31), None, controls.all["seed"], **quiet)
        chosen = [controls.all["first"], controls.all["second"]]
        for control in chosen:
            control.input(
                lambda *labels: controls.updates(self._of(labels)),
                chosen,
                controls.following,
                preprocess=False,
                **quiet,
            )

        def choose(event: Any, request: Any) -> list[Any]:
            past = self.history.find(str(request.session_hash), int(event.number))
            if past is None:
                return [gr.skip()] * (len(controls.everything) + 1)
            return [past.shown, *controls.restored(past.labels, self._of(past.labels), past.asked)]

        choose.__annotations__["event"] = gr.EventData
        history.choose(with_request(gr, choose), None, [stage, *controls.everything], **quiet)

    def _of(self, labels: Sequence[str]) -> list[DemoModel]:
        return [self.models[label] for label in dict.fromkeys(map(str, labels)) if label in self.models]


def with_request(gr: Any, function: Any) -> Any:
    """A function whose argument `request` gradio is to give: it goes by the annotation."""
    function.__annotations__["request"] = gr.Request
    return function
