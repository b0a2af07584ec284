"""The commands of the tutorials, as they are printed and in their order, at toy size."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from test_distributed import two_processes
from test_resume import IMAGEN
from test_tour import printed

from cli_process import run_command
from t2ikit.runs.open import open_run

DOCS = Path(__file__).parents[2] / "docs"
FEW = ["train.steps=2", "train.batch=4", "train.samples=1", "train.validation_images=2", "data.count=40"]
ADDED = {
    "compare": ["-n", "4", "--metrics", "colours"],
    "evaluate": ["-n", "4", "--metrics", "colours"],
    "sample": ["-n", "1"],
}


@pytest.fixture
def emoji(tmp_path):
    """The folder `emoji`, with few images."""
    (tmp_path / "emoji").mkdir()
    lines = []
    for number in range(24):
        Image.effect_noise((32, 32), 90).save(tmp_path / "emoji" / f"{number}.png")
        lines.append(
            json.dumps({"file_name": f"{number}.png", "text": f"{'red' if number % 2 else 'blue'} apple"})
        )
    (tmp_path / "emoji" / "metadata.jsonl").write_text("\n".join(lines))
    return tmp_path


def shortened(words: list[str]) -> list[str]:
    """A command with a small model, few steps and few images."""
    name = words[0]
    if "--minutes" in words:
        at = words.index("--minutes")
        words = words[:at] + words[at + 2 :]
    if name != "train":
        return words + ADDED.get(name, [])
    if "--resume" in words:
        return ["train", *words[1:3], "--set", "train.steps=3"]
    few = [*([] if "--init" in words else IMAGEN), *FEW]
    if "emoji" in words:
        few = [one for one in few if "data.count" not in one]
    if "--dry-run" in words:
        few = ["train.batch=2", "data.count=40", "data.size=16", "generator.channels=[32,32,32]"]
    return [*words, *(word for one in few for word in ("--set", one))]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["your-images", "twelve-gigabytes"])
def test_the_commands_of_a_tutorial_run_in_their_order(page, emoji):
    """`t2ikit memory` is left out: it takes longest, and the README's tour has it."""
    commands = [words for words in printed(DOCS / f"{page}.md") if words[1] != "memory"]
    assert len(commands) >= 2
    for _, *words in commands:
        done = run_command(shortened(words), cwd=emoji)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr[-2000:]}"


@pytest.mark.slow
def test_two_processes_train_and_one_goes_on(tmp_path):
    """What `torchrun` starts; `accelerate launch` needs GPUs to start two."""
    text = (DOCS / "several-gpus.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^torchrun (.*--out runs/two)$", text, re.MULTILINE)
    given = [word for one in [*IMAGEN, *FEW] for word in ("--set", one)]
    words = [sys.executable, *two_processes()[:2], *two_processes()[-1:], *shlex.split(line), *given]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert open_run(tmp_path / "runs" / "two").info["processes"] == 2
    done = run_command(["train", "--resume", "runs/two", "--set", "train.steps=3"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert open_run(tmp_path / "runs" / "two").steps_done == 3
