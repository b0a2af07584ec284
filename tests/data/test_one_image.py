"""One captioned image to overfit: the first check of many."""

from __future__ import annotations

import pytest
from PIL import Image

import t2ikit
from conftest import TOYS
from t2ikit import UserError
from t2ikit.training.validation import SelectedImages, validation_data
from training_support import no_curves, train_toy

__all__ = ["no_curves"]
SETTINGS = {"data.validation": 0.0, "train.steps": 4, "train.log_every": 2, "train.prompts": []}
SAID = "no image is held out: validation losses are measured on the first training image"


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    Image.new("RGB", (20, 20), (200, 30, 30)).save(data / "a.png")
    (data / "a.txt").write_text("a red square")
    return data


@pytest.mark.parametrize("recipe", ["toys/denoiser", "toys/gan"])
def test_one_image_trains_and_is_validated_on(recipe, folder, tmp_path, capsys):
    run = train_toy(tmp_path / "run", SETTINGS, recipe=recipe, data=folder, progress=True)
    assert run.finished
    assert any(key.startswith("validation/") for key in run.log()[-1])
    assert " ".join(capsys.readouterr().err.split()).count(SAID) == 1
    assert run.grid is not None


def test_the_first_training_images_stand_in_for_held_out_ones(folder):
    for number in range(3):
        Image.new("RGB", (20, 20), (9, 9, 80 * number)).save(folder / f"b{number}.png")
        (folder / f"b{number}.txt").write_text(f"a blue square {number}")
    registry = t2ikit.Registry.load([str(TOYS)])
    options = {"data": folder, "registry": registry}
    part = t2ikit.read_recipe("toys/denoiser", set={"data.validation": 0.0}, **options).parts["data"]
    dataset = part.entry.spec.build(part.config, None)
    seen = validation_data(dataset)
    assert isinstance(seen, SelectedImages)
    assert seen.size("validation") == dataset.size("train") == 4
    assert (seen.record("validation", 2).image == dataset.record("train", 2).image).all()
    assert seen.captions("validation", 0) == dataset.captions("train", 0)
    part = t2ikit.read_recipe("toys/denoiser", set={"data.validation": 0.4}, **options).parts["data"]
    held_out = part.entry.spec.build(part.config, None)
    assert validation_data(held_out) is held_out


def test_a_stream_without_held_out_images_is_refused(folder):
    class Stream(SelectedImages):
        indexed_training = False

        def size(self, split):
            return 0

    with pytest.raises(UserError, match=r"data\.validation: a stream holds no image out"):
        validation_data(Stream(None, "train", ()))
