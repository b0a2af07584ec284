"""The example observer that lays training steps side by side."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from t2ikit.registry.registry import Registry

SCRIPT = Path(__file__).parents[2] / "examples" / "steps_grid.py"


def test_each_step_is_a_column(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPS", "100,300")
    (tmp_path / "samples").mkdir()
    registry = Registry.load([str(SCRIPT)])
    widths = []
    for step, colour in ((100, "red"), (200, "lime"), (300, "blue")):
        images = [Image.new("RGB", (32, 32), colour), Image.new("RGB", (32, 32), colour)]
        registry.hook.t2ikit_images(run=tmp_path, step=step, prompts=["a cat", "a dog"], images=images)
        sheet = Image.open(tmp_path / "samples" / "steps.png").convert("RGB")
        widths.append(sheet.width)
    colours = {colour for _, colour in sheet.getcolors(1 << 24)}
    assert widths[0] == widths[1] < widths[2]
    assert {(255, 0, 0), (0, 0, 255)} <= colours
    assert (0, 255, 0) not in colours
