"""The commands of README.md and docs/tour.md, run as they are printed and in their order, only shorter."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cli_process import run_command
from t2ikit.cli import app

ROOT = Path(__file__).parents[2]
SHORTER = {
    "train": [
        *("train.steps=2", "train.validation_images=4", "train.samples=1", "train.batch=4"),
        "sampler.steps=2",
    ],
    "gigagan": ["train.steps=2", "train.validation_images=4", "train.samples=1", "train.batch=4"],
}
ADDED = {
    "sample": ["--steps", "2", "-n", "1"],
    "evaluate": ["--steps", "2", "-n", "4"],
    "compare": ["-n", "4"],
}


def code_blocks(page: str, heading: str) -> list[str]:
    """The lines of all blocks of commands below a heading of a page."""
    section = re.split(r"^## ", (ROOT / page).read_text(), flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(heading))
    return [line for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def commands(lines: list[str]) -> list[list[str]]:
    """The single commands of lines, without comments; what installs is left out: it was installed."""
    joined = [shlex.split(line, comments=True) for line in lines]
    found: list[list[str]] = []
    for words in joined:
        found.append([])
        for word in words:
            if word in ("&&", ";", "|") or word.endswith(";"):
                found[-1] += [word.rstrip(";")] * (word not in ("&&", ";", "|"))
                found.append([])
            else:
                found[-1].append(word)
    return [words for words in found if words and words[0] not in ("pip", "pytest")]


def shortened(words: list[str]) -> list[str]:
    """A command with fewer steps and images; all else as it is printed."""
    program, name, *_ = words
    if program != "t2ikit":
        return words
    if name == "train" and "--dry-run" not in words:
        if "--minutes" in words:
            at = words.index("--minutes")
            words = words[:at] + words[at + 2 :]
        settings = SHORTER["gigagan" if "gigagan" in words else "train"]
        return [*words, *(word for setting in settings for word in ("--set", setting))]
    added = ADDED.get(name, [])
    one_step = name == "sample" and any("gigagan" in word for word in words)
    return [*words, *(["-n", "1"] if one_step else added)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What of a clone the commands use, and a PATH whose `t2ikit` and `python` are these."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "examples", folder / "examples")
    programs = folder / ".programs"
    programs.mkdir()
    for name, line in {"t2ikit": f'"{sys.executable}" -m t2ikit', "python": f'"{sys.executable}"'}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (programs / name).chmod(0o755)
    return folder


@pytest.mark.slow
def test_the_tour_runs_as_printed_and_in_order(clone):
    programs = f"{clone / '.programs'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": programs, "OMP_NUM_THREADS": "1"}
    options = {"env": env, "capture_output": True, "text": True, "timeout": 300, "check": False}
    lines = code_blocks("docs/tour.md", "The commands in order")
    for number, words in enumerate(commands(lines)):
        program, *rest = shortened(words)
        if program == "t2ikit" and number > 0:
            done = run_command(rest, cwd=clone)
        else:
            done = subprocess.run([program, *rest], cwd=clone, **options)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr[-2000:]}"


def test_the_tour_is_read_whole():
    found = commands(code_blocks("docs/tour.md", "The commands in order"))
    assert len(found) >= 12
    assert {words[1] for words in found if words[0] == "t2ikit"} >= {
        *("train", "sample", "evaluate", "compare", "export", "data", "memory", "runs"),
        *("plugins", "recipes", "options"),
    }


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def printed(page: Path) -> list[list[str]]:
    """Every command of ours in a page's blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [
        words
        for line in lines
        if re.match(r"t2ikit ", line)
        for words in commands([line])
        if words[0] == "t2ikit"
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_docs_has_these_options(page):
    group = typer.main.get_command(app)
    for _, name, *words in printed(page):
        command = group.commands[name]
        if hasattr(command, "commands"):
            name, *words = words
            command = command.commands[name]
        command.make_context(name, words)
