"""`t2ikit demo` without its page: what a model can, what is asked, who waits, what is kept."""

from __future__ import annotations

import asyncio
import copy
import errno
import os
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from PIL import Image

import t2ikit
from t2ikit import UserError
from t2ikit.cli import main
from t2ikit.demo import history, view
from t2ikit.demo.asked import SQUARE, Asked, read_asked
from t2ikit.demo.controls import OWN, Controls, sampler_choices, together
from t2ikit.demo.history import History
from t2ikit.demo.job import Job, sentences, visible_noise
from t2ikit.demo.library import FETCH, LAUNCHED
from t2ikit.demo.models import DemoModel, open_models
from t2ikit.demo.page import Page
from t2ikit.demo.server import listen
from t2ikit.demo.turns import Full, Turns
from t2ikit.utils.console import detail, listening, log, warn
from t2ikit.utils.extras import install
from training_support import RARELY, no_curves, train_toy

__all__ = ["no_curves"]
ASKED = {"text": "a red cat", "each": 1, "seed": 0, "steps": 3, "guidance": 2, "image": None, "strength": 0.8}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    own = {"train.steps": 1, "sampler.use": "imagen/ddim", "sampler.steps": 3, **RARELY}
    denoiser = train_toy(folder / "denoiser", own)
    return [DemoModel(denoiser, "denoiser"), DemoModel(train_toy(folder / "gan", RARELY, "toys/gan"), "gan")]


def test_controls_are_those_that_a_model_has(models):
    denoiser, gan = (model.abilities for model in models)
    assert (denoiser.steps, denoiser.guidance, denoiser.negative, denoiser.image) == (3, 3.0, True, True)
    assert denoiser.samplers[0] == "imagen/ddim"
    assert {"imagen/dpm++", "toys/ancestral"} < set(denoiser.samplers)
    assert "3:2" in denoiser.aspects
    assert (gan.steps, gan.guidance, gan.negative, gan.image, gan.samplers) == (None, None, False, False, ())
    assert together(models) == denoiser
    assert sampler_choices(models)[0] == ("ddim (as trained)", OWN)
    asked = Asked(("a",), steps=9, guidance=2, negative="b", aspect="3:2", image="c.png")
    assert asked.options(gan) == {"n": 4, "seed": 0}
    assert set(asked.options(denoiser)) == {
        *("n", "seed", "steps", "guidance", "negative_prompt", "aspect", "image", "strength")
    }


def test_a_job_samples_as_the_command_does(models):
    job = Job(models, Asked(("a red square", "a <b>"), each=2, seed=3, steps=4, guidance=1.5))
    job.run()
    assert [part.error for part in job.parts] == ["", ""]
    assert job.parts[0].facts == "4 steps, guidance 1.5, ddim"
    for part, options in zip(job.parts, ({"steps": 4, "guidance": 1.5}, {})):
        alone = t2ikit.sample(part.model.run, job.asked.prompts, n=2, seed=3, progress=False, **options)
        assert alone.images.equal(part.samples.images)
    shown = view.Stage(job).html()
    assert "a &lt;b&gt;" in shown
    assert "<b>" not in shown


def test_a_sampler_that_cannot_begin_at_an_image_says_so(models, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    job = Job(models[:1], Asked(("a",), sampler="toys/ancestral", image=str(tmp_path / "a.png")))
    job.run()
    assert job.failed
    assert job.parts[0].error.startswith("image: the sampler Ancestral begins at noise alone (expected")


def test_texts_are_one_line_each_and_bounded(tmp_path):
    asked = read_asked(tmp_path, **{**ASKED, "text": " a  cat \n\n\ta dog\u2028a cat\ud800"}, negative="x\ny")
    assert asked.prompts == ("a cat", "a dog", "a cat?")
    assert asked.negative == "x y"
    for text in ("", " \n", "x" * 10_001, "\n".join(map(str, range(9)))):
        with pytest.raises(UserError):
            read_asked(tmp_path, **{**ASKED, "text": text})


def test_errors_are_sentences():
    error = UserError("steps: too many", expected="at most 3", got=9, fix="ask for fewer")
    assert sentences(error) == "steps: too many (expected at most 3, got 9). Ask for fewer."


def test_one_has_its_turn_and_others_wait_in_order():
    turns, seen = Turns(2), []

    async def take(name: str) -> None:
        async for ahead in turns.wait(name):
            seen.append((name, ahead))
        seen.append((name, "turn"))
        await asyncio.sleep(0.01)
        await turns.leave(name)

    async def all_of_them() -> None:
        gone = turns.wait("gone")
        first = asyncio.create_task(take("a"))
        await asyncio.sleep(0)
        await gone.__anext__()
        last = asyncio.create_task(take("b"))
        await asyncio.sleep(0)
        with pytest.raises(Full):
            await take("too many")
        await gone.aclose()
        await turns.leave("gone")
        await asyncio.gather(first, last)

    asyncio.run(all_of_them())
    assert seen == [("a", "turn"), ("b", 2), ("b", 1), ("b", "turn")]


def values(**others: object) -> dict[str, object]:
    """Those of the page's controls."""
    words = {"negative": "", "sampler": OWN, "aspect": SQUARE}
    return {**ASKED, **words, "first": "denoiser", "second": "gan", **others}


def keep(kept: History, visitor: str, job: Job) -> int:
    """Add a request that is done to a history; its number."""
    with kept.request(visitor) as number:
        kept.add(number, job, view.Stage(job).html())
    return number


def test_steps_that_a_model_takes_by_itself_are_never_too_many(models, tmp_path):
    thorough = copy.copy(models[0])
    thorough.abilities = replace(thorough.abilities, steps=1000)
    gr = MagicMock()
    Controls(gr, [thorough])
    slider = next(one.kwargs for one in gr.Slider.call_args_list if one.kwargs["elem_id"] == "t2i-steps")
    assert (slider["value"], slider["maximum"]) == (1000, 1000)
    page = Page([thorough, models[1]], 1, tmp_path)
    assert page._read(values(steps=1000))[1].steps == 1000
    for steps, first in ((1001, "denoiser"), (201, "gan")):
        with pytest.raises(UserError, match="steps: a whole number from 1 to"):
            page._read(values(steps=steps, first=first, second="none"))


def test_a_result_is_encoded_once_and_beside_the_event_loop(models, tmp_path, monkeypatch):
    page, encoded, result = Page(models, 1, tmp_path), [], view.result

    def slow(noisy):
        time.sleep(0.01)  # so that the page looks several times
        return visible_noise(noisy)

    def told(samples):
        encoded.append(threading.current_thread() is threading.main_thread())
        return result(samples)

    monkeypatch.setattr("t2ikit.demo.job.visible_noise", slow)
    monkeypatch.setattr("t2ikit.demo.page.PAUSE", 0)
    monkeypatch.setattr(view, "result", told)

    async def ask() -> list[tuple[str, str | None]]:
        return [shown async for shown in page.sample(values(steps=9, first="gan", second="denoiser"), "one")]

    shown = asyncio.run(ask())
    assert sum("t2i-save" in stage for stage, _ in shown) > 2  # the first model is done, the second is not
    assert encoded == [False, False]
    assert page.history.find("one", 1).shown == shown[-1][0]
    assert shown[-1][1] == page.history.of("one")


def test_a_visitor_who_has_left_has_no_history(models, tmp_path):
    page = Page(models, 1, tmp_path)

    async def ask_and_leave() -> str:
        request = page.sample(values(second="none"), "gone")
        await anext(request)
        page.history.forget("gone")
        return [shown async for shown, _ in request][-1]

    assert "t2i-save" in asyncio.run(ask_and_leave())
    assert page.history.of("gone") == ""


def test_the_history_is_bounded(models, monkeypatch):
    job = Job(models, Asked(("a red square",), each=1))
    job.run()
    size = len(view.Stage(job).html())
    kept = History(most=4 * size)
    monkeypatch.setattr(history, "MOST", 2)
    numbers = [keep(kept, "one", job) for _ in range(3)]
    assert kept.of("one").count("<button") == 2
    assert kept.find("one", numbers[0]) is None
    assert kept.find("one", numbers[2]).labels == ("denoiser", "gan")
    assert kept.find("other", numbers[2]) is None
    keep(kept, "other", job)
    keep(kept, "third", job)
    assert kept.of("one").count("<button") < 2
    kept.forget("third")
    assert kept.of("third") == ""


def test_the_bound_of_the_history_is_one_of_memory(models):
    job = Job(models[1:], Asked(("a 🐈",), each=1, negative="🐕" * 1000))
    job.run()
    kept = History()
    past = kept.find("one", keep(kept, "one", job))
    texts = (past.shown, past.button, past.asked.negative, *past.asked.prompts)
    assert kept._size == sum(map(sys.getsizeof, texts))
    assert sys.getsizeof(past.shown) < len(past.shown) + 100
    assert "a &#128008;" in past.shown


def test_what_is_said_is_heard(capsys):
    heard = []
    with listening(heard.append):
        log("one")
        warn("two")
        detail("three")
    log("four")
    assert heard == ["one", "two"]
    assert capsys.readouterr().err.splitlines() == ["one", "warning: two", "four"]


def test_mistakes(tmp_path, monkeypatch, capsys):
    assert main(["demo", str(tmp_path / "gone")]) == 2
    assert "no such folder" in capsys.readouterr().err
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match="another program has it") as caught:
            listen("127.0.0.1", port)
        assert caught.value.__cause__.errno == errno.EADDRINUSE
    with pytest.raises(UserError, match="no such address"):
        listen("203.0.113.7")
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "0")
    assert main(["demo"]) == 2
    assert 'pip install "gradio>=' in capsys.readouterr().err
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"  # before anything was imported


@pytest.mark.parametrize("lacking", [FETCH, LAUNCHED])
def test_a_gradio_that_cannot_be_kept_from_fetching_is_refused(lacking, monkeypatch, capsys):
    files, blocks = ({} if name == lacking else {name: None} for name in (FETCH, LAUNCHED))
    gradio = SimpleNamespace(__version__="7.0.0", Blocks=lambda **options: SimpleNamespace(**blocks))
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    monkeypatch.setitem(sys.modules, "gradio.processing_utils", SimpleNamespace(**files))
    assert main(["demo"]) == 2
    said = capsys.readouterr()
    assert "cannot be served safely with gradio 7.0.0" in said.err
    assert install("demo") in said.err
    assert said.out == ""


def test_a_run_that_upscales_is_refused(models, monkeypatch):
    upscaler = SimpleNamespace(generator=SimpleNamespace(super_resolution=object()))
    monkeypatch.setattr("t2ikit.demo.models.open_model", lambda run, **options: upscaler)
    with pytest.raises(UserError, match="upscales images, and makes none of a prompt alone"):
        open_models([models[0].run.path])
