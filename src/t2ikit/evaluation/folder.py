"""`t2ikit evaluate --images FOLDER` in code: image files of any origin, measured against a dataset.

Nothing is sampled and no prompt is known, so only metrics that compare the set of images as a whole are
computed: those that say `needs_prompts = False`.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from t2ikit import __version__
from t2ikit.config.toml import parse_setting
from t2ikit.core.interfaces import Dataset, Split
from t2ikit.core.metric import ImageSet, NotMeasured
from t2ikit.data.image_files import SUFFIXES, UNREADABLE, covering, open_image, to_channels
from t2ikit.errors import UserError, option
from t2ikit.evaluation.evaluator import few, measured, sort_settings
from t2ikit.evaluation.images import training_images
from t2ikit.evaluation.results import EvaluationOptions, EvaluationResult, check_measured
from t2ikit.metrics.identity import versions
from t2ikit.metrics.selection import SelectedMetric, fetch_missing, select_metrics
from t2ikit.recipes.datasets import open_dataset
from t2ikit.recipes.settings import Plugins
from t2ikit.registry.registry import Registry
from t2ikit.sampling.costs import Costs
from t2ikit.utils.images import as_rgb, from_pil, from_uint8
from t2ikit.utils.progress import phase
from t2ikit.utils.quoting import one_line

GRID = re.compile(r"grid(-\d{3,})?\.png")
"""What `t2ikit sample` puts beside its images."""
PROMPTS = "needs the prompts of the images, which a folder does not tell"


def measure_folder(
    folder: str | Path, options: EvaluationOptions, *, plugins: Plugins = ()
) -> EvaluationResult:
    """Measure image files against as many real images of a dataset; nothing is written.

    The real images are those that an evaluation of a run with equal n and seed compares with, where the data
    has as many different captions; else held-out images, then training images.

    Args:
        folder: holds the images, .png, .jpg and others that Pillow reads; not those of folders within it.
        options: `data` names the dataset; settings are those of metrics, and `data.KEY=VALUE`; of what is
            sampled only n and seed.
        plugins: files of plugins that the data or a metric needs.

    Raises:
        UserError: there are no images, or one cannot be read; no data is named; a metric needs prompts; or an
            option is of sampling.
    """
    _check_options(options)
    files, notes = _chosen(Path(folder).expanduser(), options.n)
    several = [plugins] if isinstance(plugins, (str, Path)) else plugins
    registry = Registry.load([str(plugin) for plugin in several])
    for_data = [setting for setting in options.settings if parse_setting(setting)[0][0] == "data"]
    for_metrics = sort_settings([one for one in options.settings if one not in for_data])[1]
    metrics = _without_prompts(select_metrics(registry, options.metrics, for_metrics), options.metrics)
    images = [_read(file) for file in files]
    dataset = open_dataset(registry, str(options.data), _with_size(for_data, images))
    _check_squares(dataset)
    image_set, more = _image_set(images, dataset, options.seed)
    count = len(image_set.images)
    metrics = fetch_missing(metrics, asked=bool(options.metrics))  # after all else is in order
    result = EvaluationResult(
        measures={},
        not_measured={},
        costs=Costs(0, 0.0, None),
        settings=_settings(Path(folder), files[:count], dataset, options.seed, metrics),
        image_set=image_set,
        notes=(*notes, *more, *few(count, count)),
        needs={name: metric.needs for name, metric in metrics.items() if metric.needs},
    )
    result = measured(metrics, result)
    check_measured([result])
    return result


def _check_options(options: EvaluationOptions) -> None:
    """Refuse options that are of sampling, and a missing dataset."""
    usual = EvaluationOptions()
    names = ("steps", "guidance", "sampler", "weights", "checkpoint", "ema")
    found = [option(name) for name in names if getattr(options, name) != getattr(usual, name)]
    found += [f"{option('set')} {one}" for one in options.settings if parse_setting(one)[0][0] == "sampler"]
    if found:
        raise UserError(
            f"{', '.join(found)} does not go with {option('images')}",
            expected="options of what is measured: data, metrics, n, seed",
            got="options of sampling, and nothing is sampled",
            fix=f"leave {'it' if len(found) == 1 else 'them'} out, or evaluate a run",
        )
    if options.data is None:
        raise UserError(
            f"{option('images')}: there is nothing to compare the images with",
            expected=f"{option('data')}: a dataset, such as a folder of captioned images or creatures",
            got=f"no {option('data')}",
            fix=f"add {option('data')} SPEC",
        )


def _chosen(folder: Path, most: int) -> tuple[list[Path], list[str]]:
    """The files to measure, evenly chosen where there are more than `most`, and what should be known."""
    if not folder.is_dir():
        raise UserError(
            f"{option('images')} {folder}: this is no folder",
            expected="a folder of image files",
            got="a file" if folder.exists() else "no such folder",
            fix="check the path",
        )
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    others = [file for file in files if not GRID.fullmatch(file.name)]
    if not others:
        raise UserError(
            f"{option('images')} {folder}: there are no images in it",
            expected="files such as 0001.png or cat.jpg, not in folders within it",
            got=f"{len(list(folder.iterdir()))} other files and folders",
            fix="give the folder that the images are in",
        )
    notes = ["grid.png is left out, which shows the others"] * (len(others) < len(files))
    if len(others) > most:
        notes.append(f"{most} of {len(others)} images are measured, evenly chosen; {option('n')} takes more")
        others = [others[place * len(others) // most] for place in range(most)]
    return others, notes


def _without_prompts(
    metrics: Mapping[str, SelectedMetric], asked: Sequence[str]
) -> dict[str, SelectedMetric]:
    """The metrics; those that need prompts are not measured, or refused where they were named.

    Raises:
        UserError: some were named.
    """
    found = [name for name, metric in metrics.items() if metric.needs_prompts]
    named = [name for name in found if name in asked or metrics[name].use in asked]
    if named:
        raise UserError(
            f"{option('metrics')} {','.join(named)}: {PROMPTS}",
            expected="metrics of the images as a whole: fid, precision-recall, colours, neighbours, ...",
            got=", ".join(named),
            fix="choose others, or evaluate the run that the images are of",
        )
    return {
        name: replace(one, error=NotMeasured(PROMPTS)) if name in found else one
        for name, one in metrics.items()
    }


def _read(file: Path) -> Image.Image:
    try:
        with open_image(file) as image:
            return to_channels(image)
    except UNREADABLE as error:
        raise UserError(
            f"{file}: this image cannot be read",
            expected="a whole image file",
            got=one_line(error),
            fix="repair it or take it out of the folder",
        ) from error


def _with_size(settings: Sequence[str], images: Sequence[Image.Image]) -> list[str]:
    """Settings of the data; where none is of the size, it is the images' most frequent shorter side."""
    if any(parse_setting(setting)[0] == ("data", "size") for setting in settings):
        return list(settings)
    (side, _), *_ = Counter(min(image.size) for image in images).most_common(1)
    return [*settings, f"data.size={min(max(side, 8), 1024)}"]


def _check_squares(dataset: Dataset) -> None:
    """Refuse data in buckets, whose images are not all of the shape that the folder's are brought to."""
    if dataset.shapes("validation") is not None:
        raise UserError(
            f"{option('images')}: images are compared with squares",
            expected="data.fit=crop, pad or stretch",
            got="data.fit=buckets",
            fix=f"{option('set')} data.fit=pad",
        )


def _image_set(images: Sequence[Image.Image], dataset: Dataset, seed: int) -> tuple[ImageSet, list[str]]:
    """Images of any size and as many real ones, and what should be known."""
    captions, real = _real(dataset, len(images), seed)
    notes, side = [], real.shape[-1]
    if len(real) < len(images):
        notes.append(f"only {len(real)} of {len(images)} images are measured: the data has no more")
        images = images[: len(real)]
    others = sum(image.size != (side, side) for image in images)
    notes += [f"{others} images are cut to squares or resized to {side} px"] * bool(others)
    shown = from_pil([one if one.size == (side, side) else covering(one, (side, side)) for one in images])
    train = training_images(dataset)
    train = None if train is None else as_rgb(train)
    return ImageSet(shown.contiguous(), captions, dataset, real, None, train), notes


def _real(dataset: Dataset, count: int, seed: int) -> tuple[list[str], Tensor]:
    """Captions, and real images (N, 3, H, W) in [-1, 1] of them, N at most `count`."""
    prompts = list(dict.fromkeys(dataset.prompts(count, seed)))
    found = dataset.images(prompts, seed) if len(prompts) == count else None
    if found is not None:
        return prompts, as_rgb(from_uint8(torch.stack(found)))
    places = _places(dataset, "validation", count)
    if dataset.indexed_training:
        places += _places(dataset, "train", count - len(places))
    records = [dataset.record(*place) for place in places]
    captions = [(*record.captions, "")[0] for record in records]
    return captions, as_rgb(from_uint8(torch.stack([record.image for record in records])))


def _places(dataset: Dataset, split: Split, most: int) -> list[tuple[Split, int]]:
    """Images of a split, evenly chosen where there are more than `most`."""
    size = dataset.size(split)
    return [(split, number * size // min(size, most)) for number in range(min(size, most))]


def _settings(
    folder: Path, files: Sequence[Path], dataset: Dataset, seed: int, metrics: Mapping[str, SelectedMetric]
) -> dict[str, Any]:
    """What the numbers depend on."""
    with phase("reading the images"):
        digest = hashlib.blake2b(digest_size=16)
        for file in files:
            digest.update(hashlib.blake2b(file.read_bytes()).digest())
    return {
        "images": folder.resolve().name,
        "contents": digest.hexdigest(),
        "data": dataset.fingerprint,
        "n": len(files),
        "seed": seed,
        "metrics": {name: metric.table() for name, metric in metrics.items()},
        "versions": {
            "t2ikit": __version__,
            "python": platform.python_version(),
            **versions("torch", "diffusers", "transformers", "numpy", "pillow"),
        },
    }
