"""README.md: its figures are those of the committed results, its pictures small, its text short."""

from __future__ import annotations

import json
import re
from pathlib import Path

from huggingface_hub import ModelCard

from t2ikit.runs.named import PACKAGED

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def result(name: str) -> dict:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def compared() -> list[list[str]]:
    """What each line of the table says, from the results: ours, theirs, and their ratio or difference."""
    (unet,) = result("unet_vs_minimagen")["peers"]
    bank = result("filter_bank")
    upscaled = result("super-resolution-gan-creatures")
    ours, theirs = (upscaled[name]["PSNR, dB"]["mean"] for name in ("one sample", "bicubic"))
    rows = [
        [
            f"{unet[key]['ours']:.{digits}f}",
            f"{unet[key]['minimagen']:.{digits}f}",
            f"{unet['ratios'][ratio]:.2f}×",
        ]
        for key, ratio, digits in (
            ("train_s", "training step", 2),
            ("sample_s", "guided sampling step", 2),
            ("added_mib", "added memory", 0),
        )
    ]
    return [
        *rows,
        [f"{len(bank['rows'])} layer sizes", "gigagan-pytorch", f"{bank['geometric_mean']:.2f}×"],
        [f"{ours:.1f} dB", f"{theirs:.1f} dB", f"+{ours - theirs:.1f} dB"],
    ]


def test_the_table_is_of_the_committed_results():
    table = README.split("## What it beats")[1].split("\n\n")[1].splitlines()[2:]
    expected = compared()
    assert len(table) == len(expected)
    for line, figures in zip(table, expected):
        assert [one for one in figures if one not in line] == [], line


def test_what_the_packaged_models_get_right_is_what_their_cards_say():
    for name in ("creatures", "creatures-one-step"):
        results = ModelCard.load(PACKAGED / name / "README.md").data.eval_results
        (joint,) = [one.metric_value for one in results if one.metric_type == "prompt-accuracy/joint"]
        assert f"{joint:.1f} %" in README


def test_it_is_short_and_its_pictures_are_small():
    assert len(README.splitlines()) <= 90
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert len(pictures) == 2
    assert all((ROOT / picture).stat().st_size < 150_000 for picture in pictures)
    assert README.index("![") < README.index("## Two commands")
