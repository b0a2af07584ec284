"""Bad images and captions: skipped, named and counted; `t2ikit data` and `t2ikit train` on them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_folder import huge, pairs, save, truncated

from cli_process import run_command
from t2ikit.data.doctor.survey import sheet, survey
from t2ikit.errors import UserError
from t2ikit.recipes.datasets import open_dataset
from t2ikit.registry.registry import Registry
from t2ikit.text.builtin import default_encoder


def oddities(root: Path) -> dict[str, str | None]:
    """20 good pairs and 14 broken or odd files; for each of these the words that tell what is wrong.

    None: it is used as it is.
    """
    pairs(root, 20)
    (root / "words.png").write_text("no image")
    (root / "words.txt").write_text("x")
    (root / "empty.png").write_bytes(b"")
    (root / "empty.txt").write_text("x")
    truncated(root, "short.png")
    truncated(root, "half.jpg")
    huge(root)
    save(root / "float.tif", 0.5, mode="F").with_suffix(".txt").write_text("x")
    save(root / "alone.png")
    save(root / "blank.png").with_suffix(".txt").write_text(" \n \n")
    save(root / "latin.png").with_suffix(".txt").write_bytes("café".encode("latin-1"))
    (root / "orphan.txt").write_text("a caption without an image")
    save(root / "cmyk.jpg", (10, 20, 30, 40), mode="CMYK").with_suffix(".txt").write_text("fine")
    sixteen = np.full((9, 9), 40_000, dtype=np.uint16)
    Image.fromarray(sixteen).save(root / "deep.png")
    (root / "deep.txt").write_text("fine")
    save(root / "PALETTE.GIF", 3, mode="P").with_suffix(".txt").write_text("fine")
    (root / "notes.docx").write_bytes(b"PK")
    return {
        "words.png": "not an image",
        "empty.png": "not an image",
        "short.png": "truncated",
        "half.jpg": "truncated",
        "huge.png": "pixels",
        "float.tif": "floating-point",
        "alone.png": "without a caption",
        "blank.txt": "empty caption file",
        "latin.txt": "not UTF-8",
        "orphan.txt": "without an image",
        "cmyk.jpg": None,
        "deep.png": None,
        "PALETTE.GIF": None,
        "notes.docx": None,
    }


def test_fourteen_kinds_are_named_and_skipped_or_used(tmp_path: Path) -> None:
    files = oddities(tmp_path / "odd")
    assert len(files) == 14
    dataset = open_dataset(Registry.load(), str(tmp_path / "odd"), ["data.size=8"])
    used = {entry.name for entries in dataset.entries.values() for entry in entries}
    bad = {name: words for name, words in files.items() if words is not None}
    assert len(used) == 23
    assert {"cmyk.jpg", "deep.png", "PALETTE.GIF"} < used
    told = "\n".join(survey(dataset, default_encoder()).problems)
    for name, words in bad.items():
        assert name not in used
        line = next(line for line in told.splitlines() if name in line)
        before = told[: told.index(line)].splitlines()
        assert words in line or any(words in earlier for earlier in before[-2:]), (name, line)
    assert f"{len(bad)} skipped, 23 images used" in dataset.warnings[0]


@pytest.mark.slow
def test_training_says_what_it_skips_and_ends(tmp_path: Path) -> None:
    bad = [name for name, words in oddities(tmp_path / "odd").items() if words is not None]
    out = tmp_path / "run"
    small = ("train.steps=2", "train.batch=4", "train.samples=1", "generator.channels=[32,32,32]")
    settings = [word for setting in small for word in ("--set", setting)]
    done = run_command(["train", "--plugin", "imagen", "--data", tmp_path / "odd", "--out", out, *settings])
    assert done.returncode == 0, done.stderr
    assert f"{len(bad)} skipped, 23 images used" in done.stdout + done.stderr
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 2
    looked = run_command(["data", tmp_path / "odd", "--out", tmp_path / "sheet.png"])
    assert looked.returncode == 0
    for name in bad:
        assert name in looked.stdout
    assert Image.open(tmp_path / "sheet.png").width > 400


def test_more_than_the_stated_share_stops(tmp_path: Path) -> None:
    pairs(tmp_path, 10)
    for i in range(4):
        (tmp_path / f"{i:03}.png").write_text("broken")
    path = str(tmp_path)
    registry = Registry.load()
    assert len(open_dataset(registry, path, ["data.size=8", "data.max_bad=0.4"]).source.problems) == 4
    with pytest.raises(UserError, match=r"cannot be read \(4 of them\)"):
        open_dataset(registry, path, ["data.size=8", "data.max_bad=0.39"])


def test_nothing_usable_exits_2_and_says_what_was_looked_for(tmp_path: Path, cli_here) -> None:
    pairs(tmp_path / "a", 3)
    for path in (tmp_path / "a").glob("*.png"):
        path.write_text("broken")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "song.mp3").write_bytes(b"la")
    for folder, words in (("a", "cannot be read (3 of them)"), ("b", "metadata.jsonl with the keys")):
        for command in (["data"], ["train", "--plugin", "imagen", "--data"]):
            done = cli_here(*command, tmp_path / folder)
            assert done.returncode == 2, done.stderr
            assert words in done.stderr
            assert "Traceback" not in done.stderr


def test_the_survey_counts(tmp_path: Path) -> None:
    pairs(tmp_path, 10)
    shutil.copy(tmp_path / "003.png", tmp_path / "copy.png")
    (tmp_path / "copy.txt").write_text("image 3")
    rows = dict(
        survey(open_dataset(Registry.load(), str(tmp_path), ["data.size=16"]), default_encoder()).rows
    )
    assert rows["images"].endswith(" validation")
    assert rows["sizes"] == "20 x 12 to 29 x 12, median 24 x 12; resized to 16"
    assert rows["not square"].startswith("11 ")
    assert rows["upscaled"].startswith("11 ")
    assert rows["same image"] == "1 repeat another: copy.png = 003.png"
    assert rows["captions"] == "11 of 11 images, 10 different"
    assert rows["words a caption"] == "2 to 2, median 2"
    assert rows["vocabulary"].startswith("11 words; image 11")
    assert rows["most frequent"] == "2 x 'image 3'"


def test_the_sheet_shows_the_images_with_their_captions(tmp_path: Path) -> None:
    pairs(tmp_path, 12)
    dataset = open_dataset(Registry.load(), str(tmp_path), ["data.size=16"])
    small, large = sheet(dataset, 3), sheet(dataset, 10)
    assert large.height > small.height
    assert np.asarray(small).min() < 60  # captions are written in dark ink
    assert sheet(dataset, 3).tobytes() == small.tobytes()


def test_other_data_than_folders_can_be_looked_at(tmp_path: Path) -> None:
    dataset = open_dataset(Registry.load(), "creatures", ["data.count=200"])
    rows = dict(survey(dataset, default_encoder()).rows)
    assert rows["images"] == "190 train, 10 validation"
    assert "creatures-v1" in rows["fingerprint"]
    assert sheet(dataset, 4).width > 300
