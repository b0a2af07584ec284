"""Packages that a plain installation lacks: the advice names what extras bring, and works from a clone."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import tomlkit
from packaging.requirements import Requirement

from t2ikit import UserError
from t2ikit.utils.extras import NPM, PACKAGES, import_extra, install

ROOT = Path(__file__).parents[2]


def test_the_packages_are_those_of_the_extras():
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    brought = {extra: {Requirement(line).name for line in lines} for extra, lines in extras.items()}
    for own in ("docs", "test"):  # of this repository alone: no command needs them
        del brought[own]
    named = {
        extra: {Requirement(package).name for package in packages} for extra, packages in PACKAGES.items()
    }
    assert named == brought
    bounded = [
        package for packages in PACKAGES.values() for package in packages if Requirement(package).specifier
    ]
    assert set(bounded) == set(extras["demo"])  # whose page uses what the next version may not have


@pytest.mark.parametrize("extra", PACKAGES)
def test_the_advice_needs_no_index_that_knows_this_package(extra):
    with pytest.raises(UserError) as caught:
        import_extra("nothing_like_this", extra, "a test")
    assert caught.value.fix == install(extra)
    pip, *npm = install(extra).split(" && ")
    assert shlex.split(pip) == ["pip", "install", *PACKAGES[extra]]
    assert "'" not in pip  # a shell of Windows would read it as a part of the name
    assert [line.split()[-1] for line in npm] == ([NPM[extra]] if extra in NPM else [])


def test_no_advice_anywhere_installs_an_extra_by_the_name_of_this_package():
    sources = [
        path for folder in ("src", "plugins", "docs", "examples") for path in (ROOT / folder).rglob("*.*")
    ]
    texts = [path for path in [*sources, ROOT / "README.md"] if path.suffix in (".py", ".md", ".toml", ".j2")]
    found = [str(path) for path in texts if re.search(r"t2ikit\[", path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize("page", ["demo.md", "tour.md"])
def test_the_pages_advise_the_version_that_the_demo_is_written_for(page):
    assert install("demo") in (ROOT / "docs" / page).read_text(encoding="utf-8")
