"""The files of an evaluation: images that other tools can score, and the numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor

from t2ikit.core.metric import ImageSet
from t2ikit.errors import UserError
from t2ikit.evaluation.evaluator import Evaluator
from t2ikit.evaluation.results import EvaluationResult, name_of
from t2ikit.metrics.neighbours import nearest
from t2ikit.runs.run import Run
from t2ikit.sampling.outputs import evaluations_of
from t2ikit.utils.files import save_image, unwritable, write_json, write_text
from t2ikit.utils.grids import contact_sheet
from t2ikit.utils.images import from_pil, to_pil

SHOWN = 24
"""Images on the sheet of nearest neighbours."""
NUMBERS = "evaluation.json"


def make_folder(run: Run) -> Path:
    """The folder of a run's evaluations, made before anything is computed.

    Raises:
        UserError: it cannot be made.
    """
    folder = evaluations_of(run)
    try:
        folder.mkdir(parents=run.is_closed, exist_ok=True)
    except OSError as error:
        raise unwritable_numbers(folder, error) from error
    return folder


def unwritable_numbers(folder: Path, error: OSError) -> UserError:
    """The error of a folder that cannot take an evaluation."""
    what = f"{folder}: what is measured cannot be written"
    return unwritable(what, error, "free some space, or evaluate a copy of the run")


def measure_into(evaluator: Evaluator, changes: dict[str, str] | None = None) -> EvaluationResult:
    """Sample, write the images, measure, write the numbers, in a folder of the run's evaluations.

    `drawn/`, `real/` and `again/` (more images of the first prompts) hold the images as they were measured,
    numbered like the lines of `prompts.jsonl`; `evaluation.json` the numbers, `neighbours.png` some images
    beside the nearest training image.

    Raises:
        UserError: a change that does not fit the sampler, or the folder cannot be written.
    """
    sampled = evaluator.sample(changes)
    folder = evaluations_of(evaluator.run) / sampled.name
    assert sampled.image_set is not None
    write_images(sampled.image_set, folder)  # first: if a metric fails, the images are kept
    result = replace(evaluator.compute(sampled), folder=folder)
    try:
        write_json(folder / NUMBERS, result.table())
    except OSError as error:
        raise unwritable_numbers(folder, error) from error
    return result


def read_result(path: Path) -> EvaluationResult:
    """Read an evaluation.json, without the images.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, or not that of an evaluation.
    """
    result = TypeAdapter(EvaluationResult).validate_json(path.read_bytes())
    if result.costs.images < 1:
        raise ValueError("no image was sampled")
    return replace(result, folder=path.parent)


def read_evaluation(evaluator: Evaluator, changes: dict[str, str], shown: int) -> EvaluationResult | None:
    """An evaluation that was written before with the same settings, with the first `shown` images.

    None where there is none, or a metric failed in it, or its files are damaged.
    """
    settings = evaluator.settings(changes)
    folder = evaluations_of(evaluator.run) / name_of(settings)
    try:
        result = read_result(folder / NUMBERS)
        if result.failed:
            return None
        prompts = evaluator.prompts[:shown]
        images = [_read_image(folder / "drawn" / f"{number:05d}.png") for number in range(len(prompts))]
        image_set = ImageSet(torch.stack(images), prompts, evaluator.dataset)
    except (OSError, ValueError):
        return None
    return replace(result, settings=settings, image_set=image_set, checkpoint_notes=evaluator.model.notes)


def _read_image(path: Path) -> Tensor:
    """A written image (3, H, W) in [-1, 1]."""
    with Image.open(path) as image:
        return from_pil([image])[0]


def write_images(image_set: ImageSet, folder: Path) -> None:
    """Write sampled images and what they are compared with.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        _write_images(image_set, folder)
    except OSError as error:
        raise unwritable_numbers(folder, error) from error


def _write_images(image_set: ImageSet, folder: Path) -> None:
    sets = {"drawn": image_set.images, "real": image_set.real}
    if image_set.images_per_prompt is not None:
        sets["again"] = image_set.images_per_prompt.flatten(0, 1)
    for name, images in sets.items():
        if images is not None:
            (folder / name).mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(to_pil(images)):
                image.save(folder / name / f"{number:05d}.png")
    lines = [json.dumps({"prompt": prompt}, ensure_ascii=False) for prompt in image_set.prompts]
    write_text(folder / "prompts.jsonl", "\n".join(lines) + "\n")
    if image_set.train is not None:
        sheet = neighbour_sheet(image_set.images[:SHOWN], image_set.train, image_set.prompts)
        save_image(sheet, folder / "neighbours.png")


def neighbour_sheet(images: Tensor, train: Tensor, prompts: Sequence[str]) -> Image.Image:
    """Images, each beside its nearest training image, with its prompt and their distance."""
    distances, places = nearest(images, train)
    pairs = torch.cat([images, train[places]], 3)
    texts = [f"{prompt} ({distance:.0f})" for prompt, distance in zip(prompts, distances)]
    return contact_sheet(to_pil(pairs), texts, columns=4)
