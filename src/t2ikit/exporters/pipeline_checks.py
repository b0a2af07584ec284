"""Checks of the inputs of a pipeline: a folder and its libraries, a run, prompts, images to upscale."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import deprecation_utils

from t2ikit.errors import UserError
from t2ikit.registry.registry import Registry
from t2ikit.runs.plugins import check_present
from t2ikit.runs.run import Run

DTYPE = "dtype" if hasattr(deprecation_utils, "_resolve_dtype") else "torch_dtype"
"""What diffusers calls the precision of weights."""


def check_index(kind: Any, folder: Path, index: Any, given: Container[str] = ()) -> None:
    """Refuse a damaged index, and parts of a file or of a library that is no plugin's and not that of `kind`.

    Args:
        kind: the pipeline's class.
        folder: what is to be opened.
        index: what its model_index.json holds.
        given: parts that do not come from the folder.
    """
    named = index.get("_class_name") if isinstance(index, Mapping) else index
    if not isinstance(named, str):
        raise _foreign(kind, folder, f"_class_name {named}")
    for part in sorted(set(kind._get_signature_keys(kind)[0]) & set(index)):  # other lists are options
        value = index[part]
        pair = isinstance(value, list | tuple) and len(value) == 2
        if pair and list(value) == [None, None]:
            continue
        if not pair or not all(isinstance(word, str) for word in value):
            raise _foreign(kind, folder, f"{part} {value}")
        library, inside = value[0], folder / part
        if library.split(".")[0] not in _known(kind) or (inside / f"{library}.py").exists():
            raise _foreign(kind, folder, f"{part} of {library}")
        if part not in given and not inside.is_dir():  # diffusers would open the folder itself as the part
            raise _foreign(kind, folder, f"{part} of {library}, but no folder {part}")
        if (inside / "model_index.json").exists():  # it would be opened unchecked
            raise _foreign(kind, folder, f"{part} of {library}, a pipeline of its own")


def check_plugins(path: Any, index: Any) -> None:
    """Refuse a folder made with plugins that are not installed, where its index names them.

    Raises:
        UserError: naming what to install.
    """
    recipe = index.get("recipe") if isinstance(index, Mapping) else None
    plugins = recipe.get("plugins") if isinstance(recipe, Mapping) else None
    keys = {"name", "origin", "sha256"}
    if isinstance(plugins, list) and all(isinstance(one, Mapping) and keys <= set(one) for one in plugins):
        check_present(str(path), plugins, Registry.load())


def _known(kind: Any) -> set[str]:
    modules = [plugin.module.__name__ for plugin in Registry.load().plugins.values() if plugin.module]
    return {"diffusers", "transformers", *(name.split(".")[0] for name in (kind.__module__, *modules))}


def _foreign(kind: Any, folder: Path, got: str) -> UserError:
    return UserError(
        f"{folder}: model_index.json is damaged, or names code that is not installed",
        expected="for each part its folder, and [LIBRARY, CLASS] of " + ", ".join(sorted(_known(kind))),
        got=got,
        fix="open only folders that you trust; install the plugin that the model was made with",
    )


def text_encoder_in(folder: Path, index: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline's text encoder as an option of `from_pretrained`, none of whose weights is missing.

    diffusers would initialise those at random. Nothing is opened where it is given, there is none, or it is
    quantised.

    Raises:
        ValueError, RuntimeError: weights are missing, or of other shapes.
    """
    library, name = index.get("text_encoder", ("", ""))
    quantised = options.get("quantization_config") is not None
    if library != "transformers" or "text_encoder" in options or quantised:
        return {}
    import transformers

    from t2ikit.text.text_model import open_whole

    place, variant = folder / "text_encoder", options.get("variant")
    dtype = options.get(DTYPE)
    if isinstance(dtype, Mapping):
        dtype = dtype.get("text_encoder", dtype.get("default", torch.float32))
    narrow = {"variant": variant} if variant and any(place.glob(f"*.{variant}*")) else {}
    return {"text_encoder": open_whole(getattr(transformers, name), place, dtype, **narrow)}


def one_dtype(options: dict[str, Any]) -> None:
    """Give `dtype` and `torch_dtype` the name that the installed diffusers knows.

    Raises:
        UserError: both are given, or what is no `torch.dtype`.
    """
    given = [options.pop(name) for name in ("dtype", "torch_dtype") if options.get(name) is not None]
    kinds = [kind for one in given for kind in (one.values() if isinstance(one, Mapping) else [one])]
    if len(given) > 1 or not all(isinstance(kind, torch.dtype) for kind in kinds):
        raise UserError(
            "dtype= does not say one precision",
            expected="a torch.dtype, or a dict of them by part",
            got=", ".join(map(str, given)),
            fix="dtype=torch.bfloat16",
        )
    if given:
        options[DTYPE] = given[0]


def check_parts(pipeline: Any) -> None:
    """Refuse a pipeline that lacks what sampling needs, as where a part was exchanged for another."""
    found = None
    if not hasattr(pipeline.generator, "generator"):  # a compiled one has it, too
        found = f"a generator that is {type(pipeline.generator).__name__}"
    elif not isinstance(pipeline.config.recipe, Mapping) or "image_size" not in pipeline.config.recipe:
        found = f"the recipe {pipeline.config.recipe!r}"
    elif pipeline.text_encoder is not None and pipeline.tokenizer is None:
        found = "a text encoder without a tokenizer"
    if found is not None:
        raise UserError(
            "the pipeline is not whole",
            expected="a GeneratorModel, the recipe it was trained with, a tokenizer for its text encoder",
            got=found,
            fix="open what `t2ikit export --format diffusers` wrote",
        )


def check_installed(run: Run) -> None:
    """Refuse a run that samples with a plugin file: a pipeline finds installed plugins alone."""
    installed = Registry.load().plugins
    for plugin in run.sampled_with:
        if plugin["sha256"] and plugin["name"] not in installed:
            raise UserError(
                f"{run.path} was made with a plugin file, which cannot travel with a pipeline",
                expected="generator, sampler and text encoder of installed plugins",
                got=plugin["origin"],
                fix=f"install the file as a package; its entry point in the group t2ikit is {plugin['name']}",
            )


def texts_of(given: object) -> list[Any]:
    """One text or several as a list; none, or what is neither, as an empty one."""
    if isinstance(given, str):
        return [given]
    return list(given) if isinstance(given, Iterable) else []


def prompts_of(given: str | Sequence[str] | None, samples: int) -> list[str]:
    """The captions of a call, at least one."""
    prompts = texts_of(given)
    if not prompts or samples < 1 or not all(isinstance(prompt, str) for prompt in prompts):
        raise UserError(
            "there is nothing to sample",
            expected="at least one prompt, each of them text, and num_images_per_prompt at least 1",
            got=f"{given!r} and {samples}",
            fix='call it as pipeline("a green cat with red eyes")',
        )
    return prompts
