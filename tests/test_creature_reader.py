"""The reader of attributes: right on drawings, silent on what cannot be read."""

from __future__ import annotations

from random import Random

import pytest
import torch
import torch.nn.functional as F

from t2ikit.data.creatures_drawing import draw
from t2ikit.data.creatures_grammar import Attributes, all_attributes
from t2ikit.metrics.creature_reader import CreatureReader, Reading
from t2ikit.metrics.prompt_accuracy import measure, shuffle

COUNT = 2048


def picture(attributes: Attributes, rng: Random, size: int = 32) -> torch.Tensor:
    return torch.from_numpy(draw(attributes, size, rng).copy()).permute(2, 0, 1).float() / 127.5 - 1


@pytest.fixture(scope="module")
def reader():
    return CreatureReader()


@pytest.fixture(scope="module")
def drawn():
    """Drawings of a seed that training the reader never used, all attributes alike."""
    rng = Random("held out")
    wanted = [rng.choice(all_attributes()) for _ in range(COUNT)]
    return torch.stack([picture(a, rng) for a in wanted]), wanted


def blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """An independent Gaussian blur: by FFT, with periodic borders."""
    n = images.shape[-1]
    f = torch.fft.fftfreq(n)
    gain = torch.exp(-2 * (torch.pi * sigma) ** 2 * (f[:, None] ** 2 + f[None] ** 2))
    return torch.fft.ifft2(torch.fft.fft2(images) * gain).real


def is_unread(reading: Reading) -> bool:
    return reading == Reading(None, None, None, None)


@pytest.mark.slow
def test_at_least_99_per_cent_right_on_held_out_drawings(reader, drawn):
    images, wanted = drawn
    found = measure(list(zip(reader.read(images), wanted, strict=True)))
    print({name: round(m.value, 2) for name, m in found.items()})
    for name in ("colour", "species", "action", "eyes"):
        assert found[name].value >= 99, name
        assert found[name].n == COUNT


@pytest.mark.slow
def test_at_chance_on_shuffled_captions(reader, drawn):
    images, wanted = drawn
    found = measure(shuffle(list(zip(reader.read(images), wanted, strict=True))))
    chance = {"colour": 100 / 64, "species": 12.5, "action": 25, "eyes": 25}
    for name, share in chance.items():
        assert found[name].low - 1 <= share <= found[name].high + 1, (name, found[name])


@pytest.mark.slow
def test_larger_pictures_are_read_as_well(reader):
    rng = Random("large")
    wanted = [rng.choice(all_attributes()) for _ in range(200)]
    images = torch.stack([picture(a, rng, 64) for a in wanted])
    found = measure(list(zip(reader.read(images), wanted, strict=True)))
    assert min(found[name].value for name in ("colour", "species", "action", "eyes")) >= 97


@pytest.mark.slow
def test_unreadable_pictures_are_called_so(reader, drawn):
    g = torch.Generator().manual_seed(99)
    images = drawn[0][:500]
    coarse = torch.randn(300, 3, 8, 8, generator=g)
    kinds = {
        "gaussian": torch.randn(300, 3, 32, 32, generator=g).clamp(-1, 1),
        "faint": 0.2 * torch.randn(300, 3, 32, 32, generator=g),
        "uniform": torch.rand(300, 3, 32, 32, generator=g) * 2 - 1,
        "coarse": F.interpolate(coarse, size=32, mode="bilinear").clamp(-1, 1),
        "blank": (torch.rand(300, 3, 1, 1, generator=g) * 2 - 1).expand(-1, -1, 32, 32),
        "blurred": blurred(images, 4.0),
        "very blurred": blurred(images, 8.0),
    }
    for kind, pictures in kinds.items():
        share = sum(map(is_unread, reader.read(pictures))) / len(pictures)
        print(kind, share)
        assert share >= 0.99, (kind, share)


@pytest.mark.slow
def test_eyeless_bodies_have_no_eye_colour(reader):
    rng = Random("eyeless")
    wanted = [rng.choice(all_attributes()) for _ in range(600)]
    bare = [Attributes(a.colours, a.species, a.action, None) for a in wanted]
    readings = reader.read(torch.stack([picture(a, rng) for a in bare]))
    assert sum(reading.eyes is None for reading in readings) / len(readings) >= 0.99
