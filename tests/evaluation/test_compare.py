"""Runs side by side in one HTML file."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_resume import IMAGEN

from t2ikit import Measure, UserError
from t2ikit.cli import main
from t2ikit.evaluation.comparison import (
    MOST_PROMPTS,
    best,
    compare_runs,
    differences,
    read_result,
    short_names,
    stages,
    training_seconds,
)
from t2ikit.evaluation.evaluator import Evaluator
from t2ikit.evaluation.report import embed, render
from t2ikit.evaluation.results import EvaluationOptions
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.sampling.costs import Costs
from t2ikit.training.start import start_run
from t2ikit.utils.images import to_pil

MISSING = ["metrics.clip-score.model=./no-clip"]
QUESTION = EvaluationOptions(n=5, metrics=["colours", "prompt-accuracy", "clip-score"], settings=MISSING)
PROMPTS = ["a red cat", "a <b>blue</b> dog"]


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


@pytest.fixture(scope="module")
def comparison(runs, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield compare_runs(runs, QUESTION, PROMPTS, device="cpu")


class Page(HTMLParser):
    """What a page would load, what it shows, and whether its tags match."""

    VOID = {"meta", "img", "br", "link", "wbr"}

    def __init__(self, html):
        super().__init__()
        self.loads, self.text, self.open, self.sources, self.alts = [], "", [], [], []
        self.captions, self.classes, self.rows = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.loads += [values[key] for key in ("src", "href", "srcset", "data") if key in values]
        self.classes += values.get("class", "").split()
        if tag == "img":
            self.sources.append(values["src"])
            self.alts.append(values["alt"])
        if tag == "figcaption":
            self.captions.append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "figcaption" in self.open:
            self.captions[-1] += data
        if "th" in self.open or "td" in self.open:
            self.rows[-1][-1] += data

    def images(self):
        return [Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))) for source in self.sources]


def test_the_page_holds_all_it_shows_and_loads_nothing(comparison):
    html = render(comparison)
    page = Page(html)
    assert all(load.startswith("data:image/webp;base64,") for load in page.loads)
    assert "<script" not in html
    assert "url(" not in html
    assert all(min(image.size) > 40 for image in page.images())
    # Two runs: two samples of two prompts, four guidance scales of two prompts, a grid of training, losses.
    assert len(page.sources) == 2 * (2 * 2 + 4 * 2 + 1 + 1)
    assert "<second>" in page.text  # as text, not as a tag
    assert "optimizer.generator.lr" in page.text
    assert "prompt-accuracy/colour" in page.text
    assert "clip-score not measured: needs ./no-clip: CLIP model" in page.text
    assert len(html) < 5_000_000


def test_prompts_are_text_beside_their_images(comparison):
    html = render(comparison)
    page = Page(html)
    assert "a &lt;b&gt;blue&lt;/b&gt; dog" in html
    assert "<b>blue" not in html
    assert [caption for caption in page.captions if caption in PROMPTS] == PROMPTS * 3  # guidance, too
    assert "a <b>blue</b> dog: sampled by <second>" in page.alts
    assert "a <b>blue</b> dog: guidance 8" in page.alts


@pytest.mark.parametrize(
    "name", ["a<img src=x>", '"><script>alert(1)</script>', "it's", "{{ 7 * 7 }}", "null"]
)
def test_a_run_of_any_name_is_shown_as_it_is(comparison, name):
    note = f"checkpoints/{name} is damaged"
    first, second = comparison.runs
    runs = [replace(first, name=name, notes=(note,)), second]
    html = render(replace(comparison, runs=runs))
    page = Page(html)
    assert len(page.sources) == len(Page(render(comparison)).sources)
    assert all(load.startswith("data:image/webp;base64,") for load in page.loads)
    assert "<script" not in html
    assert f"t2ikit: {name}, " in page.text
    assert f"{name}: {note}" in page.text


def test_how_each_number_was_made_is_shown_where_no_pointer_hovers(comparison):
    costs = Costs(images=7, seconds=1.0, calls=2, device="cpu", threads=2, processor="a processor")
    runs = [replace(one, result=replace(one.result, costs=costs)) for one in comparison.runs]
    html = render(replace(comparison, runs=runs))
    assert " title=" not in html
    page = Page(html)
    assert "How it was measured" in page.text
    ours = comparison.runs[0].result
    saturation = ours.measures["colours/saturation"]
    assert saturation.provenance
    assert ["colours/saturation", "5", saturation.provenance] in page.rows
    assert ["milliseconds to sample an image", "7", "cpu, 2 threads, a processor"] in page.rows
    assert comparison.runs[0].data in page.text


def test_runs_that_were_measured_otherwise_are_named_in_how(comparison):
    first, second = comparison.runs
    measures = dict(second.result.measures)
    measures["colours/saturation"] = replace(measures["colours/saturation"], n=7, provenance="otherwise")
    changed = replace(second, result=replace(second.result, measures=measures))
    rows = Page(render(replace(comparison, runs=[first, changed]))).rows
    provenance = first.result.measures["colours/saturation"].provenance
    assert ["colours/saturation (first)", "5", provenance] in rows
    assert ["colours/saturation (<second>)", "7", "otherwise"] in rows


def test_what_should_be_known_of_an_evaluation_is_told_with_the_runs_it_is_of(comparison):
    first, second = comparison.runs
    noted = [
        replace(one, result=replace(one.result, notes=notes))
        for one, notes in ((first, ("few captions",)), (second, ("few captions", "old data")))
    ]
    text = Page(render(replace(comparison, runs=noted))).text
    assert "few captions" in text
    assert ": few captions" not in text  # of both
    assert "<second>: old data" in text


def test_numbers_of_different_data_are_not_ranked(comparison):
    same = Page(render(comparison))
    assert "best" in same.classes
    assert "care" not in same.classes
    first, second = comparison.runs
    assert first.data.startswith("creatures-")
    page = Page(render(replace(comparison, runs=[first, replace(second, data="others")])))
    assert not {"best", "near"} & set(page.classes)
    assert "measured on different data: their numbers do not compare, and none is marked" in page.text
    assert "the best value" not in page.text  # no legend of marks that are not there


def test_what_was_trained_on_other_data_is_ranked_on_the_same_data(comparison):
    first, second = comparison.runs
    other = replace(second.run, info={**second.run.info, "data_fingerprint": "others"})
    page = Page(render(replace(comparison, runs=[first, replace(second, run=other)])))
    assert "best" in page.classes
    assert "measured on the same data, but not trained on the same" in page.text


def test_a_prompt_of_5000_words_is_shortened_on_the_page_and_an_empty_one_is_named(comparison):
    long = " ".join(f"word{number}" for number in range(5000))
    page = Page(render(replace(comparison, prompts=[long, ""])))
    assert page.captions[0].startswith("word0 word1 ")
    assert page.captions[0].endswith("…")
    assert page.captions[1] == "(no prompt)"
    assert max(map(len, [*page.captions, *page.alts])) < 500
    assert "-webkit-line-clamp: 3" in render(comparison)


def test_as_many_prompts_as_are_taken_fit_the_page(comparison):
    prompts = [f"prompt {number}" for number in range(MOST_PROMPTS)]
    images = torch.zeros(MOST_PROMPTS, 1, 3, 16, 16)
    runs = [replace(one, images=images, guided=None) for one in comparison.runs]
    page = Page(render(replace(comparison, runs=runs, prompts=prompts)))
    assert page.captions[:MOST_PROMPTS] == prompts
    assert max(max(image.size) for image in page.images()) < 2000


def test_more_prompts_are_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(
        "t2ikit.evaluation.comparison.Evaluator", lambda *a, **k: pytest.fail("a run was opened")
    )
    prompts = [str(number) for number in range(MOST_PROMPTS + 1)]
    with pytest.raises(UserError, match="too many") as caught:
        compare_runs([Path("first"), Path("second")], QUESTION, prompts)
    assert (caught.value.expected, caught.value.got) == ("at most 200 prompts", 201)


def test_three_runs_of_large_noisy_images_stay_below_5_mb(comparison, tmp_path):
    noise = torch.rand(6, 2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    grid = tmp_path / "step-00000001.png"
    to_pil(torch.rand(1, 3, 1400, 1000) * 2 - 1)[0].save(grid)
    guided = noise.reshape(3, 4, 3, 128, 128)
    large = replace(comparison.runs[0], images=noise, guided=guided, stages=[(1, grid)])
    html = render(replace(comparison, runs=[large], prompts=[f"prompt {k}" for k in range(6)]))
    of_grid = len(Page(html).sources[24])
    assert 3 * (len(html) + 3 * of_grid) < 5_000_000


def test_a_image_is_kept_without_loss_where_it_fits():
    image = to_pil(torch.rand(1, 3, 64, 64) * 2 - 1)[0]
    urls = [embed(image, most) for most in (20_000, 5_000, 500)]
    sizes = [len(base64.b64decode(url.split(",")[1])) for url in urls]
    kept = [Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) for url in urls]
    assert kept[0].convert("RGB").tobytes() == image.tobytes()
    assert kept[1].size == (64, 64)
    assert max(kept[2].size) < 64
    assert all(size <= most for size, most in zip(sizes, (20_000, 5_000, 500)))


def test_a_image_larger_than_the_format_holds_is_halved():
    shown = embed(Image.new("RGB", (20_000, 4)), 100_000)
    assert Image.open(io.BytesIO(base64.b64decode(shown.split(",")[1]))).size == (10_000, 2)


def test_evaluations_are_read_where_they_were_made_before(runs, comparison, monkeypatch):
    monkeypatch.setattr(Evaluator, "sample", lambda *a: pytest.fail("it was measured again"))
    again = compare_runs(runs, QUESTION, ["a red cat"], device="cpu")
    assert [one.result for one in again.runs] == [one.result for one in comparison.runs]


def test_a_damaged_evaluation_is_made_anew_and_said_so(runs, comparison):
    before, said = comparison.runs[0].result, []
    found = (runs[0] / "evaluations").glob("*/evaluation.json")
    (kept,) = (path for path in found if read_result(path) == before)
    kept.write_text(kept.read_text()[:100])
    again = compare_runs(runs, QUESTION, ["a cat"], device="cpu", log=said.append).runs[0].result
    assert said == [f"{kept} is damaged: measuring anew"]
    assert again.measures == before.measures
    assert read_result(kept) == again


def test_an_evaluation_in_which_a_metric_failed_is_made_anew(runs, comparison, monkeypatch):
    before, said = comparison.runs[0].result, []
    monkeypatch.setattr(
        "t2ikit.evaluation.comparison.read_result", lambda path: replace(before, failed=("fid",))
    )
    again = compare_runs(runs, QUESTION, ["a cat"], device="cpu", log=said.append).runs[0].result
    assert "failed before: fid; measuring anew" in said[0]
    assert (again.measures, again.failed) == (before.measures, ())


GOOD = {
    "measures": {"colours/saturation": {"value": 1.5, "n": 2}},
    "not_measured": {"fid": "needs a file"},
    "costs": {"pictures": 2, "seconds": 1.0, "calls": 40},
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"settings": {',
        "{}",
        "[]",
        json.dumps({**GOOD, "measures": {"colours/saturation": {"n": 2}}}),
        json.dumps({**GOOD, "measures": {"colours/saturation": {"value": "high", "n": 2}}}),
        json.dumps({**GOOD, "costs": {**GOOD["costs"], "pictures": 0}}),
        json.dumps({**GOOD, "not_measured": None}),
    ],
)
def test_what_is_no_evaluation_is_not_read_as_one(text, tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(GOOD))
    result = read_result(path)
    assert result.measures == {"colours/saturation": Measure(1.5, 2)}
    assert result.costs.images == result.table()["costs"]["pictures"] == 2
    path.write_text(text)
    with pytest.raises(ValueError):
        read_result(path)


def test_differences_are_those_of_the_recipes(comparison):
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
        ([m(1), replace(m(2), n=4)], ["", ""]),  # of so few, nothing is told
    ],
)
def test_the_best_is_marked_and_what_may_be_as_good(measures, marks):
    assert best(measures) == marks


def test_training_time_is_read_off_the_log():
    log = [{"step": 10, "images_per_second": 20.0}, {"step": 15}, {"step": 30, "images_per_second": 40.0}]
    assert training_seconds(log, 4) == pytest.approx(10 * 4 / 20 + 20 * 4 / 40)
    assert training_seconds([{"step": 1}], 4) is None


@pytest.fixture
def grids(tmp_path):
    """A run's folder with sample grids of ten steps."""
    (tmp_path / "samples").mkdir()
    for step in range(100, 1100, 100):
        Image.new("RGB", (64, 64), (step % 256, 0, 0)).save(tmp_path / "samples" / f"step-{step:08d}.png")
    return tmp_path


def test_grids_of_training_are_chosen_evenly_and_end_with_the_last(grids, tmp_path):
    assert [step for step, _ in stages(grids)] == [200, 500, 700, 1000]
    assert stages(tmp_path / "none") == []


def test_grids_that_cannot_be_read_are_left_out_and_said_so(grids):
    samples, said = grids / "samples", []
    whole = (samples / "step-00001000.png").read_bytes()
    (samples / "step-00001000.png").write_bytes(whole[: len(whole) // 2])
    to_pil(torch.rand(1, 3, 400, 400))[0].save(samples / "step-00000700.png")
    large = (samples / "step-00000700.png").read_bytes()
    (samples / "step-00000700.png").write_bytes(
        large.replace(b"IDAT", b"\0\0\0\0").replace(b"\0\0\0\0", b"IDAT", 1)
    )
    (samples / "step-00000500.png").write_bytes(b"")
    (samples / "step-final.png").write_bytes(whole)
    assert [step for step, _ in stages(grids, said.append)] == [100, 300, 600, 900]
    assert len(said) == 4
    assert said[-1] == f"{samples / 'step-final.png'} is left out: it is no readable grid of a step"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/y/a", "x/y/b"], ["a", "b"]),
        (["x/a/r", "x/b/r", "x/b/s"], ["a/r", "b/r", "s"]),
        (["x/y/r", "z/y/r"], ["x/y/r", "z/y/r"]),
        (["x/y/r", "z/y/r", "z/w/r"], ["x/y/r", "z/y/r", "w/r"]),
        (["/r", "/y/r"], ["/r", "y/r"]),
    ],
)
def test_names_are_as_long_as_it_takes_to_tell_runs_apart(paths, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert short_names([Path(path) for path in paths]) == names


@pytest.mark.parametrize("count", [0, 1])
def test_one_run_is_nothing_to_compare(runs, count):
    with pytest.raises(UserError, match="nothing to compare"):
        compare_runs(runs[:count], QUESTION)
    with pytest.raises(UserError, match="nothing to compare"):
        compare_runs([runs[0], runs[0]], QUESTION)


def command(runs, out, *more):
    words = ["compare", *map(str, runs), "--metrics", "colours", "-n", "2", "--device", "cpu"]
    return main([*words, "--out", str(out), *more])


def test_the_command_writes_the_file_and_passes_over_a_damaged_grid(runs, tmp_path, capsys):
    prompts, damaged = tmp_path / "prompts.txt", runs[0] / "samples" / "step-final.png"
    prompts.write_text("a green cat\n")
    damaged.touch()
    try:
        assert command(runs, tmp_path / "report.html", "--prompts", str(prompts)) == 0
    finally:
        damaged.unlink()
    printed = capsys.readouterr()
    assert printed.out == f"report: {tmp_path / 'report.html'}\n"
    assert f"{damaged} is left out" in printed.err
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "out", ["gone/report.html", "folder", "file/report.html", "taken.html", "long" * 100]
)
def test_a_report_that_cannot_be_written_is_refused_before_any_work(out, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "t2ikit.evaluation.functions.compare_runs", lambda *a, **k: pytest.fail("runs were compared")
    )
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / ".taken.html.writing").mkdir()  # as a folder without leave to write, for root too
    before = sorted(tmp_path.rglob("*"))
    assert command([tmp_path, tmp_path], tmp_path / out) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --out {tmp_path / out}: the file cannot be written")
    assert all(word in error for word in ("expected:", "got:", "fix:"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_report_that_was_there_stays_until_the_new_one_is_made(tmp_path):
    report = tmp_path / "report.html"
    report.write_text("before")
    assert command([tmp_path, tmp_path / "none"], report) == 2
    assert report.read_text() == "before"
