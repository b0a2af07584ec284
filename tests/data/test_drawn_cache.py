"""Creatures are drawn once: in this run, in a later one, and whatever other processes do meanwhile."""

from __future__ import annotations

import copy
import multiprocessing

import pytest
import torch

from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures import dataset, drawn_cache
from t2ikit.data.creatures.dataset import Creatures

CONFIG = CreaturesConfig(size=16, count=24)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("T2IKIT_CACHE", str(tmp_path))
    return tmp_path / "images"


@pytest.fixture
def drawn(monkeypatch) -> list[int]:
    """The side of each creature that is drawn."""
    sides: list[int] = []
    draw = dataset.draw

    def watched(attributes, size, rng):
        sides.append(size)
        return draw(attributes, size, rng)

    monkeypatch.setattr(dataset, "draw", watched)
    return sides


def images(data: Creatures) -> torch.Tensor:
    places = [(split, index) for split in ("train", "validation") for index in range(data.size(split))]
    return torch.stack([data.record(*place).image for place in places])


def plain(monkeypatch) -> torch.Tensor:
    """The images without a cache."""
    with monkeypatch.context() as patch:
        patch.setattr(drawn_cache, "MOST_BYTES", 0)
        return images(Creatures(CONFIG))


def test_a_second_epoch_or_run_draws_nothing(drawn, monkeypatch):
    wanted = plain(monkeypatch)
    drawn.clear()
    data = Creatures(CONFIG)
    for again in (data, data, Creatures(CONFIG), copy.deepcopy(data)):
        assert torch.equal(images(again), wanted)
    assert len(drawn) == 24
    images(Creatures(CONFIG.model_copy(update={"seed": 1})))
    assert len(drawn) == 48


def test_what_was_not_written_to_its_end_is_drawn_again(folder, drawn, monkeypatch):
    wanted = plain(monkeypatch)
    data = Creatures(CONFIG)
    images(data)
    path = next(folder.glob("*.npy"))
    content = bytearray(path.read_bytes())
    content[-16 * 16 * 3 :] = bytes(16 * 16 * 3)  # the last row, as if the machine had stopped
    path.write_bytes(content)
    path.with_suffix(".marks").write_bytes(bytes(5) + path.with_suffix(".marks").read_bytes()[5:])
    drawn.clear()
    assert torch.equal(images(Creatures(CONFIG)), wanted)
    assert len(drawn) == 6
    path.write_bytes(content[:-100])
    assert torch.equal(images(Creatures(CONFIG)), wanted)
    assert len(drawn) == 30
    assert torch.equal(images(Creatures(CONFIG)), wanted)
    assert len(drawn) == 30


def fill(order: range) -> None:
    data = Creatures(CONFIG)
    for index in order:
        data.record("train", index)


def test_several_processes_fill_it_together(drawn, monkeypatch):
    wanted = plain(monkeypatch)
    drawn.clear()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pool.map(fill, [range(23), range(22, -1, -1), range(5, 20)])
    assert torch.equal(images(Creatures(CONFIG)), wanted)
    assert len(drawn) == 1  # the one image of validation


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    wanted = plain(monkeypatch)
    monkeypatch.setenv("T2IKIT_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("in the way")
    assert torch.equal(images(Creatures(CONFIG)), wanted)
    monkeypatch.setenv("T2IKIT_CACHE", str(tmp_path / "full"))
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(drawn_cache, "_put", lambda *_: (_ for _ in ()).throw(full))
    assert torch.equal(images(Creatures(CONFIG)), wanted)


def test_too_many_are_not_kept(folder, monkeypatch):
    monkeypatch.setattr(drawn_cache, "MOST_BYTES", 24 * 3 * 16 * 16 - 1)
    images(Creatures(CONFIG))
    assert not folder.exists()
