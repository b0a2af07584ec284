"""Images with alpha and gray ones, from their files through training to what is sampled and measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import t2ikit
from conftest import TOYS
from t2ikit.cli import main
from t2ikit.data.image_files import read_image
from t2ikit.errors import UserError
from t2ikit.testing import check_dataset
from t2ikit.utils.grids import CHECK_LEVELS, fit
from t2ikit.utils.images import as_rgb, flattened, from_uint8, to_pil

SMALL = ["generator.channels=[8,8]", "generator.attention=[false,true]", "generator.head_width=8"]
UNET = [*SMALL, "generator.text_width=8", "generator.time_width=8"]
GAN = [
    "generator.channels=[8,8,8]",
    "generator.filters=[1,1,1]",
    "generator.attention=[false,true,false]",
    "generator.text_attention=[]",
    "generator.head_width=8",
    "critics.multiscale.channels=[8,8,8]",
    "critics.multiscale.attention=[false,true,false]",
    "critics.multiscale.head_width=8",
    "critics.multiscale.augment.brightness=0.5",
]
SHORT = ["data.size=16", "train.steps=2", "train.samples=1", "train.validation_images=2", "train.batch=2"]


def disc(size=24, colour=(200, 40, 10)):
    """A disc with soft edges on nothing, as RGBA."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    alpha = (255 * (size / 3 + 0.5 - np.hypot(rows, columns)).clip(0, 1)).astype(np.uint8)
    return Image.fromarray(np.dstack([np.full_like(rows, level, np.uint8) for level in colour] + [alpha]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sprites")
    for number in range(6):
        disc(colour=(40 * number, 200 - 30 * number, 90)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"disc number {number}")
    return folder


def test_colours_come_times_alpha_and_leave_as_they_were(tmp_path):
    disc().save(tmp_path / "disc.png")
    pixels = read_image(tmp_path / "disc.png", 24, channels=4)
    straight = np.asarray(disc()).astype(float)
    expected = straight[..., :3] * straight[..., 3:] / 255
    assert pixels.shape == (4, 24, 24)
    assert np.abs(pixels[:3].permute(1, 2, 0).numpy() - expected).max() <= 1
    (image,) = to_pil(from_uint8(pixels[None]))
    assert image.mode == "RGBA"
    back, shown = np.asarray(image), straight[..., 3] > 128
    assert np.abs(back[shown].astype(float) - straight[shown]).max() <= 2
    assert (back[..., 3] == straight[..., 3]).all()
    assert not back[straight[..., 3] == 0].any()


def test_on_white_it_is_what_pillow_composes(tmp_path):
    disc().save(tmp_path / "disc.png")
    pixels = from_uint8(read_image(tmp_path / "disc.png", 24, channels=4))
    expected = np.asarray(flattened(disc())).astype(float)
    assert np.abs(((as_rgb(pixels) + 1) * 127.5).permute(1, 2, 0).numpy() - expected).max() <= 2


def test_what_is_resized_takes_no_colour_from_what_is_not_seen(tmp_path):
    """Straight colours would mix with the black behind transparent pixels and darken the edge."""
    image = disc(96, (255, 255, 255))
    pixels = np.array(image)
    pixels[pixels[..., 3] == 0] = 0
    Image.fromarray(pixels).save(tmp_path / "disc.png")
    (small,) = to_pil(from_uint8(read_image(tmp_path / "disc.png", 16, channels=4)[None]))
    levels = np.asarray(small)
    assert levels[levels[..., 3] > 8][:, :3].min() >= 240


def test_padding_is_transparent(tmp_path):
    Image.new("RGB", (20, 10), "red").save(tmp_path / "wide.png")
    pixels = read_image(tmp_path / "wide.png", 20, "white", "pad", 4)
    assert not pixels[:, :4].any()
    assert pixels[3, 10].eq(255).all()
    gray = read_image(tmp_path / "wide.png", 20, "white", "pad", 1)
    assert gray.shape == (1, 20, 20)
    assert gray[0, 0, 0] == 255
    assert gray[0, 10, 10] == 76


def test_grids_show_a_checkerboard_behind():
    board = np.asarray(fit(Image.new("RGBA", (8, 8)), 32))
    assert set(np.unique(board)) == set(CHECK_LEVELS)
    half = np.asarray(fit(Image.new("RGBA", (8, 8), (255, 0, 0, 255)), 32))
    assert (half == (255, 0, 0)).all()


@pytest.mark.parametrize(("plugin", "settings"), [("imagen", UNET), ("gigagan", GAN)])
@pytest.mark.parametrize(("kind", "mode"), [("rgba", "RGBA"), ("gray", "L")])
def test_a_model_of_other_channels_trains_samples_and_exports(folder, tmp_path, plugin, settings, kind, mode):
    given = [*settings, *SHORT, f"data.channels={kind}"]
    run = t2ikit.train(plugin, set=given, data=str(folder), out=tmp_path / "run", device="cpu")
    assert json.loads((run.path / "run.json").read_text())["image_channels"] == len(mode)
    samples = t2ikit.sample(run, ["disc number 1"], n=2, device="cpu")
    assert samples.images.shape[-3] == len(mode)
    samples.save(tmp_path / "images")
    (first, _) = sorted(tmp_path.glob("images/*_*.png")) or sorted(tmp_path.glob("images/[!g]*.png"))
    assert Image.open(first).mode == mode
    export = t2ikit.export(run, "diffusers", out=tmp_path / "export")
    again = t2ikit.sample(export, ["disc number 1"], n=2, device="cpu")
    assert torch.equal(again.images, samples.images)
    measures = t2ikit.evaluate(run, metrics="colours", n=2, device="cpu").measures
    assert all(measure.value is not None for measure in measures.values())


def test_kept_on_the_device_they_are_the_same(folder, tmp_path):
    settings = [*UNET, *SHORT, "data.channels=rgba"]
    runs = [
        t2ikit.train(
            "imagen",
            set=[*settings, f"data.keep_on={where}"],
            data=str(folder),
            out=tmp_path / where,
            device="cpu",
        )
        for where in ("host", "device")
    ]
    one, other = (run.snapshot().tensors["generator"] for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_generator_of_rgb_alone_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="other channels"):
        t2ikit.train(
            str(TOYS), recipe="toys/denoiser", set=["data.channels=rgba", "train.steps=1"], data=str(folder),
            out=tmp_path / "run", device="cpu",
        )  # fmt: skip


def test_datasets_of_different_channels_do_not_mix(folder):
    with pytest.raises(UserError, match="different channels"):
        t2ikit.train(
            "imagen", set=[*UNET, *SHORT, "data.channels=rgba"], data=[str(folder), "creatures"], device="cpu"
        )


def test_a_sprite_is_edited_with_its_alpha(folder, tmp_path):
    run = t2ikit.train(
        "imagen",
        set=[*UNET, *SHORT, "data.channels=rgba"],
        data=str(folder),
        out=tmp_path / "r",
        device="cpu",
    )
    sprite = disc(16)
    kept = t2ikit.sample(run, ["disc"], n=1, image=sprite, strength=0, device="cpu").pil()[0]
    alpha = np.asarray(sprite)[..., 3]
    assert (np.asarray(kept)[..., 3] == alpha).all()
    shown = alpha > 128
    assert np.abs(np.asarray(kept)[shown].astype(int) - np.asarray(sprite)[shown]).max() <= 2


@pytest.mark.parametrize("kind", ["rgba", "gray"])
def test_what_looks_at_the_data_takes_them(folder, tmp_path, capsys, kind):
    settings = ["--set", f"data.channels={kind}", "--set", "data.size=16"]
    assert main(["data", str(folder), *settings, "--out", str(tmp_path / "sheet.png")]) == 0
    assert Image.open(tmp_path / "sheet.png").mode == "RGB"
    pngs = tmp_path / "pngs"
    pngs.mkdir()
    for number in range(3):
        disc(16, (40 * number, 90, 90)).save(pngs / f"{number}.png")
    words = ["evaluate", "--images", str(pngs), "--data", str(folder), "--metrics", "neighbours", *settings]
    assert main(words) == 0
    check_dataset("folder", spec=str(folder), channels=kind, size=16)
