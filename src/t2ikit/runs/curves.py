"""The losses of a run as one image."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from t2ikit.runs.log import read_log
from t2ikit.utils.files import save_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINING, VALIDATION = "loss/", "validation/"
COLUMNS = 3
PANEL = (4.6, 3.2)
Series = tuple[list[int], list[float]]


def plot_curves(log: Path, out: Path) -> None:
    """Draw the losses of a log.jsonl as a PNG with a panel for each loss.

    The training loss is drawn light, and dark where smoothed; the validation loss as points. The axis is
    logarithmic where all values are above 0. Without any loss so far, the image says so.

    Args:
        log: one JSON object a line, with `step` and `loss/NAME` and `validation/NAME`; values may be null.
        out: the PNG, replaced in one move.
    """
    save_image(draw_curves(read_log(log)), out)


def draw_curves(records: Sequence[dict[str, Any]]) -> Image.Image:
    """The same image from the lines of a log."""
    from t2ikit.utils.plotting import agg_figure

    keys = [key for record in records for key in record if key.startswith((TRAINING, VALIDATION))]
    names = list(dict.fromkeys(key.split("/", 1)[1] for key in keys))
    columns = min(COLUMNS, max(1, len(names)))
    lines = max(1, math.ceil(len(names) / columns))
    figure = agg_figure(figsize=(PANEL[0] * columns, PANEL[1] * lines), dpi=100, layout="constrained")
    for number, name in enumerate(names, start=1):
        axes = figure.add_subplot(lines, columns, number)
        _panel(axes, name, _series(records, TRAINING + name), _series(records, VALIDATION + name))
    if not names:
        figure.text(0.5, 0.5, "no losses logged yet", ha="center", va="center")
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return Image.open(content).convert("RGB")


def _series(records: Sequence[dict[str, Any]], key: str) -> Series:
    """Steps and values of one key where it has a finite value."""
    pairs = [(record["step"], record[key]) for record in records if _is_finite(record.get(key))]
    return [step for step, _ in pairs], [value for _, value in pairs]


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def smooth(values: Sequence[float], span: float) -> list[float]:
    """Exponential moving average with decay 1 - 1/span, corrected for its start (Adam's correction)."""
    decay = 1 - 1 / max(span, 1.0)
    average, weight, smoothed = 0.0, 0.0, []
    for value in values:
        average = decay * average + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        smoothed.append(average / weight)
    return smoothed


def _panel(axes: Axes, name: str, training: Series, validation: Series) -> None:
    steps, values = training
    if values:
        axes.plot(steps, values, color="tab:blue", alpha=0.3, linewidth=0.8)
        axes.plot(steps, smooth(values, len(values) / 40), color="tab:blue", linewidth=1.6, label="training")
    if validation[1]:
        axes.plot(
            *validation, color="tab:orange", marker="o", markersize=3.5, linewidth=1.2, label="validation"
        )
    shown = [*values, *validation[1]]
    if shown and min(shown) > 0:
        axes.set_yscale("log")
    axes.set_title(name, fontsize=11, parse_math=False)
    axes.set_xlabel("step", fontsize=9)
    axes.tick_params(labelsize=8, which="both")
    axes.grid(True, which="major", alpha=0.3)
    if shown:
        axes.legend(fontsize=8, frameon=False)
