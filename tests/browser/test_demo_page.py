"""The page of `t2ikit demo` in a browser, and its queue."""

from __future__ import annotations

import http.client
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from browser_support import WAIT, Tab, decoded, until
from demo_support import FILE, ask, html_of, served
from PIL import Image

import t2ikit
from t2ikit.demo import job
from t2ikit.demo.asked import PIXELS
from t2ikit.demo.models import DemoModel, open_models
from training_support import RARELY, no_curves, train_toy

__all__ = ["no_curves"]
pytestmark = pytest.mark.browser
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script> {{value}} ${alert(3)}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    own = {"train.steps": 2, "sampler.use": "imagen/dpm++", "sampler.steps": 3, **RARELY}
    return {
        "denoiser": train_toy(folder / "denoiser", own),
        "gan": train_toy(folder / "gan", {"train.steps": 2, **RARELY}, "toys/gan"),
    }


@pytest.fixture(scope="module")
def models(runs):
    return [DemoModel(run, name) for name, run in runs.items()]


@pytest.fixture(scope="module")
def url(models, tmp_path_factory):
    with served(models, tmp_path_factory.mktemp("uploads")) as address:
        yield address


@pytest.fixture
def tab(browser, url):
    opened = Tab(browser, url)
    yield opened
    opened.close()


def fill(page, name: str, value: object) -> None:
    kind = "textarea" if name == "prompts" else "input[type=number]"
    field = page.locator(f"#t2i-{name} {kind}").first
    field.fill(str(value))
    field.press("Tab")


def choose(page, name: str, label: str) -> None:
    page.click(f"#t2i-{name} input")
    page.get_by_role("option", name=label, exact=True).click()
    page.get_by_role("option").first.wait_for(state="detached")  # another list may be opened next


def sample(page) -> list[bytes]:
    """Click, wait for the images that were not there before, and give them."""
    page.evaluate("document.querySelectorAll('.t2i-save').forEach((link) => link.remove())")
    page.click("#t2i-sample")
    page.wait_for_selector(".t2i-panel:last-child .t2i-save")
    return images(page)


def images(page) -> list[bytes]:
    addresses = page.eval_on_selector_all(".t2i-row img", "all => all.map((one) => one.src)")
    return [decoded(address) for address in addresses]


def files(samples) -> list[bytes]:
    """The PNGs of samples, as `t2ikit sample` writes them."""
    return [png(image) for image in samples.pil()]


def png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def test_type_click_see_change_and_go_back(tab, runs):
    page = tab.page
    choose(page, "second", "(none)")
    fill(page, "prompts", "a red square\na blue square")
    fill(page, "each", 2)
    fill(page, "seed", 7)
    first = sample(page)
    options = {"n": 2, "seed": 7, "device": "cpu", "progress": False}
    prompts = ["a red square", "a blue square"]
    own = t2ikit.sample(runs["denoiser"], prompts, guidance=3, **options)
    assert first == files(own)
    with page.expect_download() as download:
        page.click(".t2i-save")
    assert Path(download.value.path()).read_bytes() == png(own.grid())
    fill(page, "guidance", 6.5)
    fill(page, "steps", 5)
    second = sample(page)
    assert second == files(t2ikit.sample(runs["denoiser"], prompts, guidance=6.5, steps=5, **options))
    assert second != first
    page.wait_for_selector("#t2i-past button:nth-child(2)")
    page.click("#t2i-past button:nth-child(2)")
    page.wait_for_function("document.querySelector('.t2i-facts').textContent.includes('guidance 3')")
    assert images(page) == first
    assert page.input_value("#t2i-guidance input[type=number]") == "3"
    assert page.input_value("#t2i-prompts textarea") == "a red square\na blue square"


def test_images_form_and_can_be_stopped(tab, monkeypatch):
    page, held, shown = tab.page, threading.Event(), job.visible_noise

    def slow(noisy):
        if page_has_seen.is_set():
            held.wait(WAIT / 1000)
        page_has_seen.set()
        return shown(noisy)

    page_has_seen = threading.Event()
    monkeypatch.setattr(job, "visible_noise", slow)
    choose(page, "second", "(none)")
    fill(page, "steps", 20)
    page.click("#t2i-sample")
    page.wait_for_selector(".t2i-forming img")
    assert len(images(page)) == 8
    page.click("#t2i-stop")
    page.get_by_text("Stopped.").wait_for()
    held.set()
    assert len(sample(page)) == 8  # the next one's turn comes
    assert page.locator("#t2i-past button").count() == 1


def test_a_tab_that_is_closed_gives_up_its_turn(browser, url, monkeypatch):
    steps, shown = [], job.visible_noise

    def slow(noisy):
        steps.append(time.sleep(0.05))
        return shown(noisy)

    monkeypatch.setattr(job, "visible_noise", slow)
    tab = Tab(browser, url)
    fill(tab.page, "steps", 200)
    tab.page.click("#t2i-sample")
    tab.page.wait_for_selector(".t2i-forming img")
    tab.close()
    assert "t2i-save" in html_of(ask(url, steps=1))
    assert len(steps) < 200


def test_controls_follow_the_models(tab):
    page = tab.page
    choose(page, "second", "(none)")
    assert page.is_visible("#t2i-steps")
    assert page.is_visible("#t2i-begin")
    choose(page, "first", "gan")
    page.wait_for_selector("#t2i-steps", state="hidden")
    for name in ("guidance", "negative", "sampler", "aspect", "begin"):
        assert page.is_hidden(f"#t2i-{name}"), name
    assert len(sample(page)) == 8
    choose(page, "second", "denoiser")
    page.wait_for_selector("#t2i-steps")
    assert len(sample(page)) == 16
    assert page.eval_on_selector_all(".t2i-panel h3", "all => all.map((h) => h.textContent)") == [
        "gan",
        "denoiser",
    ]


def test_what_is_typed_is_shown_and_never_run(tab):
    page = tab.page
    fill(page, "prompts", MARKUP)
    assert sample(page)
    assert MARKUP in page.inner_text("#t2i-stage")
    assert page.locator("#t2i-stage [onerror], #t2i-stage script").count() == 0
    fill(page, "prompts", "red " * 1250)  # 5,000 characters
    assert sample(page)
    assert "is cut, after" in page.inner_text(".t2i-notes")
    fill(page, "prompts", "red " * 2501)
    page.click("#t2i-sample")
    page.get_by_text("10,004 characters, and at most 10,000 are read").wait_for()
    fill(page, "prompts", " ")
    page.click("#t2i-sample")
    page.get_by_text("Write a prompt first").wait_for()


def test_an_image_to_begin_at_and_those_that_cannot_be_used(tab, runs, tmp_path):
    page, start = tab.page, tmp_path / "start.png"
    choose(page, "second", "(none)")
    fill(page, "prompts", "a red square")
    Image.new("RGB", (16, 16), "blue").save(start)
    Image.new("1", (8000, 6500)).save(tmp_path / "huge.png")
    (tmp_path / "none.png").write_text("<svg onload=alert(1)>")
    page.click("#t2i-begin button")
    field = "#t2i-image input[type=file]"
    page.set_input_files(field, start)
    page.wait_for_selector("#t2i-image img")
    fill(page, "strength", 0.4)
    options = {"image": start, "strength": 0.4, "device": "cpu", "progress": False}
    assert sample(page) == files(t2ikit.sample(runs["denoiser"], "a red square", **options))
    before = psutil.Process().memory_info().rss
    for name, sentence in (
        ("huge.png", "has 8000 x 6500 pixels, which is more than 24 million"),
        ("none.png", "The image cannot be read"),
    ):
        page.click("#t2i-image button[aria-label='Remove Image']")
        page.set_input_files(field, tmp_path / name)
        page.wait_for_selector("#t2i-image img")
        page.click("#t2i-sample")
        page.get_by_text(sentence).wait_for()
    assert psutil.Process().memory_info().rss - before < 100 * 2**20  # 156 MB when decoded
    assert PIXELS < 8000 * 6500


def test_two_tabs_at_once_do_not_mix(browser, url):
    tabs = [Tab(browser, url) for _ in range(2)]
    for seed, tab in enumerate(tabs):
        fill(tab.page, "seed", seed)
        tab.page.click("#t2i-sample")
    for tab in tabs:
        tab.page.wait_for_selector(".t2i-panel:last-child .t2i-save")
    shown = [images(tab.page) for tab in tabs]
    assert len(shown[0]) == len(shown[1]) == 16
    assert not set(shown[0]) & set(shown[1])
    for tab in tabs:
        assert tab.page.locator("#t2i-past button").count() == 1
        tab.close()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"guidance": float("nan")}, "guidance: a number from 0 to 50 is expected, not nan."),
        ({"guidance": "much"}, "guidance: a number from 0 to 50 is expected, not much."),
        ({"steps": 1e308}, "steps: a number from 1 to 200 is expected, not 1e+308."),
        ({"steps": 2.5}, "steps: a whole number from 1 to 200 is expected, not 2.5."),
        ({"seed": float("inf")}, "seed: a number from 0 to"),
        ({"each": 1000}, "images: a whole number from 1 to 8 is expected"),
        ({"text": 7}, "prompts: a text is expected, not int."),
        ({"text": "\n".join(map(str, range(9)))}, "There are 9 prompts, and at most 8 are sampled at once"),
        ({"sampler": ["x"]}, "sampler: a text is expected, not list."),
        ({"aspect": "7:1"}, "images of this shape cannot be sampled"),
        ({"first": {"a": 1}}, "Choose a model first."),
        ({"strength": None}, "strength: a number from 0 to 1 is expected, not None."),
        ({"image": {"path": __file__, "meta": FILE}}, "because it was not uploaded by a user"),
        ({"image": {"path": __file__}}, "Only an image that was uploaded to this page"),
        ({"image": {"path": "http://192.0.2.1/a.png", "meta": FILE}}, "Only a file that was uploaded"),
        ({"text": {"path": __file__, "meta": FILE}}, "because it was not uploaded by a user"),
        (
            {"image": {"path": None, "url": "data:image/png;base64,AAAA", "meta": FILE}},
            "Only an image that was",
        ),
    ],
)
def test_whatever_is_sent_is_answered_in_a_sentence(url, wrong, sentence):
    assert sentence in html_of(ask(url, **wrong))


def test_twenty_clients_at_once_and_none_is_lost(url):
    before = psutil.Process().memory_info().rss
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda seed: html_of(ask(url, seed=seed, text=f"number {seed}")), range(20)))
    for seed, answer in enumerate(answers):
        assert f">number {seed}</figcaption>" in answer
    assert len(set(answers)) == 20
    assert psutil.Process().memory_info().rss - before < 200 * 2**20


def test_too_many_are_told_so(models, tmp_path, monkeypatch):
    held, shown = threading.Event(), job.visible_noise
    monkeypatch.setattr(job, "visible_noise", lambda noisy: held.wait(WAIT / 1000) and shown(noisy))
    with served(models, tmp_path, waiting=1) as url, ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(lambda seed: html_of(ask(url, seed=seed)), seed) for seed in range(6)]
        until(lambda: sum(one.done() for one in asked) == 4, what="four refusals")
        refused = [one.result() for one in asked if one.done()]
        held.set()
        answers = [one.result() for one in asked]
    assert all("one is sampled and 1 wait, which is the limit" in answer for answer in refused)
    assert sum("t2i-save" in answer for answer in answers) == 2


def test_the_packaged_models_without_a_run(browser, tmp_path):
    with served(open_models([]), tmp_path) as url:
        tab = Tab(browser, url)
        fill(tab.page, "each", 1)
        fill(tab.page, "steps", 2)
        assert "Words it knows: " in tab.page.inner_text("#t2i-prompts")
        found = sample(tab.page)
        assert len(found) == 4
        one_step = t2ikit.sample("creatures-one-step", ["a green cat with red eyes", "a blue fish"], n=1)
        assert found[2:] == files(one_step)
        tab.page.set_viewport_size({"width": 400, "height": 800})
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 400
        tab.close()


def test_pages_of_other_names_and_sites_are_refused(url):
    address = url.removeprefix("http://").rstrip("/")
    for headers, status in (
        ({"Host": "evil.example"}, 421),
        ({"Sec-Fetch-Site": "cross-site"}, 421),
        ({}, 422),
    ):
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request(
            "POST", "/gradio_api/queue/join", "{}", {"Content-Type": "application/json", **headers}
        )
        assert connection.getresponse().status == status
        connection.close()
