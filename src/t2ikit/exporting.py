"""`t2ikit export` in code: a run in a format that other programs open, with a card that says what it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2ikit import __version__
from t2ikit.config import dump_toml
from t2ikit.errors import UserError, did_you_mean
from t2ikit.evaluation_files import FOLDER
from t2ikit.files import write_json, write_text
from t2ikit.recipe import SAMPLING
from t2ikit.registry import Entry, Registry
from t2ikit.run import Run, check_new, open_run
from t2ikit.text.model_files import find_model
from t2ikit.text.pretrained import pretrained_fingerprint

GRID = "grid.png"


def export(path: Path, name: str, out: Path, *, plugins: Sequence[str] = ()) -> Path:
    """Write a run to the new folder `out`.

    Args:
        path: the run folder.
        name: of a format; one of the run's own plugin comes first.
        out: folder to make.
        plugins: ./file.py plugins that the run or the format needs.

    Returns:
        The folder.

    Raises:
        UserError: no such format, a run that the format cannot hold, or a folder that is not empty.
    """
    run, registry = open_run(path), Registry.load(plugins)
    entry = find_format(registry, name, run)
    write = entry.spec.build(entry.spec.config(), None)
    check_new(out, "choose another folder with --out")
    try:
        write(run, out)
    except OSError as error:
        raise UserError(
            f"--out {out}: the export cannot be written",
            expected="a folder in which files can be made, with room for the model",
            got=error,
            fix="free some space, or choose another folder with --out",
        ) from error
    return out


def push(folder: Path, repository: str) -> str:
    """Upload an export to the Hub, into a new or an old repository; returns its address.

    The token is huggingface_hub's own (`hf auth login`, or HF_TOKEN).

    Raises:
        UserError: the Hub cannot be reached, or says no.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    try:
        made = huggingface_hub.create_repo(repository, exist_ok=True)
        huggingface_hub.upload_folder(repo_id=made.repo_id, folder_path=folder)
    except (OSError, HfHubHTTPError, HFValidationError, LocalTokenNotFoundError) as error:
        raise UserError(
            f"--push-to {repository}: the Hub did not take it",
            expected="OWNER/NAME, a network, and a token that may write (hf auth login)",
            got=" ".join(str(error).split())[:200],
            fix=f"the export is whole in {folder}; try later: hf upload {repository} {folder}",
        ) from error
    return str(made)


def find_format(registry: Registry, name: str, run: Run) -> Entry:
    """The exporter called `name`, the run's own plugin's where several are.

    Raises:
        UserError: there is none.
    """
    plugin = str(run.table["generator"]["use"]).split("/")[0]
    entries = registry.entries("exporters")
    found = [entry for entry in entries if name in (entry.spec.name, entry.canonical)]
    own = [entry for entry in found if entry.plugin == plugin]
    if own or len(found) == 1:
        return (own or found)[0]
    names = sorted({entry.spec.name for entry in entries})
    raise UserError(
        f"--format {name}: there is no such format for a run of the plugin {plugin}",
        expected="one of " + ", ".join(entry.canonical for entry in entries),
        got=name,
        fix=did_you_mean(name, names),
    )


def export_pipeline(run: Run, out: Path, pipeline_class: Any) -> None:
    """Write a run as a diffusers pipeline that `t2ikit sample` opens, too.

    Args:
        run: with a checkpoint.
        out: folder to make.
        pipeline_class: of the run's family.
    """
    pipeline = pipeline_class.from_run(run)
    pipeline.save_pretrained(out)
    if pipeline.tokenizer is not None:  # so that one folder holds a whole text encoder
        pipeline.tokenizer.save_pretrained(out / "text_encoder")
    write_text(out / "recipe.toml", dump_toml(run.table))
    info = {**run.info, "step": run.step()}
    if pipeline.tokenizer is not None:  # written anew, the encoder's files are others
        files = find_model(str(out / "text_encoder"), None)
        info["text_fingerprint"] = pretrained_fingerprint(files, pipeline.model().recipe.parts["text"].config)
    write_json(out / "run.json", info)
    write_card(run, out, f"{pipeline_class.__module__}:{pipeline_class.__name__}")


def write_card(run: Run, out: Path, opened_with: str) -> None:
    """README.md with the recipe, the data, the numbers and a grid of pictures; grid.png beside it."""
    grids = sorted((run.path / "samples").glob("step-*.png"))
    if grids:
        shutil.copyfile(grids[-1], out / GRID)
    module, _, name = opened_with.partition(":")
    size, data = run.image_size, run.table["data"]
    sampling = {key: run.table[key] for key in sorted(SAMPLING) if key in run.table}
    lines = [
        "---",
        "library_name: diffusers",
        "pipeline_tag: text-to-image",
        "tags: [t2ikit, text-to-image]",
        "---",
        "",
        f"# {run.path.resolve().name}",
        "",
        f"A text-to-image model of {size} x {size} pixels, trained with t2ikit {__version__}.",
        "",
        *([f"![Pictures of validation prompts at the end of training]({GRID})", ""] if grids else []),
        "```python",
        f"from {module} import {name}",
        "",
        f'pipeline = {name}.from_pretrained("FOLDER")',
        'pipeline("a prompt").images[0].save("picture.png")',
        "```",
        "",
        f"Data: `{data['spec']}`, fingerprint `{run.info['data_fingerprint']}`. Seed {run.info['seed']}.",
        "",
        *_numbers(run),
        "## Recipe of model and sampler",
        "",
        "```toml",
        dump_toml(sampling).strip(),
        "```",
        "",
    ]
    write_text(out / "README.md", "\n".join(lines))


def _numbers(run: Run) -> list[str]:
    """The newest evaluation as a table; nothing where there is none."""
    found = sorted(
        (run.path / FOLDER).glob("step-*/evaluation.json"), key=lambda path: path.stat().st_mtime_ns
    )
    if not found:
        return []
    table = json.loads(found[-1].read_text(encoding="utf-8"))
    rows = [
        f"| {name} | {m['value']:.4g} {m['unit']} | {m['n']} | {m['provenance']} |"
        for name, m in table["measures"].items()
        if name.count("/") == 1  # totals alone
    ]
    return ["## Numbers", "", "| measure | value | pictures | how |", "|---|---|---|---|", *rows, ""]
