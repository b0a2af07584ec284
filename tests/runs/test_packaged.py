"""The models that come with t2ikit: they are small, open without a network, and draw what they are told."""

from __future__ import annotations

import json

import pytest
import torch

import t2ikit
from t2ikit.cli import main
from t2ikit.core.metric import ImageSet
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.metrics.prompt_accuracy import PromptAccuracy
from t2ikit.runs.named import PACKAGED, packaged_names

NAMES = ["creatures", "creatures-one-step"]
MOST_BYTES = 12_000_000


def test_both_are_there_and_small():
    assert packaged_names() == NAMES
    assert sum(file.stat().st_size for file in PACKAGED.rglob("*") if file.is_file()) <= MOST_BYTES
    for name in NAMES:
        text = (PACKAGED / name / "README.md").read_text(encoding="utf-8")
        assert "prompt-accuracy/joint" in text


@pytest.mark.parametrize("name", NAMES)
def test_it_draws_what_it_is_told(name):
    prompts = Creatures(CreaturesConfig()).prompts(48, 5)
    samples = t2ikit.sample(name, prompts, n=1, steps=10 if name == "creatures" else None, device="cpu")
    images = samples.images.flatten(0, 2)
    assert torch.isfinite(images).all()
    found = PromptAccuracy()(ImageSet(images, prompts, None))
    assert found["joint"].value >= 75


def test_the_first_command_of_a_newcomer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "creatures", "a green cat with red eyes", "-n", "1", "--device", "cpu"]) == 0
    assert (tmp_path / "outputs" / "001" / "grid.png").is_file()
    assert "outputs/001/grid.png" in capsys.readouterr().out


def test_a_folder_of_that_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "creatures").mkdir()
    with pytest.raises(t2ikit.UserError, match="not a run folder"):
        t2ikit.open_run("creatures")


def test_the_student_says_whose_it_is():
    origin = json.loads((PACKAGED / "creatures-one-step" / "run.json").read_text())["origin"]
    assert origin
