"""What a pipeline is given: a folder, whose libraries are checked; a run; prompts; pictures to enlarge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from t2ikit.errors import UserError
from t2ikit.grids import from_pil
from t2ikit.registry import Registry
from t2ikit.run import Run


def check_libraries(kind: Any, folder: Path, index: Mapping[str, Any]) -> None:
    """Refuse a folder with parts of a library that is neither a plugin nor that of `kind`, or of a file."""
    modules = [plugin.module.__name__ for plugin in Registry.load().plugins.values() if plugin.module]
    known = {"diffusers", "transformers", *(name.split(".")[0] for name in (kind.__module__, *modules))}
    loaded = {"_class_name", *kind._get_signature_keys(kind)[0]}  # other lists are options
    for part in loaded & set(index):
        value, inside = index[part], folder / part
        if not isinstance(value, list | tuple) or (part != "_class_name" and list(value) == [None, None]):
            continue
        library = str(value[0]) if value else ""
        foreign = library.split(".")[0] not in known or (inside / f"{library}.py").exists()
        nested = (inside / "model_index.json").exists()  # a pipeline in it would be opened unchecked
        if part == "_class_name" or len(value) != 2 or foreign or nested:
            raise UserError(
                f"{folder}: model_index.json names code that is not installed",
                expected="parts of " + ", ".join(sorted(known)),
                got=f"{part} of {library}" + ", a pipeline of its own" * nested,
                fix="open only folders that you trust; install the plugin that the model was made with",
            )


def check_installed(run: Run) -> None:
    """Refuse a run that draws with a plugin file: a pipeline finds installed plugins alone."""
    installed = Registry.load().plugins
    for plugin in run.info["plugins"]:
        if plugin["sha256"] and run.draws_with(plugin["name"]) and plugin["name"] not in installed:
            raise UserError(
                f"{run.path} was made with a plugin file, which cannot travel with a pipeline",
                expected="generator, sampler and text encoder of installed plugins",
                got=plugin["origin"],
                fix=f"install the file as a package; its entry point in the group t2ikit is {plugin['name']}",
            )


def prompts_of(given: str | Sequence[str], samples: int) -> list[str]:
    """Captions of which there is something to draw."""
    prompts = [given] if isinstance(given, str) else list(given)
    if not prompts or samples < 1 or not all(isinstance(prompt, str) for prompt in prompts):
        raise UserError(
            "there is nothing to draw",
            expected="at least one prompt, each of them text, and num_images_per_prompt at least 1",
            got=f"{prompts} and {samples}",
            fix='call it as pipeline("a green cat with red eyes")',
        )
    return prompts


def to_enlarge(given: Tensor | Image.Image | Sequence[Image.Image], prompts: int, samples: int) -> Tensor:
    """(P * S, 3, h, w) in [-1, 1], each of the P pictures S times."""
    if isinstance(given, Tensor):
        shapes = [tuple(picture.shape) for picture in given]
    else:
        given = [given] if isinstance(given, Image.Image) else given
        shapes = [picture.size for picture in given]
    if len(shapes) != prompts or len(set(shapes)) != 1:
        raise UserError(
            "image= does not hold one picture for each prompt, all of one size",
            expected=f"{prompts} pictures",
            got=f"{len(shapes)} of {', '.join(map(str, sorted(set(shapes))))}",
            fix="give as many pictures as prompts, of the size that the model enlarges",
        )
    images = given if isinstance(given, Tensor) else from_pil(given)
    return images.repeat_interleave(samples, 0)
