"""Random crops: each showing of an image is of another part, as seed, step and image say."""

from __future__ import annotations

import itertools
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from t2ikit import UserError
from t2ikit.data.configs import FolderConfig, ShardsConfig
from t2ikit.data.doctor.survey import survey
from t2ikit.data.feed.resident import stays_on_device
from t2ikit.data.formats import folder as folders
from t2ikit.data.formats.folder import open_folder
from t2ikit.data.formats.shard_stream import open_shards
from t2ikit.data.loader import BatchLoader, StreamLoader
from t2ikit.data.mixing.mixed import Mixed
from t2ikit.data.mixing.mixed_stream import MixedStream
from t2ikit.text.builtin import default_encoder
from training_support import At, kill, no_curves, state_of, train_toy  # noqa: F401
from training_support import Killed as Stopped

SIZES = {"wide": (48, 24), "plain": (30, 30), "tall": (20, 40), "long": (90, 30)}
"""Width and height."""


def ramp(width: int, height: int) -> Image.Image:
    """Red grows from left to right, green from top to bottom."""
    red, green = np.linspace(0, 255, width)[None].repeat(height, 0), np.linspace(0, 255, height)[:, None]
    return Image.fromarray(np.stack([red, green.repeat(width, 1), 0 * red], -1).round().astype(np.uint8))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oblong")
    for place in range(16):
        kind = list(SIZES)[place % 4]
        ramp(*SIZES[kind]).save(folder / f"{place:02}.png")
        (folder / f"{place:02}.txt").write_text(f"{kind} red {place}")
    return folder


def opened(folder, **options):
    usual = {"size": 8, "crop": "random", "validation": 0.3}
    return open_folder(FolderConfig(spec=str(folder), **{**usual, **options}))


def start(image) -> tuple[int, int]:
    """Mean of red and of green, which say where a crop lies."""
    return round(float(image[0].float().mean())), round(float(image[1].float().mean()))


def test_records_are_the_centre_as_ever(data):
    found, centred = opened(data), opened(data, crop="center")
    for split in ("train", "validation"):
        for index in range(found.size(split)):
            image, other = found.record(split, index).image, centred.record(split, index).image
            assert image.shape == (3, 8, 8)
            assert (image.int() - other.int()).abs().max() <= 1
    assert found.fingerprint != centred.fingerprint
    assert found.shapes("train") is None


def test_crops_are_spread_over_all_of_an_image(data):
    found = opened(data, validation=0)
    wide, plain, tall, long = (
        [start(found.cropped("train", index, number).image) for number in range(60)] for index in range(4)
    )
    assert len(set(plain)) == 1
    assert len({green for _, green in wide}) == len({red for red, _ in tall}) == 1
    assert min(wide)[0] < 70 < 185 < max(wide)[0]
    assert {round(red, -1) for red, _ in long} <= set(range(80, 180)), "the middle 2:1 of 3:1"
    mirrored = opened(data, validation=0, flip=True)
    assert torch.equal(mirrored.cropped("train", 16, 5).image, mirrored.cropped("train", 0, 5).image.flip(-1))


def test_a_crop_is_a_function_of_seed_step_and_image(data):
    found = opened(data)
    loader, other = BatchLoader(found, 3, 6), BatchLoader(opened(data), 3, 6)
    batches = [loader[step].images for step in range(8)]
    assert torch.equal(other[5].images, batches[5]), "without the steps before"
    ranks = [BatchLoader(found, 3, 6, rank, 2)[5].images for rank in range(2)]
    assert torch.equal(torch.cat(ranks), batches[5])
    assert not torch.equal(BatchLoader(found, 4, 6)[5].images, batches[5])
    seen = {}
    for step in range(8):
        for caption, image in zip(loader[step].captions, batches[step], strict=True):
            seen.setdefault(caption, set()).add(start(image))
    assert max(len(places) for caption, places in seen.items() if "wide" in caption) > 2
    assert all(len(places) == 1 for caption, places in seen.items() if "plain" in caption)
    held_out = BatchLoader(found, 3, 2, split="validation")
    assert torch.equal(held_out[0].images[0], found.record("validation", 0).image)


def test_a_run_goes_on_bit_for_bit(data, tmp_path):
    recipe = {"data.spec": str(data), "data.size": 8, "data.crop": "random", "train.steps": 4}
    options = {**recipe, "train.save_every": 2, "train.log_every": 1}
    whole = train_toy(tmp_path / "whole", options)
    with pytest.raises(Stopped):
        train_toy(tmp_path / "killed", options, callbacks=[At(3, kill)])
    train_toy(resume=tmp_path / "killed")
    assert state_of(tmp_path / "killed") == state_of(whole.path)
    centred = train_toy(tmp_path / "centred", {**options, "data.crop": "center"})
    assert state_of(centred.path) != state_of(whole.path)


def test_streams_mixes_and_large_folders_crop_too(data, tmp_path, monkeypatch):
    for shard in range(2):
        with tarfile.open(tmp_path / f"s{shard}.tar", "w") as tar:
            for path in sorted(data.iterdir())[16 * shard : 16 * (shard + 1)]:
                tar.add(path, path.name)
    config = ShardsConfig(
        spec=f"wds:{tmp_path}/s{{0..1}}.tar", size=8, stream=True, crop="random", validation=0
    )
    stream = open_shards(config)
    assert any("cropped elsewhere each time" in note for note in stream.notes)

    monkeypatch.setattr(folders, "LARGE", 10)
    large = opened(data, captions="none", templates=("a thing",), validation=0)
    assert type(large).__name__ == "LargeFolder"
    assert any("cropped elsewhere each time" in note for note in large.notes)
    assert torch.equal(large.record("train", 0).image, opened(data, validation=0).record("train", 0).image)
    places = {start(large.cropped("train", 0, number).image) for number in range(9)}
    assert len(places) == 9

    parts = [opened(data, validation=0), large]
    mixed = BatchLoader(Mixed(parts, None, ["a", "b"]), 0, 8)
    assert torch.equal(mixed[2].images, BatchLoader(Mixed(parts, None, ["a", "b"]), 0, 8)[2].images)
    both = MixedStream([opened(data, validation=0), stream], None, ["a", "b"])
    first = [record.image for record in itertools.islice(both.records(0, 0, 1, 0), 40)]
    later = next(both.records(0, 0, 1, 33)).image
    assert torch.equal(later, first[33])
    assert len({start(image) for image in first}) > 12
    steps = StreamLoader(both, 0, 4).steps(2, 3)
    assert torch.equal(next(steps).images, torch.stack(first[8:12]))


def test_training_says_what_is_cropped(data, tmp_path):
    found = opened(data)
    (note,) = (note for note in found.notes if "not square" in note)
    assert note == (
        "12 of 16 images are not square: cropped elsewhere each time they are shown, held-out ones to their "
        "centre; of 4 that are longer than 2:1, the middle 2:1 is used"
    )
    rows = dict(survey(found, default_encoder()).rows)
    assert rows["not square"].startswith("12 (cropped elsewhere")
    for place in range(2):
        ramp(9, 9).save(tmp_path / f"{place}.png")
        (tmp_path / f"{place}.txt").write_text("a square")
    assert opened(tmp_path).notes == ("all images are square: data.crop=random changes nothing",)


@pytest.mark.parametrize("fit", ["pad", "stretch", "buckets"])
def test_what_leaves_nothing_to_choose_is_refused(fit):
    with pytest.raises(ValueError, match=f"crop=random needs fit=crop: fit={fit}"):
        FolderConfig(spec="x", fit=fit, crop="random")


def test_crops_come_from_the_host(data):
    config = FolderConfig(spec=str(data), crop="random")
    assert not stays_on_device(config, opened(data), torch.device("cpu"))
    with pytest.raises(UserError, match="several shapes"):
        stays_on_device(config.model_copy(update={"keep_on": "device"}), opened(data), torch.device("cpu"))
