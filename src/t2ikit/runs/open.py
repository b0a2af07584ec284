"""From a path or a name to a run: a run folder, or what was exported from one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from t2ikit.config.renamed import with_new_keys
from t2ikit.config.toml import load_toml
from t2ikit.errors import UserError, as_word, close_to, command
from t2ikit.recipes.settings import Plugins
from t2ikit.registry.registry import Registry
from t2ikit.runs.named import accepted, find_run, packaged_names
from t2ikit.runs.run import ENCODER, Run, damaged


def open_run(path: str | Path) -> Run:
    """Look into a run folder.

    Args:
        path: the folder, or hf:OWNER/NAME, or the name of a model that comes with t2ikit.

    Raises:
        UserError: it is none, or a file of it is damaged.
    """
    path, known_as = find_run(path)
    recipe, info = path / "recipe.toml", path / "run.json"
    if not recipe.is_file() or not info.is_file():
        raise _no_run(path)
    run = Run(path, with_new_keys(load_toml(recipe), str(recipe)), _read_info(info), known_as=known_as)
    try:
        _ = run.image_size, run.table["data"]["spec"], run.table["train"]
        _settle(run)
        if run.exported and (path / ENCODER).is_dir():
            run.table["text"]["model"] = str((path / ENCODER).resolve())
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(recipe, error) from error
    return run


def _settle(run: Run) -> None:
    """In the table, replace "auto" by what was chosen when the run began; before, everything was fp32."""
    if run.table["train"].get("precision", "auto") == "auto":
        run.table["train"]["precision"] = run.info.get("chosen", {}).get("precision", "no")


def as_run(run: Run | str | Path) -> Run:
    """A run as it is, or the one that is named.

    Raises:
        UserError: it is none, or a file of it is damaged.
    """
    return run if isinstance(run, Run) else open_run(run)


def plugins_of(run: Run, plugins: Plugins) -> Registry:
    """Where a run's parts are looked up: among the installed plugins and these files.

    Where no files are named, those that the run was opened or trained with.
    """
    asked = [plugins] if isinstance(plugins, (str, Path)) else plugins
    return Registry.load([str(one) for one in asked]) if asked or run.registry is None else run.registry


def _near(path: Path) -> str:
    """What may have been meant: a run beside it or in ./runs, or a model that comes with t2ikit."""
    folders = dict.fromkeys((path.parent, Path("runs")))
    runs = [other.parent for folder in folders for other in folder.glob("*/run.json")]
    alike = close_to(path.name, [*(run.name for run in runs), *packaged_names()])
    named = [as_word(run) for run in runs if run.name in alike]
    named += [name for name in packaged_names() if name in alike]
    listed = f"`{command('t2ikit', 'runs')}` lists runs"
    return f"did you mean {' or '.join(named[:3])}? {listed}" if named else listed


def _no_run(path: Path) -> UserError:
    """Why a path is none, and what it is."""
    got, fix = "a file", "give the folder that `t2ikit train` printed"
    if not path.exists():
        got, fix = "no such folder", _near(path)
    elif path.is_dir():
        got = "a folder without them"
    if (path / "model_index.json").is_file():
        got = "a pipeline of diffusers, which they are not part of"
        fix = (
            f"open it in Python: DiffusionPipeline.from_pretrained({str(path)!r}), or the class that its "
            "model_index.json names; for t2ikit: `t2ikit export RUN --format diffusers`"
        )
    return UserError(
        f"{path} is not a run folder",
        expected=f"a folder with recipe.toml and run.json, as `t2ikit train` makes them; {accepted()}",
        got=got,
        fix=fix,
    )


def _read_info(path: Path) -> dict[str, Any]:
    """What run.json holds."""
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = info["data_fingerprint"], info["seed"], int(info.get("step", 0))
        _ = [(p["name"], p["origin"], p["sha256"]) for p in info["plugins"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from error
    return info
