"""The checks of metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_forward_pre_hook

from t2ikit.core.interfaces import Dataset
from t2ikit.core.metric import Download, ImageSet, Measure, NotMeasured
from t2ikit.registry.registry import Registry
from t2ikit.testing.report import Check, Trial, require_all
from t2ikit.testing.support import Subject, require, subject
from t2ikit.utils.images import as_rgb, as_saved, from_uint8

DRAWN, COUNT = 40, 131
"""Images that are taken from a dataset, and how many a metric is tried on: more than it is likely to take at
once, and a prime, which no size of a chunk divides."""
CONTROL = "shuffled/"
"""Begins the name of a number of images beside others' prompts, which may depend on the order."""
REPEATED = 2
"""Prompts with more images."""
Measures = dict[str, Measure]


def check_metric(
    name: str, registry: Registry | None = None, dataset: Dataset | None = None, /, **config: Any
) -> None:
    """Check a metric on held-out images and their own captions.

    Its numbers must not depend on the order of the images, nor on how many it takes at once. Unless it says
    `needs_prompts = False` or looks at several images per prompt, it is a mean over images.

    Args:
        name: of the metric.
        registry: where it is looked up; None takes the installed plugins.
        dataset: where images come from; None takes 32-pixel creatures.
        **config: its options.

    Raises:
        AssertionError: something of the interface does not hold.
    """
    require_all(METRIC_CHECKS, MetricTrial(subject("metrics", name, registry, config), dataset))


class MetricTrial(Trial):
    """A metric and the images it measures.

    Args:
        part: the metric.
        dataset: where images come from; None takes 32-pixel creatures.
    """

    def __init__(self, part: Subject, dataset: Dataset | None = None) -> None:
        self.part, self.title, self._dataset = part, part.title, dataset
        self.batch_norms: list[nn.Module] = []

    @cached_property
    def metric(self) -> Any:
        """The metric itself."""
        return self.part.build()

    @cached_property
    def images(self) -> ImageSet:
        """Held-out images, beside images of other prompts for real ones."""
        dataset = self._dataset
        if dataset is None:
            dataset = subject(
                "datasets", "t2ikit/creatures", self.part.registry, {"spec": "creatures"}
            ).build()
        drawn = min(DRAWN, dataset.size("validation"))
        records = [dataset.record("validation", index) for index in range(drawn)]
        place = torch.arange(COUNT)
        paler = 0.98 ** (place // drawn)[:, None, None, None]  # so that those shown again are not the same
        images = as_rgb(from_uint8(torch.stack([record.image for record in records])))[place % drawn]
        images = as_saved(images * paler)
        prompts = [records[at % drawn].captions[0] for at in range(COUNT)]
        real = images.flip(0)
        return ImageSet(images, prompts, dataset, real, real[:4].unflatten(0, (REPEATED, 2)), real)

    @cached_property
    def measures(self) -> Measures:
        """Of all the images; `batch_norms` are then those that worked on the statistics of their batch."""
        with _batch_norms() as self.batch_norms:
            return self.measure(self.images)

    @cached_property
    def ordered(self) -> ImageSet:
        """From dark to bright, so that odd ones meet in one chunk; the first prompts stay the first."""
        brightness = self.images.images.mean((1, 2, 3)).tolist()
        rest = sorted(range(REPEATED, len(brightness)), key=lambda at: brightness[at])
        return _taken(self.images, [*reversed(range(REPEATED)), *rest])

    @cached_property
    def ordered_measures(self) -> Measures:
        """Of the ordered images."""
        return self.measure(self.ordered)

    def measure(self, images: ImageSet, metric: Any = None) -> Measures:
        """What the metric, or another, gives for the images."""
        found: Measures = (self.metric if metric is None else metric)(images)
        return found


def _check_downloads(trial: MetricTrial) -> None:
    missing = trial.metric.downloads() if hasattr(trial.metric, "downloads") else []
    known = isinstance(missing, list) and all(isinstance(one, Download) for one in missing)
    require(known, f"{trial.title}: downloads() must be a list of t2ikit.Download, is {missing!r}")


def _check_measures(trial: MetricTrial) -> None:
    before = trial.images.images.clone()
    found = trial.measures
    require(torch.equal(trial.images.images, before), f"{trial.title} changed the images it was given")
    right = isinstance(found, dict) and bool(found)
    require(right, f"{trial.title} must give a dict of at least one t2ikit.Measure")
    for label, measure in found.items():
        _check_measure(f"{trial.title}: {label}", measure, len(before))


def _check_measure(title: str, measure: Measure, count: int) -> None:
    require(isinstance(measure, Measure), f"{title} must be a t2ikit.Measure")
    require(math.isfinite(measure.value), f"{title} is {measure.value}, must be finite")
    require(1 <= measure.n <= count, f"{title} says it saw {measure.n} images of {count}")
    both = (measure.low is None) == (measure.high is None)
    require(both, f"{title} has one end of an interval without the other")
    if measure.low is not None and measure.high is not None:
        slack = 1e-9 * max(1.0, abs(measure.value))  # of rounding
        inside = measure.low - slack <= measure.value <= measure.high + slack
        require(inside, f"{title}: {measure.value} is outside its interval")


def _check_repeats(trial: MetricTrial) -> None:
    again = trial.measure(trial.images)
    require(again == trial.measures, f"{trial.title} gave other numbers the second time")


def _check_order(trial: MetricTrial) -> None:
    found = trial.ordered_measures
    for label, one in trial.measures.items():
        if label.startswith(CONTROL):
            continue
        other = found.get(label)
        same = other is not None and _near(other.value, one.value)
        require(
            same,
            f"{trial.title}: {label} is {one.value:.6g}, and {other and other.value} in another order "
            "of the images",
        )


def _check_batch_size(trial: MetricTrial) -> None:
    """Neither an option that names a batch, nor a layer, nor the number of images decides the number."""
    for name in trial.part.entry.spec.config.model_fields:
        if "batch" in name or "chunk" in name:
            _check_option(trial, name)
    in_training = bool(trial.measures and trial.batch_norms)
    require(
        not in_training, f"{trial.title}: a batch norm ran in training mode, on the statistics of its batch"
    )
    if not getattr(trial.metric, "uses_images_per_prompt", False):
        _check_parts(trial)


def _check_option(trial: MetricTrial, name: str) -> None:
    for size in (1, 4):
        config = trial.part.config.model_copy(update={name: size})
        found = trial.measure(trial.images, replace(trial.part, config=config).build())
        for label, one in trial.measures.items():
            same = label in found and _near(found[label].value, one.value)
            require(same, f"{trial.title}: {label} is {one.value:.6g}, and another number with {name}={size}")


def _check_parts(trial: MetricTrial) -> None:
    """The numbers of two parts beside those of the whole."""
    orders = (range(COUNT // 3), range(COUNT // 3, COUNT))
    try:
        first, second = (trial.measure(_taken(trial.ordered, list(order))) for order in orders)
    except NotMeasured:  # of so few images
        return
    whole_set = not getattr(trial.metric, "needs_prompts", True)
    for label in set(trial.ordered_measures) & set(first) & set(second):
        a, b, whole = first[label], second[label], trial.ordered_measures[label]
        if whole.n != a.n + b.n or label.startswith(CONTROL):
            continue
        summed = _near(whole.value, a.value + b.value) and min(abs(a.value), abs(b.value)) > 1e-6
        mean = (a.n * a.value + b.n * b.value) / whole.n
        words = f"{a.value:.6g} on {a.n} images, {b.value:.6g} on {b.n} others and {whole.value:.6g} on all"
        require(not summed, f"{trial.title}: {label} grows with the number of images: {words}")
        require(
            whole_set or _near(whole.value, mean),
            f"{trial.title}: {label} depends on the number of images: {words}, where the mean is {mean:.6g}",
        )


def _taken(images: ImageSet, order: list[int]) -> ImageSet:
    """Some of the images, in an order; the first prompts stay the first where they are all there."""
    place = torch.tensor(order)
    first = order[:REPEATED]
    again = images.images_per_prompt
    repeated = again is not None and sorted(first) == list(range(REPEATED))
    return replace(
        images,
        images=images.images[place],
        prompts=[images.prompts[at] for at in order],
        real=None if images.real is None else images.real[place],
        images_per_prompt=again[torch.tensor(first)] if repeated and again is not None else None,
    )


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)


@contextmanager
def _batch_norms() -> Iterator[list[nn.Module]]:
    """The batch norms that are called meanwhile in training mode."""
    found: list[nn.Module] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, _BatchNorm) and module.training:
            found.append(module)

    handle = register_module_forward_pre_hook(look)
    try:
        yield found
    finally:
        handle.remove()


METRIC_CHECKS = (
    Check(
        "downloads",
        "a list of t2ikit.Download, if there is a method downloads()",
        "return [] once the files are there",
        _check_downloads,
    ),
    Check(
        "measures",
        "a dict of finite t2ikit.Measure, with n images each, and the images as they were",
        "see t2ikit.Measure; clone images before changing them in place",
        _check_measures,
        vital=True,
    ),
    Check("repeats", "the same numbers each time", "seed what is random in it", _check_repeats),
    Check(
        "order",
        "the same numbers in another order of the images",
        "average over images, not over chunks: sum over all and divide once; call eval() on networks",
        _check_order,
        after="repeats",
    ),
    Check(
        "batch size",
        "the same numbers however many images it takes at once",
        "average over images, not over chunks or a fixed number; call eval() on networks; a metric of the "
        "set as a whole (a distance, a diversity) says needs_prompts = False",
        _check_batch_size,
        after="repeats",
    ),
)
"""In the order they are run."""
