"""The image of the losses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from t2ikit.runs.curves import plot_curves, smooth


def write(path: Path, records: list[dict[str, Any]], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + tail)
    return path


def training(steps: int = 200) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for step in range(10, steps + 1, 10):
        records.append(
            {"step": step, "loss/denoise": 1 / step, "loss/critic": 5 - 0.1 * step, "lr/generator": 1e-3}
        )
        if step % 50 == 0:
            records[-1]["validation/denoise"] = 1.2 / step
    return records


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    original = Figure.savefig

    def savefig(self: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def lines(figure: Figure) -> dict[tuple[str, str], list[tuple[float, float]]]:
    return {
        (axes.get_title(), str(line.get_label())): [(float(x), float(y)) for x, y in line.get_xydata()]  # type: ignore[union-attr]
        for axes in figure.axes
        for line in axes.get_lines()
    }


def test_a_panel_for_each_loss_with_its_values(tmp_path: Path, drawn: list[Figure]) -> None:
    records = training()
    plot_curves(write(tmp_path / "log.jsonl", records), tmp_path / "losses.png")
    (figure,) = drawn
    assert [axes.get_title() for axes in figure.axes] == ["denoise", "critic"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    found = lines(figure)
    assert found["denoise", "validation"] == [(step, 1.2 / step) for step in (50, 100, 150, 200)]
    raw = next(
        points for (name, label), points in found.items() if name == "critic" and label.startswith("_")
    )
    assert raw == [(r["step"], r["loss/critic"]) for r in records]
    assert len(found["critic", "training"]) == len(records)
    image = np.asarray(Image.open(tmp_path / "losses.png").convert("RGB"))
    assert image.shape[1] > 800
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20


def test_smoothing_is_a_weighted_mean_of_the_past() -> None:
    values = np.random.default_rng(0).normal(size=50)
    decay = 1 - 1 / 8
    wanted = [np.average(values[: i + 1], weights=decay ** np.arange(i, -1, -1)) for i in range(50)]
    assert np.allclose(smooth(list(values), 8), wanted)
    assert np.allclose(smooth(list(values), 0.5), values)
    assert smooth([], 8) == []


def test_a_torn_last_line_is_skipped(tmp_path: Path, drawn: list[Figure]) -> None:
    log = write(tmp_path / "log.jsonl", training(), tail='{"step": 210, "loss/denoise": 99')
    plot_curves(log, tmp_path / "losses.png")
    assert max(x for points in lines(drawn[0]).values() for x, _ in points) == 200


def test_nulls_and_not_numbers_are_gaps(tmp_path: Path, drawn: list[Figure]) -> None:
    records = [
        {"step": 1, "loss/a": 1.0, "loss/b": None},
        {"step": 2, "loss/a": None, "loss/b": float("nan")},
        {"step": 3, "loss/a": 3.0, "validation/c": 0.5},
    ]
    plot_curves(write(tmp_path / "log.jsonl", records), tmp_path / "losses.png")
    found = lines(drawn[0])
    assert found["a", "training"] == [(1, 1.0), (3, 3.0)]
    assert found["c", "validation"] == [(3, 0.5)]
    assert [axes.get_title() for axes in drawn[0].axes] == ["a", "b", "c"]


@pytest.mark.parametrize("content", [None, "", '{"step": 1, "lr/generator": 1.0}\n', '{"step"'])
def test_a_log_without_losses_gives_a_image_too(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "log.jsonl").write_text(content)
    plot_curves(tmp_path / "log.jsonl", tmp_path / "losses.png")
    assert Image.open(tmp_path / "losses.png").width > 100


def test_odd_names_and_many_losses(tmp_path: Path, drawn: list[Figure]) -> None:
    names = ["$broken", "a_b^c", "gigagan/r1", "x" * 40, "%d", "f"]
    write(tmp_path / "log.jsonl", [{"step": 1, **{f"loss/{name}": 1.0 for name in names}}])
    plot_curves(tmp_path / "log.jsonl", tmp_path / "losses.png")
    assert [axes.get_title() for axes in drawn[0].axes] == names


def test_the_old_image_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write(tmp_path / "log.jsonl", training())
    out = tmp_path / "losses.png"
    plot_curves(log, out)
    before = out.read_bytes()

    save = Image.Image.save

    def killed(self: Image.Image, path: Any, **kwargs: Any) -> None:
        if not isinstance(path, Path):
            return save(self, path, **kwargs)
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        plot_curves(log, out)
    assert out.read_bytes() == before


def test_no_global_state_of_pyplot(tmp_path: Path) -> None:
    sys.modules.pop("matplotlib.pyplot", None)
    plot_curves(write(tmp_path / "log.jsonl", training()), tmp_path / "losses.png")
    assert "matplotlib.pyplot" not in sys.modules
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "losses.png"}


@pytest.mark.parametrize("backend", ["nonsense", "inline", "module://matplotlib_inline.backend_inline"])
def test_curves_whatever_mplbackend_says_and_without_a_display(tmp_path, backend):
    write(tmp_path / "log.jsonl", training())
    code = (
        "import os, pathlib\n"
        "from t2ikit import grids, curves\n"
        "curves.plot_curves(pathlib.Path('log.jsonl'), pathlib.Path('losses.png'))\n"
        f"assert os.environ['MPLBACKEND'] == {backend!r}\n"
        "import matplotlib.pyplot\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    environment["MPLBACKEND"] = backend
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "losses.png").is_file()


def test_a_backend_that_is_there_stays_the_users():
    code = "import t2ikit.utils.plotting, matplotlib; assert matplotlib.get_backend() == 'svg'"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "MPLBACKEND": "svg"}, check=True)
