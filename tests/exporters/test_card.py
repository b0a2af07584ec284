"""The model card: whatever a run is called and whatever its settings say, they are shown, not obeyed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from test_super_resolution import DENOISER, TINY

from t2ikit import open_run
from t2ikit.cli import main
from t2ikit.exporters.card import CARD, write_model_card
from t2ikit.exporters.card_metadata import metadata
from t2ikit.exporters.export import export
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Plugin, Registry
from t2ikit.training.start import resume_run, start_run
from t2ikit.utils.quoting import code, code_block, escaped, visible

HOSTILE = [
    "a<img src=x>",
    "# [x](javascript:1)",
    "`$(rm)`",
    "a|b",
    "null",
    "1e5",
    "- a",
    "a: 'b",
    '"',
    "---",
    "\n",
    "*_*",
]
NAMES = st.text(min_size=1).filter(lambda text: not set(text) & {"/", "\0"} and text not in (".", ".."))


class Page(HTMLParser):
    """The tags of a page, and the text within each kind."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.inside, self.texts = [], [], {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("img", "br", "hr"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if tag in self.inside:
            self.inside.remove(tag)

    def handle_data(self, data):
        for tag in self.inside:
            self.texts[tag] = self.texts.get(tag, "") + data


def rendered(text):
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    recipe = read_recipe(
        Registry.load(), "imagen/default", settings=[*TINY, "data.size=16", "sampler.steps=2", *DENOISER]
    )
    start_run(Registry.load(), recipe, folder / "run", device="cpu")
    return open_run(folder / "run")


@pytest.fixture(scope="module")
def model(trained):
    return trained.model()


def card_of(run, model, out: Path, opened_with="t2ikit_imagen.pipeline:ImagenPipeline"):
    out.mkdir(exist_ok=True)
    write_model_card(run, out, opened_with, model)
    return ModelCard((out / CARD).read_text(encoding="utf-8"))


# ---------------------------------------------------------------- names and settings


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES)
@example("null")
@example("1e5")
@example("2026-01-01")
@example("- a: 'b' # \"c\"")
@example("---\n---")
@example("\udcff\x1b[31m\u2028")
def test_a_run_of_any_name_has_a_card(trained, model, tmp_path, name):
    card = card_of(replace(trained, path=tmp_path / name), model, tmp_path / "out")
    shown = visible(name)
    assert card.data.to_dict() == {
        "library_name": "diffusers",
        "license": "apache-2.0",
        "model_name": shown,
        "pipeline_tag": "text-to-image",
        "tags": ["t2ikit", "text-to-image"],
        "widget": [{"text": "a green cat with red eyes"}],
    }
    page = rendered(card.text)
    assert page.texts.get("h1", "").strip() == shown.strip()
    assert set(page.tags) <= {"h1", "h2", "p", "pre", "code"}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20))
def test_escaped_text_is_text(text):
    page = rendered(f"before {escaped(text)} after")
    assert page.tags == ["p"]
    assert page.texts["p"].strip() == f"before {visible(text)} after"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20, alphabet="ab `|\\<\n"))
def test_a_cell_of_a_table_stays_one_cell(text):
    page = rendered(f"| a | b |\n|---|---|\n| {escaped(text)} | c |")
    assert page.tags.count("td") == 2
    assert page.texts["td"].strip() == (visible(text).strip() + "c")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20, alphabet="ab `\\<>&\n"))
def test_code_is_shown_as_it_is(text):
    page = rendered(f"before {code(text)} after")
    assert page.tags == ["p", "code"]
    assert page.texts["code"].strip(" ") == visible(text).strip(" ")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30, alphabet="ab`~\n<"))
def test_a_block_of_code_ends_where_it_ends(text):
    page = rendered("\n".join([*code_block(text, "toml"), "", "after"]))
    assert page.tags == ["pre", "code", "p"]
    assert page.texts["code"] == text + "\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_settings_and_numbers_are_shown_as_they_are(trained, model, tmp_path, text):
    train = {**trained.table["train"], "prompts": [text, "```"]}
    table = {**trained.table, "train": train, "data": {**trained.table["data"], "spec": text}}
    run = replace(trained, table=table, path=tmp_path / "run")
    sampler = model.recipe.parts["sampler"].table()
    measure = {"value": 1.0, "unit": text, "n": 64, "provenance": text}
    evaluation = {
        "settings": {
            "step": model.step,
            "weights": "ema",
            "data": trained.info["data_fingerprint"],
            "sampler": sampler,
            "steps": sampler["steps"],
            "guidance": sampler["guidance"],
            "n": 64,
            "seed": 0,
        },
        "measures": {f"mine/{text}".replace("/", "", text.count("/")): measure},
        "notes": [],
    }
    (run.path / "evaluations" / "step-1").mkdir(parents=True)
    (run.path / "evaluations" / "step-1" / "evaluation.json").write_text(json.dumps(evaluation))
    card = card_of(run, replace(model, notes=(text,)), tmp_path / "out")
    assert card.data.widget == [{"text": visible(text)}]
    assert card.data.license is None
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_value) == (visible(text), 1.0)
    page = rendered(card.text)
    shown = {"h1", "h2", "p", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(page.tags) == shown
    assert page.tags.count("td") == 4
    assert f"Note: {visible(text)}" in page.texts["p"]
    assert visible(text).strip() in page.texts["td"]
    assert visible(text).strip() in page.texts["code"]
    assert page.texts["h1"] == "run"


def test_the_hub_reads_licence_data_and_figures(trained, model, tmp_path):
    """From the card alone, as its own library reads it back."""
    measures = {"prompt-accuracy/joint": {"value": 94.7266, "unit": "%", "n": 64, "provenance": "reader"}}
    bad = {"mine/infinite": {**measures["prompt-accuracy/joint"], "value": float("inf")}}
    data = metadata(trained, model, measures | bad)
    assert model_index_to_eval_results(data.to_dict()["model-index"])[0] == "run"
    (result,) = data.eval_results
    assert (result.task_type, result.dataset_name) == ("text-to-image", "creatures")
    assert result.dataset_revision == trained.info["data_fingerprint"]
    assert (result.metric_type, result.metric_value) == ("prompt-accuracy/joint", 94.73)


@pytest.mark.parametrize(
    ("spec", "origin", "licence", "datasets"),
    [
        ("openmoji", None, "cc-by-sa-4.0", None),
        ("hf:me/birds:train", None, None, ["me/birds"]),
        ('mix:["hf:me/birds", "creatures"]', None, None, ["me/birds"]),
        ("creatures", {"data": "other"}, None, None),
        ("creatures", {"data": None, "origin": {"data": "other"}}, None, None),
    ],
)
def test_a_licence_is_stated_where_all_data_is_known(
    trained, model, tmp_path, spec, origin, licence, datasets
):
    own = {"data": trained.info["data_fingerprint"]}
    whole = None if origin is None else {**origin, **(own if origin["data"] is None else {})}
    info = trained.info | ({"origin": whole} if whole else {})
    run = replace(
        trained, table={**trained.table, "data": {**trained.table["data"], "spec": spec}}, info=info
    )
    card = card_of(run, model, tmp_path / "out")
    assert (card.data.license, card.data.datasets) == (licence, datasets)
    assert ("Licence: not stated" in card.text) == (licence is None)


@pytest.mark.parametrize("name", ["sp ace;rm", "a<img src=x>", "it's"])
def test_an_export_of_a_run_in_such_a_folder_has_its_name(trained, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained.path, name)
    assert main(["export", name, "--format", "diffusers", "--out", "out"]) == 0
    card = ModelCard.load(tmp_path / "out" / CARD)
    assert card.data.model_name == name
    assert rendered(card.text).texts["h1"] == name


# ---------------------------------------------------------------- steps, and what is needed


def test_the_steps_are_those_that_the_run_records(trained, model, tmp_path):
    longer = replace(trained, table={**trained.table, "train": {**trained.table["train"], "steps": 6}})
    for run, step, expected in (
        (trained, 2, "Weights of step 2 of 2."),
        (longer, 2, "Weights of step 2 of 6."),
        (trained, 6, "Weights of step 6."),  # recorded otherwise than it was trained
    ):
        assert expected in card_of(run, replace(model, step=step), tmp_path / "out").text
    assert "\nsteps = 6\n" in card_of(longer, model, tmp_path / "out").text


def test_the_steps_of_a_run_that_went_on_are_those_it_went_on_to(trained, tmp_path):
    shutil.copytree(trained.path, tmp_path / "run")
    resume_run(Registry.load(), tmp_path / "run", settings=["train.steps=3"], device="cpu")
    text = (export(tmp_path / "run", out=tmp_path / "out") / CARD).read_text()
    assert "Weights of step 3 of 3." in text
    assert text.split("[train]")[1].startswith("\nsteps = 3\n")


def test_the_card_names_what_must_be_installed(trained, model, tmp_path):
    origin = {"name": "blur", "origin": "t2ikit-blur 1.2", "sha256": None}
    file = {"name": "toys", "origin": "toys.py", "sha256": "0123abc"}
    unused = {"name": "other", "origin": "t2ikit-other 3", "sha256": None}
    info = {**trained.info, "plugins": [*trained.info["plugins"], origin, file, unused]}
    table = {**trained.table, "generator": {"use": "blur/unet"}, "sampler": {"use": "toys/fast"}}
    run = replace(trained, info=info, table=table)
    text = card_of(run, model, tmp_path / "out").text
    assert "Needs t2ikit 0.1.0 and t2ikit-blur 1.2 (`pip install t2ikit-blur==1.2`)" in text
    assert "the plugin file toys.py (SHA-256 0123abc)" in text
    assert "t2ikit-other" not in text
    assert "Needs t2ikit 0.1.0.\n" in card_of(trained, model, tmp_path / "out").text


def test_the_distribution_of_the_pipeline_itself_is_named(trained, model, tmp_path):
    registry = Registry.load()
    registry.plugins["blur"] = Plugin("blur", "t2ikit-blur 1.2", ModuleType("blur.plugin"))
    run = replace(trained, registry=registry)
    assert "t2ikit-blur==1.2" in card_of(run, model, tmp_path / "out", "blur.pipeline:BlurPipeline").text
    assert "t2ikit-blur" not in card_of(run, model, tmp_path / "out").text


def test_a_pipeline_of_diffusers_needs_diffusers_alone(trained, model, tmp_path):
    text = card_of(trained, model, tmp_path / "out", "diffusers:DiffusionPipeline").text
    assert "Needs diffusers (written with 0." in text
    assert "Needs t2ikit" not in text
