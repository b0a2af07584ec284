"""Runs side by side in one HTML file."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import pytest
from PIL import Image

from t2ikit import Measure, UserError
from t2ikit.comparing import best, compare, differences, stages, training_seconds
from t2ikit.evaluating import Evaluator, Question
from t2ikit.recipe import read_recipe
from t2ikit.registry import Registry
from t2ikit.report import render
from t2ikit.training import start_run
from test_resume import IMAGEN

MISSING = ["metrics.clip-score.model=./no-clip"]
QUESTION = Question(n=4, metrics=["colours", "prompt-accuracy", "clip-score"], settings=MISSING)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two tiny diffusion runs that differ in one option."""
    registry = Registry.load()
    folder = tmp_path_factory.mktemp("runs")
    for name, rate in (("first", 1e-3), ("<second>", 2e-3)):
        settings = [*IMAGEN, "train.steps=6", "sampler.steps=1", f"optimizer.generator.lr={rate}"]
        recipe = read_recipe(registry, "imagen/default", settings=settings)
        start_run(registry, recipe, folder / name, device="cpu")
    return [folder / "first", folder / "<second>"]


class Page(HTMLParser):
    """What a page would load, what it shows, and whether its tags match."""

    VOID = {"meta", "img", "br", "link"}

    def __init__(self, html):
        super().__init__()
        self.loads, self.text, self.open, self.sources = [], "", [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.loads += [values[key] for key in ("src", "href", "srcset", "data") if key in values]
        self.sources += [values["src"]] if tag == "img" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_holds_all_it_shows_and_loads_nothing(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    comparison = compare(runs, QUESTION, ["a red cat", "a <b>blue</b> dog"], device="cpu")
    html = render(comparison)
    page = Page(html)
    assert all(load.startswith("data:image/webp;base64,") for load in page.loads)
    assert "<script" not in html
    assert "url(" not in html
    for source in page.sources:
        picture = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))
        assert min(picture.size) > 40
    assert len(page.sources) == 1 + 2 + 2 + 2  # side by side, guidance, one grid of training each, losses
    assert "<second>" in page.text  # as text, not as a tag
    assert "optimizer.generator.lr" in page.text
    assert "prompt-accuracy/colour" in page.text
    assert "clip-score not measured: needs ./no-clip: CLIP model" in page.text
    assert len(html) < 5_000_000


def test_evaluations_are_read_where_they_were_made_before(runs, monkeypatch):
    question = Question(n=4, metrics=["colours"], again=0)
    first = compare(runs, question, ["a red cat"], device="cpu")
    monkeypatch.setattr(Evaluator, "measure", lambda *a: pytest.fail("it was measured again"))
    again = compare(runs, question, ["a red cat"], device="cpu")
    for one, other in zip(first.runs, again.runs):
        assert one.measures == other.measures
        assert one.costs == other.costs


def test_differences_are_those_of_the_recipes(runs):
    comparison = compare(runs, Question(n=2, metrics=["colours"], again=0), ["a cat"], device="cpu")
    assert differences(comparison.runs) == [("optimizer.generator.lr", ["0.001", "0.002"])]
    assert [one.name for one in comparison.runs] == ["first", "<second>"]
    assert comparison.runs[0].training_seconds > 0


def m(value, low=None, high=None, better="higher"):
    return Measure(value, 9, low, high, better=better)


@pytest.mark.parametrize(
    ("measures", "marks"),
    [
        ([m(1), m(2)], ["", "best"]),
        ([m(1, better="lower"), m(2, better="lower")], ["best", ""]),
        ([m(1, better=""), m(2, better="")], ["", ""]),
        ([m(1), None], ["", ""]),  # a row with a gap is not ranked
        ([m(5, 4, 6), m(7, 5.5, 8), m(3, 2, 4)], ["near", "best", ""]),
        ([m(2), m(2)], ["best", "best"]),
    ],
)
def test_the_best_is_marked_and_what_may_be_as_good(measures, marks):
    assert best(measures) == marks


def test_training_time_is_read_off_the_log():
    log = [{"step": 10, "images_per_second": 20.0}, {"step": 15}, {"step": 30, "images_per_second": 40.0}]
    assert training_seconds(log, 4) == pytest.approx(10 * 4 / 20 + 20 * 4 / 40)
    assert training_seconds([{"step": 1}], 4) is None


def test_grids_of_training_are_chosen_evenly_and_end_with_the_last(tmp_path):
    (tmp_path / "samples").mkdir()
    for step in range(100, 1100, 100):
        (tmp_path / "samples" / f"step-{step:08d}.png").touch()
    assert [step for step, _ in stages(tmp_path)] == [200, 500, 700, 1000]
    assert stages(tmp_path / "none") == []


@pytest.mark.parametrize("count", [0, 1])
def test_one_run_is_nothing_to_compare(runs, count):
    with pytest.raises(UserError, match="nothing to compare"):
        compare(runs[:count], QUESTION)
    with pytest.raises(UserError, match="nothing to compare"):
        compare([runs[0], runs[0]], QUESTION)


def test_the_command_writes_the_file_and_refuses_a_place_that_is_not_there(runs, tmp_path, capsys):
    from t2ikit.cli import main

    words = ["compare", *map(str, runs), "--metrics", "colours", "-n", "2", "--device", "cpu", "--out"]
    assert main([*words, str(tmp_path / "gone" / "report.html")]) == 2
    assert "--out" in capsys.readouterr().err
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a green cat\n")
    assert main([*words, str(tmp_path / "report.html"), "--prompts", str(prompts)]) == 0
    assert "report.html" in capsys.readouterr().out
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
