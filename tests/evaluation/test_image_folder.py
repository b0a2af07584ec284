"""`t2ikit evaluate --images`: files of any origin against a dataset, by what needs no prompts."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

import t2ikit
from t2ikit import UserError
from t2ikit.cli import main
from t2ikit.core.metric import ImageSet
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.evaluation.images import training_images
from t2ikit.metrics.selection import select_metrics
from t2ikit.registry.registry import Registry
from t2ikit.utils.images import from_uint8, to_pil

COUNT, SIDE = 12, 16
CREATURES = Creatures(CreaturesConfig(spec="creatures", count=60, size=SIDE))
IMAGES = from_uint8(torch.stack([CREATURES.record("train", place).image for place in range(COUNT)]))
FREE = ["reader-distance", "colours", "neighbours"]


@pytest.fixture(autouse=True)
def few_training_images(monkeypatch):
    """As thousands of creatures take a second to draw."""
    monkeypatch.setattr("t2ikit.evaluation.images.MOST_TRAINING", 16)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "mine"
    path.mkdir()
    for place, image in enumerate(to_pil(IMAGES)):
        image.save(path / f"{place:03d}.png")
    return path


def measure(folder, **more):
    given = {"data": "creatures", "metrics": "colours", "set": ["data.count=60"], **more}
    return t2ikit.evaluate(images=folder, **given)


def test_the_numbers_are_those_of_an_evaluation_of_a_run_with_these_images(folder):
    """Which pairs each with a real image of the dataset's prompts."""
    found = measure(folder, metrics=FREE, n=COUNT)
    prompts = CREATURES.prompts(COUNT, 0)
    assert len(set(prompts)) == COUNT
    real = from_uint8(torch.stack(CREATURES.images(prompts, 0)))
    shown = ImageSet(IMAGES, prompts, CREATURES, real, None, training_images(CREATURES))
    metrics = select_metrics(Registry.load(), FREE, {})
    expected = {
        f"{name}/{label}": measure
        for name, metric in metrics.items()
        for label, measure in metric.measure(shown).items()
    }
    assert found.measures == expected
    assert found.measures["neighbours/distance"].value < found.measures["neighbours/real-distance"].value


def test_all_that_needs_no_prompts_is_measured_and_written_as_of_a_run(folder, tmp_path, capsys):
    words = ["evaluate", "--images", folder, "--data", "creatures", "--set", "data.count=60"]
    assert main([*map(str, words), "--json", str(tmp_path / "numbers.json")]) == 0
    table = json.loads((tmp_path / "numbers.json").read_text())
    assert {name.split("/")[0] for name in table["measures"]} == set(FREE)
    assert table["not_measured"]["prompt-accuracy"].startswith("needs the prompts of the images")
    assert "prompts" in table["not_measured"]["lpips"]
    assert "fid" in table["not_measured"]  # not downloaded unasked
    assert table["settings"]["n"] == COUNT
    assert table["costs"]["pictures"] == 0
    printed = capsys.readouterr().out
    assert "neighbours/distance" in printed
    assert "sampling an image" not in printed
    assert sorted(path.name for path in folder.iterdir()) == [f"{place:03d}.png" for place in range(COUNT)]


def test_other_sizes_are_resized_the_grid_is_left_out_and_more_than_n_are_evenly_chosen(folder):
    Image.new("RGBA", (40, 20)).save(folder / "002.png")
    for grid in ("grid.png", "grid-002.png"):
        Image.new("RGB", (90, 90)).save(folder / grid)
    found = measure(folder, n=6)
    assert found.image_set.images.shape == (6, 3, SIDE, SIDE)
    assert torch.equal(found.image_set.images[[0, 2, 3, 4, 5]], IMAGES[[0, 4, 6, 8, 10]])
    assert (found.image_set.images[1] == 1).all()  # transparent: on white
    notes = "; ".join(found.notes)
    assert "6 of 12 images are measured, evenly chosen" in notes
    assert "grid.png is left out" in notes
    assert "1 images are cut to squares or resized to 16 px" in notes
    assert measure(folder, n=6, set=["data.size=24", "data.count=60"]).image_set.real.shape[-1] == 24
    assert measure(folder).settings["contents"] != found.settings["contents"]


def test_data_with_fewer_captions_than_images_is_taken_by_its_images(folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for place, image in enumerate(to_pil(IMAGES[:8].flip(1))):
        image.save(data / f"{place}.png")
        (data / f"{place}.txt").write_text("a creature")
    found = measure(folder, data=str(data), set=[])
    assert len(found.image_set.real) == 8
    assert len({image.numpy().tobytes() for image in found.image_set.real}) == 8
    assert "only 8 of 12 images are measured: the data has no more" in found.notes


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"images": "gone"}, "images gone: this is no folder"),
        ({"images": "empty"}, "there are no images in it"),
        ({"images": "damaged"}, "a.png: this image cannot be read"),
        ({"data": None}, "there is nothing to compare the images with"),
        ({"metrics": "colours,prompt-accuracy"}, "metrics prompt-accuracy: needs the prompts"),
        ({"steps": 4}, "steps does not go with images"),
        ({"weights": "raw", "checkpoint": 3}, "weights, checkpoint does not go with images"),
        ({"set": ["sampler.eta=1"]}, "set sampler.eta=1 does not go with images"),
        ({"run": "runs/mine"}, "images does not go with a run"),
        ({"images": None}, "there is no run to evaluate"),
    ],
)
def test_mistakes_are_told(more, says, folder, tmp_path, monkeypatch):
    more = dict(more)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError) as error:
        measure(more.pop("images", folder), **more)
    assert says in str(error.value)


def test_a_sweep_needs_a_run(folder, capsys):
    assert main(["evaluate", "--images", str(folder), "--data", "creatures", "--sweep", "guidance=1,3"]) == 2
    assert "a sweep takes a run" in " ".join(capsys.readouterr().err.split())
