"""The site: it builds without a network, loads nothing from elsewhere, and leaves nothing public out."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import markdown
import pytest
import typer
from griffe import Docstring

import t2ikit
from reference_python import PACKAGES, names
from repository_files import linked
from split_parameters import split
from t2ikit.cli import app
from t2ikit.config.describe import describe
from t2ikit.recipes.schema import SECTIONS
from t2ikit.registry import hookspecs
from t2ikit.registry.registry import Registry
from tables import plain, table

ROOT = Path(__file__).parents[2]
NO_NETWORK = """\
import socket

def refuse(*arguments):
    raise OSError("the site was to be built without a network")

socket.socket.connect = socket.create_connection = refuse
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a strict build, in a process without a network."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "offline.py").write_text(NO_NETWORK)
    start = (
        "import sys; sys.path.append(sys.argv.pop(1)); import offline; from mkdocs.__main__ import cli; cli()"
    )
    words = [
        sys.executable,
        "-c",
        start,
        folder,
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        folder / "site",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "site"


class Page(HTMLParser):
    """What a page of HTML loads by itself, and what can be linked to."""

    LOADS = {"src", "srcset", "poster", "data"}

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fetched = tag == "use" or (tag == "link" and dict(attrs).get("rel") != "canonical")
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            if name in self.LOADS or (fetched and name.endswith("href")):
                self.loaded.append(value or "")
            if name == "style":
                self.loaded += from_css(value or "")


def from_css(text: str) -> list[str]:
    return re.findall(r"url\(\s*['\"]?([^'\")]*)", text) + re.findall(r"@import\s+['\"]([^'\"]*)", text)


def elsewhere(addresses: list[str]) -> list[str]:
    return [address for address in addresses if re.match(r"\s*([a-z]+:)?//", address)]


def ids(folder: Path) -> set[str]:
    return set().union(*(Page(path).ids for path in folder.glob("*.html")))


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    pages = {str(path.relative_to(site)): Page(path).loaded for path in site.rglob("*.html")}
    styles = {path.name: from_css(path.read_text(encoding="utf-8")) for path in site.rglob("*.css")}
    assert len(pages) > 80
    assert all(pages.values())
    assert {name: bad for name, found in {**pages, **styles}.items() if (bad := elsewhere(found))} == {}


def test_what_is_loaded_from_elsewhere_is_found(tmp_path):
    bad = [
        '<script src="https://a.b/c.js"></script>',
        '<link href="//a.b/c.css">',
        '<p style="background: url(http://a.b)">',
    ]
    page = tmp_path / "page.html"
    page.write_text("".join([*bad, '<a href="https://a.b">', '<img src="c.png">']))
    assert len(elsewhere(Page(page).loaded)) == len(bad)
    assert elsewhere(
        from_css('@import "https://a.b/c"; @font-face { src: url("//a.b/c") } p { top: url(c.png) }')
    ) == [
        "//a.b/c",
        "https://a.b/c",
    ]


@pytest.mark.slow
def test_every_public_name_is_described(site):
    public = [name.name for package, stub in PACKAGES.items() for name in names(package, stub)]
    assert {f"t2ikit.{name}" for name in t2ikit.__all__} - {*public} == {"t2ikit.Drawn"}
    assert {*public} - ids(site / "reference" / "python") == set()


@pytest.mark.slow
def test_every_setting_is_described(site):
    there = ids(site / "reference" / "settings")
    settings = {f"{name}.{one.key}" for name, config in SECTIONS.items() for one in describe(config)}
    for kind in ("generators", "critics", "losses", "samplers", "datasets", "text_encoders", "metrics"):
        for entry in Registry.load().entries(kind):
            if entry.plugin in ("t2ikit", "imagen", "gigagan"):
                part = entry.canonical.replace("/", "-").replace("+", "p")
                settings |= {f"{part}.{one.key}" for one in describe(entry.spec.config)}
    assert len(settings) > 300
    assert settings - there == set()


@pytest.mark.slow
def test_every_command_option_recipe_and_hook_is_described(site):
    text = {path.stem: path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html")}
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        for one in getattr(command, "commands", {"": command}).values():
            assert f"t2ikit {name}" in text["commands"]
            assert all(
                option in text["commands"]
                for parameter in one.params
                for option in parameter.opts
                if option[0] == "-"
            )
    assert all(entry.canonical in text["recipes"] for entry in Registry.load().entries("recipes"))
    hooks = [name for name in dir(hookspecs) if name.startswith("t2ikit_")]
    assert all(f'id="t2ikit.registry.hookspecs.{hook}"' in text["hooks"] for hook in hooks)


@pytest.mark.slow
def test_every_picture_is_in_the_gallery(site):
    gallery = Page(site / "gallery.html").loaded
    assert {path.name for path in (ROOT / "docs").glob("*.png")} - {*gallery} == set()


@pytest.mark.parametrize(
    "text",
    [
        "a <b>bold</b> *claim* & a_b_c",
        "[a](b) | c",
        "`code | <x>` and # no heading",
        "a\\*b ~ {x}",
        "losses.*.weight",
    ],
)
def test_text_of_the_code_is_shown_as_it_is(text):
    made = markdown.markdown(table(["one"], [[plain(text)]]), extensions=["tables"])
    shown = "".join(re.findall(r"<td>(.*)</td>", made))
    found: list[str] = []
    reader = HTMLParser()
    reader.handle_data = found.append
    reader.feed(shown)
    assert "".join(found) == text.replace("`", "")


def test_one_line_of_a_docstring_for_several_parameters_is_one_for_each():
    text = (
        "What.\n\nArgs:\n    a, b: (B,), of\n        both.\n    c: one, two: three.\n\nExample:\n    d, e: f"
    )
    parts = Docstring(split(text)).parse("google", warnings=False)
    assert {one.name: one.description for one in parts[1].value} == {
        "a": "(B,), of\nboth.",
        "b": "(B,), of\nboth.",
        "c": "one, two: three.",
    }
    assert "d, e: f" in split(text)


def test_links_to_files_lead_to_their_pages():
    assert linked("[a](docs/data.md#shards) [b](https://x.y) [c](LICENSE)", "index.md") == (
        "[a](data.md#shards) [b](https://x.y) [c](files/LICENSE.md)"
    )
    assert linked("[a](../examples/t2ikit-tv) [b](imagen.md)\n```\n[a](../README.md)\n```", "data.md") == (
        "[a](files/examples/t2ikit-tv/index.md) [b](imagen.md)\n```\n[a](../README.md)\n```"
    )
    assert linked("[a](../README.md) [b](../../etc)", "data.md") == "[a](index.md) [b](../../etc)"
