"""The reader of `creatures`: right on drawings it never saw, silent where there is nothing to read."""

import importlib.resources
from dataclasses import replace
from functools import cache
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from t2ikit.data.creatures.drawing import draw
from t2ikit.data.creatures.grammar import Attributes, all_attributes, is_trained, is_unseen_pair
from t2ikit.metrics.creature_reader import CreatureReader

NAMES = ("colours", "species", "action", "eyes")
SEED = 900_001
"""Not a seed of the script that made the reader."""


@cache
def reader() -> CreatureReader:
    return CreatureReader()


@cache
def shown() -> list[Attributes]:
    """Every fourth of the 8,192 combinations, shuffled."""
    every = list(all_attributes())
    Random(SEED).shuffle(every)
    return every[::4]


def tensor(images: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


@cache
def drawings() -> Tensor:
    return tensor([draw(a, 32, Random(SEED + i)) for i, a in enumerate(shown())])


@cache
def readings_of_drawings() -> list[Attributes]:
    return reader()(drawings())


def right(readings: list[Attributes], wanted: list[Attributes], name: str) -> float:
    return sum(getattr(r, name) == getattr(w, name) for r, w in zip(readings, wanted)) / len(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_at_least_99_percent_of_an_attribute_right_on_held_out_drawings(name):
    readings = readings_of_drawings()
    assert len(readings) >= 2000
    assert right(readings, shown(), name) >= 0.99


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("group", [is_unseen_pair, is_trained, lambda a: len(a.colours) == 1])
def test_as_right_on_each_group_of_drawings(name, group):
    """So that prompt accuracy can be compared between trained and never-trained captions."""
    pairs = [(r, w) for r, w in zip(readings_of_drawings(), shown()) if group(w)]
    assert len(pairs) > 200
    assert right(*zip(*pairs), name) >= 0.985


def test_every_choice_of_every_attribute_is_read():
    readings = readings_of_drawings()
    for name in NAMES:
        for value in {getattr(w, name) for w in shown()}:
            pairs = [(r, w) for r, w in zip(readings, shown()) if getattr(w, name) == value]
            floor = 0.95 if len(pairs) >= 100 else 0.85
            assert right(*zip(*pairs), name) >= floor, (name, value)


@pytest.mark.parametrize("size", [64, 96])
def test_larger_drawings_are_read_as_well(size):
    wanted = shown()[:400]
    readings = reader()(tensor([draw(a, size, Random(i)) for i, a in enumerate(wanted)]))
    for name in NAMES:
        assert right(readings, wanted, name) >= 0.98, name


@pytest.mark.parametrize(("noise", "blur"), [(0.1, 0.0), (0.0, 0.6), (0.08, 0.5)])
def test_slight_noise_and_blur_are_read_through(noise, blur):
    images = blurred(drawings()[:600], blur) if blur else drawings()[:600]
    images = images + noise * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    readings = reader()(images.clamp(-1, 1))
    for name in NAMES:
        assert right(readings, shown()[:600], name) >= 0.96, name


def test_shuffled_captions_are_met_by_chance_alone():
    readings, wanted = readings_of_drawings(), shown()[1:] + shown()[:1]
    for name, chance in (("colours", 1 / 64), ("species", 1 / 8), ("action", 1 / 4), ("eyes", 1 / 4)):
        spread = 4 * (chance * (1 - chance) / len(wanted)) ** 0.5
        assert abs(right(readings, wanted, name) - chance) < spread, name


def unreadable(images: Tensor) -> list[bool]:
    return [all(getattr(r, name) is None for name in NAMES) for r in reader()(images)]


def assert_unreadable(images: Tensor) -> None:
    found = unreadable(images.clamp(-1, 1))
    assert sum(found) >= 0.99 * len(found)


@pytest.mark.parametrize("scale", [0.05, 0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
@pytest.mark.parametrize("grain", [1, 4, 8])
def test_noise_is_unreadable(kind, scale, grain):
    g = torch.Generator().manual_seed(1)
    shape = (200, 3, 32 // grain, 32 // grain)
    noise = torch.randn(shape, generator=g) if kind == "gaussian" else torch.rand(shape, generator=g) * 2 - 1
    assert_unreadable(scale * noise.repeat_interleave(grain, 2).repeat_interleave(grain, 3))


def test_noise_of_larger_images_is_unreadable():
    assert_unreadable(torch.randn(200, 3, 64, 64, generator=torch.Generator().manual_seed(2)))


def test_plain_images_of_any_colour_are_unreadable():
    steps = torch.linspace(-1, 1, 9)
    colours = torch.cartesian_prod(steps, steps, steps)
    assert_unreadable(colours[:, :, None, None].expand(-1, 3, 32, 32))


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Pillow's blur: not the one that the reader was trained with."""
    whole = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return tensor([np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(sigma))) for p in whole])


@pytest.mark.parametrize(("size", "sigma"), [(32, 4), (32, 6), (32, 12), (64, 8)])
def test_blurred_drawings_are_unreadable(size, sigma):
    images = tensor([draw(a, size, Random(i)) for i, a in enumerate(shown()[:400])])
    assert_unreadable(blurred(images, sigma))


def test_eyeless_creatures_have_no_eye_colour_and_the_rest_is_read():
    wanted = [replace(a, eyes=None) for a in shown()[:1000]]
    readings = reader()(tensor([draw(a, 32, Random(i)) for i, a in enumerate(wanted)]))
    for name in NAMES:
        assert right(readings, wanted, name) >= (0.99 if name == "eyes" else 0.98), name


def test_shipped_weights_are_small_and_the_result_is_the_same_every_time():
    weights = importlib.resources.files("t2ikit.metrics").joinpath("creature_reader.safetensors")
    assert len(weights.read_bytes()) <= 600_000
    assert reader()(drawings()[:50]) == CreatureReader()(drawings()[:50], batch=7)


def test_no_images_no_readings():
    assert reader()(torch.zeros(0, 3, 32, 32)) == []
