"""The model card of an export: what it is, how it is used, what it needs, and how good it is.

Whatever stands in it that others chose (names, captions, settings) is escaped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from t2ikit import __version__
from t2ikit.config.toml import dump_toml
from t2ikit.core.shapes import shown
from t2ikit.exporters.card_metadata import licence_of, metadata
from t2ikit.recipes.compose import Model
from t2ikit.recipes.recipe import SAMPLING
from t2ikit.registry.registry import Registry
from t2ikit.runs.create import portable
from t2ikit.runs.plugins import needed_with, needs
from t2ikit.runs.run import ENCODER, Run
from t2ikit.sampling.outputs import evaluations_of
from t2ikit.utils.files import write_text
from t2ikit.utils.quoting import code, code_block, escaped, visible

CARD, GRID = "README.md", "grid.png"
FEWEST = 16
"""Images of a figure that a card states: fewer say nothing of a model."""


def write_model_card(run: Run, out: Path, opened_with: str, model: Model, options: str = "") -> None:
    """README.md with the recipe, the data, the numbers and a grid of images, and grid.png.

    Args:
        run: what was exported.
        out: the export's folder.
        opened_with: MODULE:CLASS of a pipeline.
        model: the run's.
        options: for the call, where the pipeline does not know the recipe's own.
    """
    grids = [(step, path) for step, path in _grids(run) if step <= (model.step or 0)]
    if grids:
        shutil.copyfile(grids[-1][1], out / GRID)
    held = (out / ENCODER).is_dir()
    data = portable(run.table, encoder=held)["data"]
    sampling = {key: run.table[key] for key in sorted(SAMPLING) if key in run.table}
    table = _evaluation(run, model)
    stated = _stated(table) if table else {}
    shared = replace(run, table={**run.table, "data": data})
    lines = [
        *["---", metadata(shared, model, stated).to_yaml(), "---", ""],
        f"# {escaped(visible(run.name))}",
        "",
        *_what_it_does(run, model),
        *([f"![Images of validation prompts at step {grids[-1][0]}]({GRID})", ""] if grids else []),
        *_call(opened_with, model, options),
        f"Needs {_needs(run, opened_with)}.",
        "",
        *_weights(run, model),
        f"Data: {code(data['spec'])}, fingerprint {code(run.info['data_fingerprint'])}. "
        f"Seed {run.info['seed']}.",
        "",
        _licence(run),
        "",
        *(_as_table(table, stated) if table else []),
        "## Recipe of model and sampler",
        "",
        *code_block(dump_toml(portable(sampling, encoder=held)).strip(), "toml"),
        "",
    ]
    write_text(out / CARD, "\n".join(lines))


def _licence(run: Run) -> str:
    """The licence, in a sentence."""
    licence = licence_of(run)
    if licence is None:
        return "Licence: not stated; before you share it, add a `license:` that the terms of its data allow."
    return f"Licence: {licence}, as its data allows."


def _needs(run: Run, opened_with: str) -> str:
    """What must be installed to open the export, in a sentence."""
    library = opened_with.split(":")[0].split(".")[0]
    if library == "diffusers":
        return f"diffusers (written with {version('diffusers')})"
    registry = run.registry or Registry.load()
    return needs(needed_with(library, run.sampled_with, registry))


def _grids(run: Run) -> list[tuple[int, Path]]:
    """The sample grids of training and their steps, in order; an exported folder has none."""
    found = (run.path / "samples").glob("step-" + 8 * "[0-9]" + ".png")
    return sorted((int(path.stem.partition("-")[2]), path) for path in found)


def _small(model: Model) -> int:
    """Side of the images that a model upscales, pixels; 0: it samples from text alone."""
    super_resolution = model.generator.super_resolution
    return 0 if super_resolution is None else model.context.image_size // super_resolution.ratio


def _what_it_does(run: Run, model: Model) -> list[str]:
    size, small = model.context.image_size, _small(model)
    what = (
        f"Upscales {small} x {small} to {size} x {size} pixels, guided by a caption of the image"
        if small
        else f"A text-to-image model of {size} x {size} pixels"
    )
    trained_on = [
        shown((height, width)) for height, width, count in run.info.get("image_shapes", ()) if count
    ]
    what += (
        f", trained on images of {', '.join(trained_on)} pixels (`height=`, `width=`)" if trained_on else ""
    )
    trained_with = run.info.get("versions", {}).get("t2ikit", __version__)
    return [f"{what}; trained with t2ikit {escaped(trained_with)}.", ""]


def _call(opened_with: str, model: Model, options: str) -> list[str]:
    """How the export is used, in Python."""
    module, _, name = opened_with.partition(":")
    small = _small(model)
    opened = [f'small = Image.open("small.png")  # {small} x {small} pixels'] if small else []
    arguments = ", ".join(
        ['"a prompt"', *(["image=small"] if small else []), *([options] if options else [])]
    )
    return [
        "```python",
        *(["from PIL import Image"] if small else []),
        f"from {module} import {name}",
        "",
        f'pipeline = {name}.from_pretrained("FOLDER")',
        *opened,
        f'pipeline({arguments}).images[0].save("image.png")',
        "```",
        "",
    ]


def _weights(run: Run, model: Model) -> list[str]:
    """Which weights they are, and what is wrong with those that they are not."""
    planned = run.table["train"].get("steps", 0)
    of = f" of {planned}" if planned >= (model.step or 0) else ""
    kind = "" if run.ema is None else f", averaged to a relative width of {run.ema:g}"
    return [
        f"Weights of step {model.step}{of}{kind}.",
        "",
        *_origin(run),
        *(f"Note: {escaped(note)}.\n" for note in model.notes),
    ]


def _origin(run: Run) -> list[str]:
    """The run whose weights it began with, the run that one began with, and so on."""
    lines, origin, what = [], run.info.get("origin"), ""
    while isinstance(origin, Mapping):
        generator, step = (escaped(str(origin.get(key))) for key in ("generator", "step"))
        kind = "Fine-tuned" if origin.get("kind") == "fine-tuned" else "Distilled"
        data = f", trained on data with fingerprint {code(str(origin.get('data')))}"
        lines += [f"{kind}{what} from {code(str(origin.get('run')))} ({generator}) at step {step}{data}.", ""]
        origin, what = origin.get("origin"), " before that"
    return lines


def _evaluation(run: Run, model: Model) -> dict[str, Any] | None:
    """The newest evaluation.json of what is exported; None where there is none."""
    found = [path for path in evaluations_of(run).glob("step-*/evaluation.json") if path.is_file()]
    for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            if _is_of(table["settings"], run, model) and _as_table(table, _stated(table)):
                return dict(table)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # damaged: another may be whole
    return None


def _is_of(settings: Mapping[str, Any], run: Run, model: Model) -> bool:
    """Whether an evaluation is of the exported weights, with the recipe's sampler, on the run's own data."""
    sampler = model.recipe.parts["sampler"].table()
    expected = {
        "step": model.step,
        "weights": "ema",
        "ema": run.ema,
        "data": run.info["data_fingerprint"],
        "sampler": sampler,
        "steps": sampler.get("steps", settings["steps"]),  # a sampler of one step has neither
        "guidance": sampler.get("guidance", settings["guidance"]),
    }
    found = {"ema": None, **settings}
    return all(found[key] == value for key, value in expected.items())


def _stated(table: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The measures of an evaluation that a card states: totals alone, and none of few images."""
    found = table["measures"].items()
    return {name: one for name, one in found if name.count("/") == 1 and one["n"] >= FEWEST}


def _as_table(table: Mapping[str, Any], stated: Mapping[str, Mapping[str, Any]]) -> list[str]:
    settings = table["settings"]
    rows = [
        f"| {escaped(name)} | {m['value']:.4g} {escaped(m['unit'])} | {m['n']} | {escaped(m['provenance'])} |"
        for name, m in stated.items()
    ]
    few = any(m["n"] < FEWEST for m in table["measures"].values())
    notes = [*table.get("notes", []), *[f"figures of fewer than {FEWEST} images are left out"] * few]
    return [
        "## Numbers",
        "",
        f"Of step {settings['step']}: n {settings['n']}, seed {settings['seed']}, prompts of the data "
        f"{code(settings['data'])}, sampler as below.",
        "",
        *(f"- {escaped(note)}" for note in notes),
        *[""] * bool(notes),
        *(["| measure | value | images | how |", "|---|---|---|---|", *rows, ""] if rows else []),
    ]
