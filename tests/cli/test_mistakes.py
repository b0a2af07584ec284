"""Whatever the user does wrong: exit status 2, no traceback, and a message that says what to do."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from cli_process import run_command
from conftest import TOYS
from mistakes import data, plugins, recipes, runs
from mistakes.case import Case, edited, files
from t2ikit.cli import main
from t2ikit.runs import checkpoint as ckpt
from t2ikit.training.session import Session

SHORT = ["train.steps=2", "train.batch=4", "train.samples=1", "train.validation_images=4"]
SMALL = [
    "data.size=16",
    "data.count=32",
    "generator.channels=[16,16]",
    "generator.head_width=16",
    "generator.attention=[false,true]",
    "generator.layers=1",
    "sampler.guidance=3",
]
RUNS = {
    "denoiser": (["--plugin", TOYS, "--recipe", "toys/denoiser"], SHORT),
    "gan": (["--plugin", TOYS, "--recipe", "toys/gan"], SHORT),
    "imagen": (["--plugin", "imagen"], [*SHORT, *SMALL]),
    "images": (["--plugin", TOYS, "--recipe", "toys/denoiser", "--data", "./data"], SHORT),
}
CASES = [*recipes.CASES, *data.CASES, *plugins.CASES, *runs.CASES]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Whole runs, a few steps each, and the images that one of them was trained on."""
    folder = tmp_path_factory.mktemp("made")
    images = {f"data/{name}.png": data.png() for name in "ab"}
    files({**images, "data/a.txt": "a red square", "data/b.txt": "a red box"})(folder)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.chdir(folder)
        for name, (words, settings) in RUNS.items():
            sets = [word for setting in settings for word in ("--set", setting)]
            words = ["train", *map(str, words), *sets, "--device", "cpu", "--out", name]
            assert main(words) == 0, name
    return folder


def words_of(case: Case, made: Path, folder: Path) -> list[str]:
    """The words of a command; the runs that it names are copied, and its own preparations made."""
    words = [str(TOYS) if word == "TOYS" else word for word in shlex.split(case.command)]
    for name in sorted(RUNS.keys() & set(words)):
        shutil.copytree(made / name, folder / name)
    if "images" in words:
        shutil.copytree(made / "data", folder / "data")
        edited("images/recipe.toml", str(made), str(folder))(folder)
    if case.before is not None:
        case.before(folder)
    return words


def refuse_to_train(session, start=0):
    raise AssertionError("the command was accepted, and training began")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.command)
def test_a_mistake_is_told(case, made, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(Session, "train", refuse_to_train)
    monkeypatch.chdir(tmp_path)
    words = words_of(case, made, tmp_path)
    capsys.readouterr()
    status = main(words)
    out, err = capsys.readouterr()
    assert status == 2, err
    assert "Traceback" not in out + err
    assert out == ""
    text = " ".join(err.split())
    for words in case.says:
        assert words in text
    for label in ("expected", "got", "fix"):
        wanted, found = getattr(case, label), re.findall(rf"^  {label}: +(.*)$", err, re.MULTILINE)
        assert wanted is None or any(wanted in value for value in found), (label, err)
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob("*/outputs"))


def on_a_full_disk(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the command line where no file can grow beyond 2 KiB, as on a disk that is full."""
    pytest.importorskip("resource")
    return run_command(words, cwd=folder, file_bytes=2048)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def resume_words(**settings: int) -> list[object]:
    """Go on to step 6, writing nothing on the way but what is asked for."""
    every = {"validate_every": 100, "sample_every": 100, "save_every": 100, **settings}
    sets = [word for key, value in every.items() for word in ("--set", f"train.{key}={value}")]
    return ["train", "--resume", "denoiser", "--plugin", TOYS, "--set", "train.steps=6", *sets]


@pytest.mark.slow
def test_a_full_disk_while_saving_keeps_the_earlier_checkpoint(made, tmp_path, cli):
    run = shutil.copytree(made / "denoiser", tmp_path / "denoiser")
    (whole,) = ckpt.checkpoints(run)
    before = everything_in(whole)
    result = on_a_full_disk(tmp_path, *resume_words(save_every=2))
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    text = " ".join(result.stderr.split())
    assert "checkpoint of step 4 could not be written to denoiser/checkpoints" in text
    assert "expected: a folder that can be written, with room" in text
    assert "File too large" in text
    assert "free some space" in text
    assert "the latest checkpoint is of step 2" in text
    assert [path.name for path in (run / "checkpoints").iterdir()] == [whole.name]
    assert everything_in(whole) == before
    assert cli(*resume_words(save_every=2)).returncode == 0
    assert ckpt.step_of(ckpt.checkpoints(run)[-1]) == 6


@pytest.mark.slow
def test_a_full_disk_while_drawing_is_told(made, tmp_path):
    run = shutil.copytree(made / "denoiser", tmp_path / "denoiser")
    result = on_a_full_disk(tmp_path, *resume_words(sample_every=3))
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    text = " ".join(result.stderr.split())
    assert "denoiser: a file of the run cannot be written" in text
    assert "File too large" in text
    assert "t2ikit train --resume denoiser" in text
    assert len(ckpt.checkpoints(run)) == 1
    result = on_a_full_disk(tmp_path, "sample", "denoiser", "--plugin", TOYS, "cat", "--out", "images")
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    text = " ".join(result.stderr.split())
    assert "--out images: the images cannot be written" in text
    assert "free some space" in text
