"""Packages that a plain installation lacks: the advice names what extras bring, and works from a clone."""

from __future__ import annotations

import re
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
    del brought["test"], brought["docs"]  # for work on t2ikit itself
    assert {extra: set(packages) for extra, packages in PACKAGES.items()} == brought


@pytest.mark.parametrize("extra", PACKAGES)
def test_the_advice_needs_no_index_that_knows_this_package(extra):
    with pytest.raises(UserError) as caught:
        import_extra("nothing_like_this", extra, "a test")
    assert caught.value.fix == install(extra)
    pip, *npm = install(extra).split(" && ")
    assert pip == "pip install " + " ".join(PACKAGES[extra])
    assert [line.split()[-1] for line in npm] == ([NPM[extra]] if extra in NPM else [])


def test_no_advice_anywhere_installs_an_extra_by_the_name_of_this_package():
    sources = [
        path for folder in ("src", "plugins", "docs", "examples") for path in (ROOT / folder).rglob("*.*")
    ]
    texts = [path for path in [*sources, ROOT / "README.md"] if path.suffix in (".py", ".md", ".toml", ".j2")]
    found = [str(path) for path in texts if re.search(r"t2ikit\[", path.read_text(encoding="utf-8"))]
    assert found == []
