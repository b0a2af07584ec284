"""A new run folder: its name, whether it can be written, and its first files."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2ikit.config.toml import dump_toml
from t2ikit.core.shapes import Shape
from t2ikit.data.mixing.config import as_spec, specs_in
from t2ikit.errors import UserError, command
from t2ikit.recipes.recipe import SAMPLING, Recipe
from t2ikit.registry.registry import Registry
from t2ikit.runs.plugins import record
from t2ikit.runs.run import ENCODER, Run
from t2ikit.utils.files import check_folder, unwritable, write_json, write_text

PACKAGES = ("t2ikit", "torch", "diffusers", "accelerate", "safetensors", "numpy", "pillow")


def portable(table: Mapping[str, Any], *, encoder: bool) -> dict[str, Any]:
    """A recipe for a folder that goes elsewhere: of paths on this machine the last names alone.

    Args:
        table: some of a resolved recipe's tables.
        encoder: the text encoder goes with it, in the folder `text_encoder`; then `text.model` names that.
            Otherwise, what sampling needs stays as it is.
    """
    moved = {key: value if key in SAMPLING else _without_folders(value) for key, value in table.items()}
    if encoder:
        text = {key: value for key, value in table["text"].items() if key != "cache"}
        moved["text"] = {**text, "model": ENCODER}
    return moved


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    if not isinstance(value, str):
        return value
    specs = specs_in(value)
    if len(specs) > 1:
        return as_spec(_without_folders(specs))
    scheme = "wds:" if value.startswith("wds:") else ""
    path = value.removeprefix(scheme)
    return scheme + Path(path).name if os.path.isabs(path) else value


def create_run(
    path: Path,
    recipe: Recipe,
    registry: Registry,
    *,
    data: str,
    text: str,
    device: str,
    processes: int = 1,
    upscales: bool = False,
    chosen: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
    shapes: Sequence[Shape] | None = None,
) -> Run:
    """Make a new run folder with its recipe.toml and run.json.

    Args:
        path, recipe: the folder, and the recipe as it was asked for.
        registry: that the recipe was read with.
        data, text: fingerprints of the dataset and of the text encoder.
        device, processes, upscales: where and in how many it is trained; whether the model is given images.
        chosen: what the settings that say "auto" came to.
        origin, shapes: the run whose weights it begins with; height and width of training images in buckets.

    Raises:
        UserError: the folder exists and is not empty, or cannot be written.
    """
    check_new(path)
    info = {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seed": recipe.train.seed,
        "random": "counter",
        "device": device,
        "processes": processes,
        "upscales": upscales,
        "chosen": dict(chosen or {}),
        "data_fingerprint": data,
        "text_fingerprint": text,
        "versions": {"python": platform.python_version(), **_versions()},
        "plugins": record(recipe, registry),
        **_channels(recipe) | _shapes(recipe, shapes),
        **({"origin": dict(origin)} if origin else {}),
    }
    try:
        (path / "samples").mkdir(parents=True, exist_ok=True)
        write_text(path / "recipe.toml", dump_toml(recipe.table()))
        write_json(path / "run.json", info)
    except OSError as error:
        raise _unwritable(path, error) from error
    return Run(path, recipe.table(), info)


def _channels(recipe: Recipe) -> dict[str, Any]:
    """What says that images are not RGB."""
    channels = recipe.parts["data"].config.image_channels
    return {} if channels == 3 else {"image_channels": channels}


def _shapes(recipe: Recipe, shapes: Sequence[Shape] | None) -> dict[str, list[list[int]]]:
    """What says that images are in buckets: height and width of each, and how many there are to train on."""
    if shapes is None:
        return {}
    counts, known = Counter(shapes), recipe.parts["data"].config.image_shapes
    return {"image_shapes": [[*shape, counts[shape]] for shape in dict.fromkeys((*known, *counts))]}


def check_free(path: Path, fix: str | None = None) -> None:
    """Refuse a folder to write that holds something already; `fix` is what to do then."""
    if path.is_dir() and any(path.iterdir()):
        resume = command("t2ikit", "train", "--resume", path)
        raise UserError(
            f"--out {path}: the folder is not empty",
            expected="a folder that does not exist yet, or an empty one",
            got=", ".join(sorted(entry.name for entry in path.iterdir())[:5]),
            fix=fix or f"choose another folder, or go on with that run: `{resume}`",
        )


def check_new(path: Path, fix: str | None = None) -> None:
    """Refuse a folder to write that holds something already, or that cannot be made.

    Args:
        path: the folder.
        fix: what to do where it holds something; None: what there is to do of a run.
    """
    check_free(path, fix)
    try:
        check_folder(path)  # a recipe that is refused leaves nothing behind
    except OSError as error:
        raise _unwritable(path, error) from error


def next_run_folder(name: str, base: Path = Path("runs")) -> Path:
    """The first of runs/NAME-001, runs/NAME-002, ... that is free."""
    stem = name.replace("/", "-")
    number = 1
    while (base / f"{stem}-{number:03d}").exists():
        number += 1
    return base / f"{stem}-{number:03d}"


def _unwritable(path: Path, error: OSError) -> UserError:
    return unwritable(
        f"--out {path}: the folder cannot be written", error, "choose another folder with --out"
    )


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}
