"""`t2ikit export` in code: a run in a format that other programs open, with a card that says what it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from t2ikit.config.arguments import checked
from t2ikit.config.toml import dump_toml
from t2ikit.errors import UserError, command, did_you_mean
from t2ikit.exporters.card import write_model_card
from t2ikit.exporters.pipeline_calls import CUSTOM
from t2ikit.exporters.storage import StoredType, store_as
from t2ikit.recipes.settings import Plugins
from t2ikit.registry.registry import BUILTIN, Entry, Registry
from t2ikit.runs.create import check_new, portable
from t2ikit.runs.open import as_run, plugins_of
from t2ikit.runs.plugins import needed_with, needs
from t2ikit.runs.run import ENCODER, Run
from t2ikit.text.model_files import find_model, name_tokenizers
from t2ikit.text.pretrained import pretrained_fingerprint
from t2ikit.utils.files import unwritable, write_json, write_text
from t2ikit.utils.hub import endpoint, reason, refusals, require

INDEX = "model_index.json"
PIPELINE = '''"""The class for DiffusionPipeline.from_pretrained(FOLDER) with trust_remote_code."""

import importlib

try:
    {name} = importlib.import_module("{module}").{name}
except ImportError as error:
    raise ImportError({missing!r}) from error
'''
"""pipeline.py of an export. Of an import statement diffusers would say to install a package of that name."""


@checked
def export(
    run: Run | str | Path,
    format: str = "diffusers",
    *,
    out: str | Path,
    ema: float | None = None,
    dtype: StoredType = "float32",
    plugins: Plugins = (),
) -> Path:
    """Write a run as a folder that other programs open.

    Args:
        run: a run, its folder, hf:OWNER/NAME or creatures.
        format: "diffusers", "if", or a plugin's; one of the run's own plugin comes first.
        out: folder to make.
        ema: length of the average, as in `sample`; None takes the average that training kept.
        dtype: of the stored weights, without those of a text encoder: "float32", "float16" or "bfloat16".
            Sampling computes in float32 unless `from_pretrained` is given another.
        plugins: files of plugins that the run or the format needs.

    Returns:
        The folder.

    Raises:
        UserError: no such format, a run that the format cannot hold, a folder that is not empty, or weights
            that are not finite in `dtype`.

    Example:
        >>> t2ikit.export("runs/imagen-001", "diffusers", out="my-model")
        >>> from t2ikit_imagen import ImagenPipeline
        >>> pipeline = ImagenPipeline.from_pretrained("my-model")
    """
    out, run = Path(out), as_run(run)
    registry = plugins_of(run, plugins)
    run = replace(run, registry=registry, ema=run.ema if ema is None else ema)
    _check_no_guide(run)
    entry = find_format(registry, format, run)
    write = entry.spec.build(entry.spec.config(), None)
    check_new(out, "choose another folder with --out")
    _write_whole(partial(_write, write, run, dtype), out)
    for weights in out.rglob("*.safetensors"):
        with suppress(OSError):
            weights.chmod(0o644)  # safetensors makes files that only their owner can read
    return out


def _write(write: Callable[[Run, Path], None], run: Run, dtype: StoredType, out: Path) -> None:
    write(run, out)
    if dtype != "float32":
        store_as(out, dtype)


def _write_whole(write: Callable[[Path], None], out: Path) -> None:
    """Write a folder, or leave none: half an export would bar the way of the next."""
    existed = out.exists()
    try:
        write(out)
    except BaseException as error:
        shutil.rmtree(out, ignore_errors=True)
        if existed:
            out.mkdir(exist_ok=True)
        if not isinstance(error, (OSError, SafetensorError)):
            raise
        fix = "free some space, or choose another folder with --out"
        raise unwritable(f"--out {out}: the export cannot be written", error, fix) from error


def _check_no_guide(run: Run) -> None:
    """Refuse a recipe whose sampler is guided by another run, which an export would have to hold, too."""
    guide = run.table["sampler"].get("guidance_model")
    if guide:
        raise UserError(
            f"{run.path}: an export cannot hold the model that guides this one",
            expected="a recipe.toml without sampler.guidance_model",
            got=f"sampler.guidance_model = {guide!r}",
            fix="remove it from recipe.toml; `t2ikit sample` takes it with --set sampler.guidance_model",
        )


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
        require(endpoint())
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
            got=reason(error),
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
    info |= {} if run.ema is None else {"ema": run.ema}
    if encoder:  # so that one folder holds a whole text encoder; written anew, its files are others
        pipeline.tokenizer.save_pretrained(out / ENCODER)
        name_tokenizers(out)
        files = find_model(str(out / ENCODER), None)
        info["text_fingerprint"] = pretrained_fingerprint(files, model.recipe.parts["text"].config)
    write_text(out / "recipe.toml", dump_toml(portable(run.asked_table, encoder=encoder)))
    write_json(out / "run.json", info)
    _write_class(run, out, pipeline_class)
    write_model_card(run, out, f"{pipeline_class.__module__}:{pipeline_class.__name__}", model)


def _write_class(run: Run, out: Path, pipeline_class: Any) -> None:
    """pipeline.py, and its name in the index, where diffusers looks for a class that it does not have."""
    module, name = pipeline_class.__module__, pipeline_class.__name__
    registry = run.registry or Registry.load()
    missing = f"this model needs {needs(needed_with(module.split('.')[0], run.sampled_with, registry))}"
    write_text(out / f"{CUSTOM}.py", PIPELINE.format(module=module, name=name, missing=missing))
    index = json.loads((out / INDEX).read_text(encoding="utf-8"))
    write_json(out / INDEX, {**index, "_class_name": [CUSTOM, name]})
