"""What `plugin new` writes and the pages on plugins show passes the checks, as do the new packages' tests."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import t2ikit
import t2ikit.testing
from conftest import TOYS
from t2ikit import UserError
from t2ikit.cli import main
from t2ikit.registry.scaffold.kinds import PartKind
from t2ikit.registry.scaffold.scaffold import new_package
from t2ikit.runs.log import read_log
from t2ikit.testing import examine_plugin, toy_run

ROOT = Path(__file__).parents[2]
KINDS = [kind.value for kind in PartKind]
PAGES = sorted((ROOT / "docs").glob("writing-a*.md"))
SMALL = {
    "generator": {"generator": {"width": 16, "layers": 2}},
    "critic": {"critics.my-critic.width": 8},
    "dataset": {"data": {"count": 60, "size": 16}},
}
"""Options with which a new package is checked, for the time it takes."""
LOSS = "loss/both-families"
SHORT = {"train.steps": 2, "train.batch": 4, "train.log_every": 1, "train.samples": 1}
"""Settings of a training that is over at once."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What exporters are tried on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("t2ikit.training.session.plot_curves", lambda log, out: None)
        return toy_run(tmp_path_factory.mktemp("toy"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_passes_the_checks(tmp_path, run, kind):
    folder = new_package(f"my-{kind}", kind, tmp_path)
    results = examine_plugin(folder, set=SMALL.get(kind), run=run.path if kind == "exporter" else None)
    assert [one for one in results if one.status != "passed"] == []
    part = f"{kind.replace('-', ' ')} my-{kind}/my-{kind}"
    assert any(one.part.startswith(part) for one in results)
    assert f"my_{kind}".replace("-", "_") not in sys.modules


def test_a_new_loss_trains_both_families(tmp_path, monkeypatch):
    folder = new_package("both-families", "loss", tmp_path)
    monkeypatch.syspath_prepend(str(folder / "src"))
    plugins = [TOYS, folder / "src" / "both_families" / "plugin.py"]
    options = {"set": {**SHORT, "losses.both-families.weight": 0.5}, "device": "cpu", "progress": False}
    for recipe in ("toys/denoiser", "toys/gan"):
        run = t2ikit.train(plugins, recipe=recipe, out=tmp_path / recipe.replace("/", "-"), **options)
        log = read_log(run.path / "log.jsonl")
        values = [line[LOSS] for line in log if LOSS in line]
        assert len(values) == 2
        assert min(values) > 0


def test_new_packages_pass_their_own_tests(tmp_path, run, monkeypatch):
    """All but the conformance checks, which need the package installed (`test_packages.py`)."""
    monkeypatch.setattr(t2ikit.testing, "toy_run", lambda folder: run)
    folders = [new_package(f"its-{kind}", kind, tmp_path) for kind in KINDS]
    for folder in folders:
        monkeypatch.syspath_prepend(str(folder / "src"))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ["-q", "-c", tmp_path / "pytest.ini", "--import-mode=importlib", "-p", "no:cacheprovider"]
    words = [*options, "-k", "not obeys and not recipe", *(folder / "tests" for folder in folders)]
    assert pytest.main([str(word) for word in words]) == pytest.ExitCode.OK


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_clean_and_says_how_to_run_it(tmp_path, kind):
    folder = new_package("t2ikit-soft-edges", kind, tmp_path)
    files = {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }
    module = "src/t2ikit_soft_edges"
    expected = {
        "README.md",
        "pyproject.toml",
        f"{module}/__init__.py",
        f"{module}/plugin.py",
        f"{module}/py.typed",
    }
    assert expected < set(files)
    assert "tests/test_t2ikit_soft_edges.py" in files
    assert 'soft-edges = "t2ikit_soft_edges.plugin"' in files["pyproject.toml"]
    assert re.search(
        r"^    t2ikit (train|sample|evaluate|data|export) .*soft-edges", files["README.md"], re.MULTILINE
    )
    assert (
        max(len(line) for name, text in files.items() if name.endswith(".py") for line in text.splitlines())
        <= 110
    )
    assert "{{" not in "".join(files.values())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("my loss", "another character"),
        ("-loss", "begins with -"),
        ("3d-loss", "begins with a digit"),
        ("class", "Python's own"),
        ("torch", "a module called torch"),
        ("json", "a module called json"),
        ("imagen", "a plugin called imagen"),
        ("t2ikit-imagen", "here already"),
        ("t2ikit-t2ikit", "a plugin called t2ikit"),
        ("", "none"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(tmp_path, name, reason):
    with pytest.raises(UserError, match=reason):
        new_package(name, "loss", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path, capsys):
    words = ["plugin", "new", "My.Loss", "--kind", "loss", "--out", str(tmp_path)]
    assert main(words) == 0
    assert f"pip install -e {tmp_path / 'my-loss'}" in capsys.readouterr().out
    (tmp_path / "my-loss" / "README.md").write_text("mine")
    assert main(words) == 2
    assert "my-loss exists" in capsys.readouterr().err
    assert (tmp_path / "my-loss" / "README.md").read_text() == "mine"


# ---------------------------------------------------------------- the pages


def plugins_of(page: Path) -> list[str]:
    """The plugins that a page shows."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    return [block for block in blocks if "@hookimpl" in block]


SHOWN = [(page, number) for page in PAGES for number in range(len(plugins_of(page)))]


@pytest.mark.parametrize(("page", "number"), SHOWN, ids=[f"{page.stem}-{number}" for page, number in SHOWN])
def test_what_a_page_shows_passes_the_checks(tmp_path, run, page, number):
    path = tmp_path / f"shown{number}.py"
    path.write_text(plugins_of(page)[number])
    results = examine_plugin(path, run=run.path if "exporter" in page.name else None)
    assert [one for one in results if one.status not in ("passed", "note")] == []
    assert any(not one.part.startswith("plugin ") for one in results)


def test_every_kind_has_a_page_with_an_example_and_is_linked():
    plugins = (ROOT / "docs" / "plugins.md").read_text()
    linked = {kind: re.search(rf"\| `{kind}` \| \[[^]]+\]\(([\w-]+\.md)\)", plugins) for kind in KINDS}
    assert {ROOT / "docs" / found[1] for found in linked.values()} == set(PAGES)
    for kind, found in linked.items():
        page = ROOT / "docs" / found[1]
        assert plugins_of(page)
        assert f"--kind {kind}`" in page.read_text()


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("t2ikit-*")), ids=lambda path: path.name)
def test_examples_are_short_and_linked_from_their_page(example):
    code = [path.read_text() for path in (example / "src").rglob("*.py")]
    assert sum(bool(line.strip()) for text in code for line in text.splitlines()) <= 120
    assert any(f"(../examples/{example.name})" in page.read_text() for page in PAGES)
    assert any((example / "tests").glob("test_*.py"))
