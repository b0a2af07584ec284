"""benchmarks/all_figures.sh: that no figure of the docs is without a part, and how parts are run."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from figures.__main__ import main, parse
from figures.part import Part
from figures.parts import PARTS
from figures.runner import ROOT, Failed, Runner, resumed

from t2ikit.cli import main as t2ikit_main
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
COMMANDS = [(name, command) for name, part in PARTS.items() for command in part.commands]
INTERVAL = re.compile(r"\d\.\d \[-?\d")
"""A figure with its interval, as in 47.4 [44.3, 50.4]."""


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def made() -> set[str]:
    return {file for part in PARTS.values() for file in part.files}


def test_every_picture_and_result_has_a_part():
    results = [path for path in (ROOT / "benchmarks/results").glob("*.json") if "gpu-" not in path.name]
    there = {place(path) for path in (*(ROOT / "docs").glob("*.png"), *results)}
    assert there - made() == set()
    assert {file for file in made() - there if file.endswith(".png")} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_figure_of_a_page_has_a_part_that_names_the_page(page):
    text = page.read_text(encoding="utf-8")
    of_page = [part for part in PARTS.values() if place(page) in part.pages]
    shown = {place((page.parent / link).resolve()) for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)}
    assert shown <= {file for part in of_page for file in part.files}
    assert of_page or not INTERVAL.search(text)


def test_parts_name_pages_and_parts_that_are_there():
    assert {page for part in PARTS.values() for page in part.pages} <= {place(page) for page in PAGES}
    names = list(PARTS)
    for part in PARTS.values():
        assert all(names.index(other) < names.index(part.name) for other in part.after)


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=lambda value: value[:40])
def test_every_command_can_be_run(name, command, tmp_path, monkeypatch):
    """Its script is there, its recipe takes its settings, and the runs it uses are made before."""
    monkeypatch.setenv("STOCK_PYTHON", "python")
    _, words = Runner(tmp_path, PARTS, "").words(command)
    assert all(Path(word).is_file() for word in words if word.startswith(str(ROOT)))
    if "train" in words:
        options = list(itertools.pairwise(words))
        recipe = next((value for option, value in options if option == "--recipe"), None)
        plugins = [value for option, value in options if option == "--plugin"]
        data = next((value for option, value in options if option == "--data"), None)
        settings = [value for option, value in options if option == "--set"]
        read_recipe(Registry.load(plugins), recipe, data=data, settings=settings)
    before = " ".join(one for other in (*PARTS[name].after, name) for one in PARTS[other].commands)
    used = {word for word in words if word.startswith("runs/")}
    assert all(f"--out {run}" in before for run in used)


def test_parts_are_listed(tmp_path, capsys):
    assert main(["--list", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == list(PARTS)
    assert not any(tmp_path.iterdir())


def test_an_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["--only", "lang"])
    assert "there are: default, seed-1" in capsys.readouterr().err


class Calls:
    """In place of processes: every command leaves a file of its last word's name, or fails once."""

    def __init__(self, *failing: str) -> None:
        self.made, self.failing = [], list(failing)

    def __call__(self, words, environment, folder, printed):
        self.made.append(words[-1])
        if words[-1] in self.failing:
            self.failing.remove(words[-1])
            return 1
        (folder / words[-1]).write_text(words[-1])
        return 0


TWO = {
    "first": Part("first", "", (), ("echo a", "echo b")),
    "second": Part("second", "", (), ("echo c",), {"docs/c.png": "c*"}, after=("first",)),
}


def test_what_is_done_is_not_done_again(tmp_path, capsys):
    calls = Calls("b")
    with pytest.raises(Failed, match="`echo b` ended with 1"):
        Runner(tmp_path, TWO, "abc", calls).run(["second"])
    Runner(tmp_path, TWO, "abc", calls).run(["second"])
    Runner(tmp_path, TWO, "abc", calls).run(["first", "second"])
    assert calls.made == ["a", "b", "b", "c"]
    assert (tmp_path / "figures/docs/c.png").read_text() == "c"
    stamp = json.loads((tmp_path / "done/second.json").read_text())
    assert stamp["commit"] == "abc"
    assert stamp["seconds"] >= 0
    assert "second: 0.0 minutes" in capsys.readouterr().out


def test_a_part_that_lacks_something_is_skipped_with_those_that_need_it(tmp_path, capsys):
    parts = {**TWO, "first": Part("first", "", (), ("echo a",), packages=("no_such_package",))}
    calls = Calls()
    runner = Runner(tmp_path, parts, "abc", calls)
    runner.run(["first", "second"])
    assert calls.made == []
    assert runner.skipped == {"first": "the package no_such_package", "second": "the part first"}
    assert "first: skipped, it needs the package no_such_package" in capsys.readouterr().out


def test_a_part_must_leave_its_files(tmp_path):
    parts = {"one": Part("one", "", (), ("echo a",), {"docs/b.png": "b*"})}
    with pytest.raises(Failed, match=r"one: its commands left no b\*"):
        Runner(tmp_path, parts, "abc", Calls()).run(["one"])


def test_a_folder_is_of_one_commit(tmp_path, capsys):
    (tmp_path / "commit.txt").write_text("another\n")
    assert main(["--out", str(tmp_path), "--only", "default"]) == 1
    assert "holds figures of commit another" in capsys.readouterr().err


def test_a_training_that_was_stopped_goes_on(tmp_path):
    words = shlex.split(
        "python -m t2ikit train --plugin imagen --plugin ./a.py --set train.steps=2 --out runs/a"
    )
    (tmp_path / "runs/a").mkdir(parents=True)
    assert resumed(words, tmp_path) == words
    assert not (tmp_path / "runs/a").exists()  # it had no checkpoint
    (tmp_path / "runs/a/checkpoints/step-00000001").mkdir(parents=True)
    going_on = "python -m t2ikit train --resume runs/a --plugin imagen --plugin ./a.py"
    assert resumed(words, tmp_path) == shlex.split(going_on)


def test_samples_of_an_earlier_time_are_not_taken_for_new_ones(tmp_path):
    (tmp_path / "guidance").mkdir()
    (tmp_path / "guidance/grid.png").touch()
    words = ["t2ikit", "sample", "runs/long", "a cat", "--out", "guidance"]
    assert resumed(words, tmp_path) == words
    assert not (tmp_path / "guidance").exists()


TOY = (
    "--set data.count=64 --set train.steps=2 --set train.batch=2 --set train.samples=1 "
    "--set train.validation_images=2 --set sampler.steps=1"
)


def shortened(part: Part) -> Part:
    """The same commands at toy size."""
    commands = (one.replace("t2ikit train", f"t2ikit train {TOY}") for one in part.commands)
    return replace(part, commands=tuple(one.replace("-n 1024", "-n 8") for one in commands))


def test_a_part_is_measured_at_toy_size(tmp_path, monkeypatch):
    """With its own commands, in this process, and those of the part that it needs."""
    monkeypatch.setattr("t2ikit.training.session.plot_curves", lambda log, out: None)
    monkeypatch.chdir(tmp_path)

    def call(words, environment, folder, printed):
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            status = t2ikit_main([*words[3:], "-q"])
        printed.write_text(printed.read_text() + text.getvalue())
        return status

    parts = {name: shortened(PARTS[name]) for name in ("long", "guidance")}
    Runner(tmp_path, parts, "abc", call).run(["guidance"])
    made = {place(ROOT / path.relative_to(tmp_path / "figures")) for path in tmp_path.glob("figures/docs/*")}
    assert made == {"docs/long-grid.png", "docs/guidance-grid.png"}
    measures = json.loads((tmp_path / "numbers/long.json").read_text())
    assert "prompt-accuracy" in json.dumps(measures)
    assert "runs/long" in (tmp_path / "printed/long.txt").read_text()
    assert json.loads((tmp_path / "done/guidance.json").read_text())["finished"]
