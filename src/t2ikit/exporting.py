"""`t2ikit export` in code: a run in a format that other programs open, with a card that says what it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from t2ikit import __version__
from t2ikit.compose import Model
from t2ikit.config import dump_toml
from t2ikit.errors import UserError, command, did_you_mean
from t2ikit.files import write_json, write_text
from t2ikit.hub import refusals
from t2ikit.recipe import SAMPLING
from t2ikit.registry import BUILTIN, Entry, Registry
from t2ikit.run import ENCODER, Run, as_run, check_new, plugins_of, portable
from t2ikit.sampling.outputs import evaluations_of
from t2ikit.settings import Plugins
from t2ikit.text.model_files import find_model, name_tokenizers
from t2ikit.text.pretrained import pretrained_fingerprint

CARD, GRID = "README.md", "grid.png"
CUSTOM = '''"""The class that opens this folder, for diffusers' custom_pipeline=; it needs t2ikit."""

from {module} import {name} as Pipeline

__all__ = ["Pipeline"]
'''
"""pipeline.py of an export: diffusers wants one class in it, and keeps names of the export opened before."""


def export(
    run: Run | str | Path, format: str = "diffusers", *, out: str | Path, plugins: Plugins = ()
) -> Path:
    """Write a run as a folder that other programs open.

    Args:
        run: a run, or its folder.
        format: "diffusers", "if", or a plugin's; one of the run's own plugin comes first.
        out: folder to make.
        plugins: files of plugins that the run or the format needs.

    Returns:
        The folder.

    Raises:
        UserError: no such format, a run that the format cannot hold, or a folder that is not empty.

    Example:
        >>> t2ikit.export("runs/imagen-001", "diffusers", out="my-model")
        >>> pipeline = ImagenPipeline.from_pretrained("my-model")
    """
    out, run = Path(out), as_run(run)
    registry = plugins_of(run, plugins)
    run = replace(run, registry=registry)
    entry = find_format(registry, format, run)
    write = entry.spec.build(entry.spec.config(), None)
    check_new(out, "choose another folder with --out")
    existed = out.exists()
    try:
        write(run, out)
    except BaseException as error:
        shutil.rmtree(out, ignore_errors=True)  # half an export would bar the way of the next
        if existed:
            out.mkdir(exist_ok=True)
        if not isinstance(error, (OSError, SafetensorError)):
            raise
        raise UserError(
            f"--out {out}: the export cannot be written",
            expected="a folder in which files can be made, with room for the model",
            got=error,
            fix="free some space, or choose another folder with --out",
        ) from error
    for weights in out.rglob("*.safetensors"):
        with suppress(OSError):
            weights.chmod(0o644)  # safetensors makes files that only their owner can read
    return out


def push(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload an export to the Hub, into a new or an old repository; returns its address.

    The token is huggingface_hub's own (`hf auth login`, or HF_TOKEN).

    Args:
        folder: the export.
        repository: OWNER/NAME.
        private: only its owner is to see it; a repository that others see is not written to.

    Raises:
        UserError: the Hub cannot be reached, or says no, or the repository is not private.
    """
    import huggingface_hub

    try:
        made = huggingface_hub.create_repo(repository, exist_ok=True, private=private or None)
        if private and not huggingface_hub.repo_info(made.repo_id).private:
            raise UserError(
                f"--private: {made.repo_id} is there already, and not private",
                expected="a new repository, or a private one",
                got="a repository that everyone sees",
                fix=f"make it private, or push to another; the export is whole in {folder}",
            )
        huggingface_hub.upload_folder(repo_id=made.repo_id, folder_path=folder)
    except refusals() as error:
        later = command("hf", "upload", repository, folder, *["--private"] * private)
        raise UserError(
            f"--push-to {repository}: the Hub did not take it",
            expected="OWNER/NAME, a network, and a token that may write (hf auth login)",
            got=" ".join(str(error).split())[:200],
            fix=f"the export is whole in {folder}; try later: `{later}`",
        ) from error
    return str(made)


def find_format(registry: Registry, name: str, run: Run) -> Entry:
    """The exporter called `name`: where several are, the run's own plugin's, or else the core's.

    Raises:
        UserError: there is none, or which is meant is not clear.
    """
    plugin = str(run.table["generator"]["use"]).split("/")[0]
    entries = registry.entries("exporters")
    found = [entry for entry in entries if name in (entry.spec.name, entry.canonical)]
    for first in (plugin, BUILTIN):
        found = [entry for entry in found if entry.plugin == first] or found
    if len(found) == 1:
        return found[0]
    names = sorted({entry.spec.name for entry in entries})
    raise UserError(
        f"--format {name}: "
        + (
            "several plugins have one"
            if found
            else f"there is no such format for a run of the plugin {plugin}"
        ),
        expected="one of " + ", ".join(entry.canonical for entry in entries),
        got=name,
        fix=f"write the whole name, such as {found[0].canonical}" if found else did_you_mean(name, names),
    )


def export_pipeline(run: Run, out: Path, pipeline_class: Any) -> None:
    """Write a run as a diffusers pipeline that `t2ikit sample` opens, too.

    Args:
        run: with a checkpoint.
        out: folder to make.
        pipeline_class: of the run's family.

    Raises:
        UserError: the pipeline cannot hold the run.
    """
    pipeline = pipeline_class.from_run(run)
    pipeline.save_pretrained(out)
    encoder = pipeline.tokenizer is not None
    model = pipeline.model()
    info = {**run.info, "step": model.step, "checkpoint_notes": list(model.notes)}
    if encoder:  # so that one folder holds a whole text encoder; written anew, its files are others
        pipeline.tokenizer.save_pretrained(out / ENCODER)
        name_tokenizers(out)
        files = find_model(str(out / ENCODER), None)
        info["text_fingerprint"] = pretrained_fingerprint(files, model.recipe.parts["text"].config)
    write_text(out / "recipe.toml", dump_toml(portable(run.table, encoder=encoder)))
    write_json(out / "run.json", info)
    module, name = pipeline_class.__module__, pipeline_class.__name__
    write_text(out / "pipeline.py", CUSTOM.format(module=module, name=name))
    write_card(run, out, f"{module}:{name}", model)


def write_card(run: Run, out: Path, opened_with: str, model: Model, options: str = "") -> None:
    """README.md with the recipe, the data, the numbers and a grid of pictures; grid.png beside it.

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
    task = "text-to-image" if model.generator.enlarges is None else "image-to-image"
    lines = [
        "---",
        "library_name: diffusers",
        f"pipeline_tag: {task}",
        f"tags: [t2ikit, {task}]",
        "---",
        "",
        f"# {run.path.resolve().name}",
        "",
        *_what_it_does(model),
        *([f"![Pictures of validation prompts at step {grids[-1][0]}]({GRID})", ""] if grids else []),
        *_call(opened_with, model, options),
        *_weights(run, model),
        f"Data: `{data['spec']}`, fingerprint `{run.info['data_fingerprint']}`. Seed {run.info['seed']}.",
        "",
        *_numbers(run, model),
        "## Recipe of model and sampler",
        "",
        "```toml",
        dump_toml(portable(sampling, encoder=held)).strip(),
        "```",
        "",
    ]
    write_text(out / CARD, "\n".join(lines))


def _grids(run: Run) -> list[tuple[int, Path]]:
    """The grids drawn in training and their steps, in order; an exported folder has none."""
    found = (run.path / "samples").glob("step-" + 8 * "[0-9]" + ".png")
    return sorted((int(path.stem.partition("-")[2]), path) for path in found)


def _small(model: Model) -> int:
    """Side of the pictures that a model enlarges, pixels; 0: it draws from text alone."""
    enlarges = model.generator.enlarges
    return 0 if enlarges is None else model.context.image_size // enlarges.ratio


def _what_it_does(model: Model) -> list[str]:
    size, small = model.context.image_size, _small(model)
    what = (
        f"Enlarges {small} x {small} to {size} x {size} pixels, told by a caption what it sees"
        if small
        else f"A text-to-image model of {size} x {size} pixels"
    )
    return [f"{what}; trained with t2ikit {__version__}.", ""]


def _call(opened_with: str, model: Model, options: str) -> list[str]:
    """How the export is used, in Python."""
    module, _, name = opened_with.partition(":")
    small = _small(model)
    opened = [f'small = Image.open("small.png")  # {small} x {small} pixels'] if small else []
    given = ", ".join(['"a prompt"', *(["image=small"] if small else []), *([options] if options else [])])
    return [
        "```python",
        *(["from PIL import Image"] if small else []),
        f"from {module} import {name}",
        "",
        f'pipeline = {name}.from_pretrained("FOLDER")',
        *opened,
        f'pipeline({given}).images[0].save("picture.png")',
        "```",
        "",
    ]


def _weights(run: Run, model: Model) -> list[str]:
    """Which weights they are, and what is wrong with those that they are not."""
    planned = run.table["train"].get("steps", 0)
    of = f" of {planned}" if planned >= (model.step or 0) else ""
    return [f"Weights of step {model.step}{of}.", "", *(f"Note: {note}.\n" for note in model.notes)]


def _numbers(run: Run, model: Model) -> list[str]:
    """The newest evaluation of what is exported as a table; nothing where there is none."""
    found = [path for path in evaluations_of(run).glob("step-*/evaluation.json") if path.is_file()]
    for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            if _is_of(table["settings"], run, model):
                return _as_table(table)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # damaged: another may be whole
    return []


def _is_of(settings: Mapping[str, Any], run: Run, model: Model) -> bool:
    """Whether an evaluation is of the exported weights, with the recipe's sampler, on the run's own data."""
    sampler = model.recipe.parts["sampler"].table()
    expected = {
        "step": model.step,
        "weights": "ema",
        "data": run.info["data_fingerprint"],
        "sampler": sampler,
        "steps": sampler.get("steps", settings["steps"]),  # a sampler of one step has neither
        "guidance": sampler.get("guidance", settings["guidance"]),
    }
    return all(settings[key] == value for key, value in expected.items())


def _as_table(table: Mapping[str, Any]) -> list[str]:
    settings = table["settings"]
    rows = [
        f"| {name} | {m['value']:.4g} {m['unit']} | {m['n']} | {m['provenance']} |"
        for name, m in table["measures"].items()
        if name.count("/") == 1  # totals alone
    ]
    return [
        "## Numbers",
        "",
        f"Of step {settings['step']}: n {settings['n']}, seed {settings['seed']}, prompts of the data "
        f"`{settings['data']}` that it was not trained on, sampler as below.",
        "",
        "| measure | value | pictures | how |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
