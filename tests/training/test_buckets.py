"""Images of several shapes: kept whole, batched by shape, trained, sampled and exported."""

from __future__ import annotations

import argparse
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import t2ikit
from conftest import TOYS
from t2ikit import UserError
from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset
from t2ikit.core.shapes import aspect_ratio, bucket_shapes, nearest
from t2ikit.data.captioned import Captioned
from t2ikit.data.configs import FolderConfig
from t2ikit.data.feed.order import BucketOrder
from t2ikit.data.formats import folder as folders
from t2ikit.data.formats.folder import open_folder
from t2ikit.data.loader import BatchLoader
from t2ikit.data.mixing.mixed import Mixed
from t2ikit.evaluation.images import Canvas
from t2ikit.exporters.export import export
from t2ikit.exporters.pipeline_calls import shape_called
from t2ikit.pipeline import TextToImagePipeline
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.training.start import start_run
from training_support import At, Killed, info_of, kill, no_curves, state_of, train_toy  # noqa: F401

SIZES = {"wide": (80, 40), "plain": (50, 50), "tall": (40, 80)}
"""Width and height."""
BUCKETS = {"data.fit": "buckets", "data.bucket_step": 4, "data.validation": 0.3}
IMAGEN = {
    **BUCKETS,
    "data.size": 16,
    "data.flip": True,
    "train.steps": 6,
    "train.batch": 4,
    "train.save_every": 3,
    "train.sample_every": 6,
    "train.validate_every": 3,
    "train.validation_images": 6,
    "train.log_every": 1,
    "train.samples": 1,
    "generator.channels": [16, 16],
    "generator.head_width": 16,
    "generator.attention": [False, True],
    "sampler.steps": 2,
}


def marked(width: int, height: int) -> Image.Image:
    """Grey, with a colour in each corner."""
    image, edge = np.full((height, width, 3), 128, np.uint8), min(width, height) // 5
    image[:edge, :edge], image[:edge, -edge:] = (255, 0, 0), (0, 255, 0)
    image[-edge:, :edge], image[-edge:, -edge:] = (0, 0, 255), (255, 255, 0)
    return Image.fromarray(image)


def corners(image: Tensor) -> list[list[int]]:
    return [image[:, y, x].tolist() for y in (0, -1) for x in (0, -1)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    for place in range(24):
        kind = list(SIZES)[place % 3]
        marked(*SIZES[kind]).save(folder / f"{place:02}.png")
        (folder / f"{place:02}.txt").write_text(f"a {kind} thing {place}")
    return folder


def opened(folder, **options) -> Captioned:
    usual = {"size": 16, "fit": "buckets", "bucket_step": 4, "validation": 0.3}
    return open_folder(FolderConfig(spec=str(folder), **{**usual, **options}))


@pytest.mark.parametrize(("size", "step"), [(32, 8), (64, 8), (64, 4), (256, 16)])
def test_buckets_are_multiples_of_about_as_many_pixels(size, step):
    shapes = bucket_shapes(size, step)
    assert (size, size) in shapes
    assert {(width, height) for height, width in shapes} == set(shapes)
    assert all(side % step == 0 for shape in shapes for side in shape)
    assert all(0.7 < height * width / size**2 < 1.3 for height, width in shapes)
    assert nearest(2, shapes)[1] == 2 * nearest(2, shapes)[0]
    assert all(any(abs(np.log(w / h / r)) < 0.13 for h, w in shapes) for r in (5 / 4, 4 / 3, 3 / 2, 16 / 9))


@pytest.mark.parametrize("given", ["3:1", "1:3", "0:2", "wide", "3:", "-1", 0.0, "2:1:1"])
def test_what_is_no_aspect_is_refused(given):
    with pytest.raises(UserError, match="cannot be sampled"):
        aspect_ratio(given)
    assert aspect_ratio("3:2") == aspect_ratio(1.5) == aspect_ratio("1.5") == 1.5


def test_nothing_is_cut_off(data, tmp_path):
    found = opened(data)
    for split in ("train", "validation"):
        shapes = found.shapes(split)
        for index in range(found.size(split)):
            record = found.record(split, index)
            width, height = SIZES[record.captions[0].split()[1]]
            assert record.image.shape[1:] == shapes[index] == nearest(width / height, bucket_shapes(16, 4))
            assert corners(record.image) == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]]
    assert len(set(found.shapes("train"))) == 3
    note = next(note for note in found.notes if "not square" in note)
    assert note.startswith("16 of 24 images are not square: in buckets")
    assert "at most 0% of a side cut off" in note
    again = opened(data)  # from the cache
    assert torch.equal(again.record("train", 3).image, found.record("train", 3).image)
    assert opened(data, fit="crop").shapes("train") is None
    assert len({opened(data, **one).fingerprint for one in ({}, {"fit": "pad"}, {"bucket_step": 8})}) == 3
    turned = marked(80, 40)  # the file lies on its side
    turned.getexif()[0x0112] = 6
    for name in "ab":
        turned.save(tmp_path / f"{name}.jpg", exif=turned.getexif())
        (tmp_path / f"{name}.txt").write_text("a turned thing")
    upright = opened(tmp_path, validation=0)
    assert upright.shapes("train") == [(24, 12)] * 2
    assert "at most 0% of a side cut off" in upright.notes[0]


def test_what_buckets_cut_off_is_said(tmp_path):
    for place, size in enumerate([(100, 25), (20, 20)]):
        Image.new("RGB", size).save(tmp_path / f"{place}.png")
        (tmp_path / f"{place}.txt").write_text("black")
    assert "at most 50% of a side cut off" in opened(tmp_path).notes[0]


class Shaped(Dataset):
    """Image i is filled with i; its width tells its shape."""

    def __init__(self, widths):
        self.widths = widths

    def size(self, split):
        return len(self.widths)

    def record(self, split, index):
        image = torch.full((3, 4, self.widths[index]), index, dtype=torch.uint8)
        return Record(image, self.captions(split, index), str(index))

    def captions(self, split, index):
        return (f"image {index}",)

    def prompts(self, n, seed):
        return [f"image {i}" for i in range(n)]

    def shapes(self, split):
        return [(4, width) for width in self.widths]

    @property
    def fingerprint(self):
        return "shaped"


MANY = Shaped([4] * 37 + [8] * 11 + [2] * 3 + [6])


def seen(loader: BatchLoader, steps: int) -> list[list[int]]:
    return [[int(image[0, 0, 0]) for image in loader[step].images] for step in range(steps)]


def test_all_of_a_bucket_are_shown_before_any_is_shown_again():
    steps = seen(BatchLoader(MANY, seed=3, batch=4), 520)
    shown: dict[int, list[int]] = {}
    for step in steps:
        widths = {MANY.widths[index] for index in step}
        assert len(widths) == 1
        shown.setdefault(widths.pop(), []).extend(step)
    for width, order in shown.items():
        own = {index for index, one in enumerate(MANY.widths) if one == width}
        rounds = [order[i : i + len(own)] for i in range(0, len(order) - len(own) + 1, len(own))]
        assert all(set(one) == own for one in rounds)
        assert abs(len(order) / 4 - 520 * len(own) / 52) < 3  # by its size, but for a few steps
    assert seen(BatchLoader(MANY, seed=4, batch=4), 30) != steps[:30]


def test_order_depends_on_seed_and_step_alone():
    whole = BatchLoader(MANY, seed=3, batch=4)
    for step in (2_000, 7, 1_500, 0):  # a resumed run begins anywhere
        fresh = BucketOrder(MANY.shapes("train"), 3, 4)
        assert [fresh(4 * step + i) for i in range(4)] == [int(x[0, 0, 0]) for x in whole[step].images]
        ranks = [BatchLoader(MANY, seed=3, batch=4, rank=rank, world=2)[step] for rank in (0, 1)]
        assert torch.equal(torch.cat([rank.images for rank in ranks]), whole[step].images)
        assert ranks[0].all_captions == whole[step].captions
    later = BatchLoader(MANY, seed=3, batch=4).steps(5, 9)
    assert [batch.captions for batch in later] == [whole[step].captions for step in range(5, 9)]


def test_a_mix_knows_the_shapes_of_its_parts():
    mix = Mixed([MANY, Squares()], [1, 1], ["a", "b"])
    shapes = mix.shapes("train")
    assert all(mix.record("train", i).image.shape[1:] == shapes[i] for i in range(0, mix.size("train"), 9))
    assert (5, 5) in shapes
    assert Mixed([Squares(), Squares()], None, ["a", "b"]).shapes("train") is None


class Squares(Shaped):
    def __init__(self):
        super().__init__([5] * 6)

    def record(self, split, index):
        return Record(torch.zeros(3, 5, 5, dtype=torch.uint8), ("nothing",), str(index))

    def shapes(self, split):
        return None


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return trained(data, tmp_path_factory.mktemp("runs") / "whole")


def trained(data, out, **options):
    how = {"device": "cpu", "progress": False, **options}
    return t2ikit.train(["imagen"], recipe="imagen/default", data=data, set=IMAGEN, out=out, **how)


def test_a_run_says_its_shapes_and_goes_on_bit_for_bit(run, data, tmp_path):
    counts = {(height, width): count for height, width, count in info_of(run.path)["image_shapes"]}
    assert set(counts) == set(bucket_shapes(16, 4)) == set(run.image_shapes)
    assert {shape for shape, count in counts.items() if count} == {(12, 24), (16, 16), (24, 12)}
    with pytest.raises(Killed):
        trained(data, tmp_path / "killed", callbacks=[At(5, kill)])
    t2ikit.train(resume=tmp_path / "killed", device="cpu", progress=False)
    assert state_of(tmp_path / "killed") == state_of(run.path)


def test_samples_have_the_aspect_that_is_asked_for(run, capsys):
    for aspect, shape in (("2:1", (12, 24)), (0.5, (24, 12)), ("1:1", (16, 16)), (None, (16, 16))):
        found = t2ikit.sample(run, "a thing", n=2, aspect=aspect, device="cpu", progress=False)
        assert found.images.shape == (1, 1, 2, 3, *shape)
        assert found.pil()[0].size == shape[::-1]
    one = t2ikit.sample(run, "a thing", n=1, aspect="2:1", device="cpu", progress=False)
    two = t2ikit.sample(run, ["a thing", "others"], n=1, aspect="2:1", device="cpu", progress=False)
    torch.testing.assert_close(one.images[0], two.images[0], atol=1e-4, rtol=1e-4)
    capsys.readouterr()
    t2ikit.sample(run, "a thing", n=1, aspect="3:2", device="cpu", progress=False)
    said = capsys.readouterr().err
    assert "the nearest shape is 20 x 12 px" in said
    assert "no image of 20 x 12 px was trained on" in said


def test_an_image_to_begin_at_is_cut_to_the_aspect(run):
    begun = t2ikit.sample(
        run, "a thing", n=1, image=marked(80, 40), strength=0, aspect="2:1", device="cpu", progress=False
    )
    assert corners((begun.images[0, 0, 0] + 1) / 2 * 255) == [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [255, 255, 0],
    ]


def test_an_export_makes_any_shape(run, tmp_path):
    folder = export(run.path, "diffusers", out=tmp_path / "exported")
    pipeline = TextToImagePipeline.from_pretrained(folder)
    made = pipeline("a thing", height=12, width=24, output_type="pt").images
    same = t2ikit.sample(run, "a thing", n=1, aspect="2:1", device="cpu", progress=False)
    torch.testing.assert_close(made, same.images[0, 0], atol=1e-5, rtol=1e-5)
    opened = t2ikit.sample(folder, "a thing", n=1, aspect="2:1", device="cpu", progress=False)
    assert torch.equal(opened.images, same.images)
    assert pipeline("a thing", height=24).images[0].size == (16, 24)
    assert pipeline.model().context.image_shapes == run.image_shapes
    with pytest.raises(ValueError, match="width=18: this model makes images of multiples of 4 pixels"):
        pipeline("a thing", width=18)
    with pytest.raises(ValueError, match="height=0"):
        pipeline("a thing", height=0)
    says = "height=8, width=64: images of this shape cannot be sampled; it takes width:height from 1:2 to 2:1"
    with pytest.raises(ValueError, match=says):
        pipeline("a thing", height=8, width=64)


def test_an_evaluation_measures_each_image_whole(run):
    found = t2ikit.evaluate(run, n=6, metrics=["neighbours"], device="cpu")
    assert any("white squares of 24 px" in note for note in found.notes)
    assert found.image_set.images.shape == found.image_set.real.shape == (6, 3, 24, 24)
    assert found.measures["neighbours/distance"].value > 0
    wide = 2 * torch.rand(3, 12, 24) - 1
    held = Canvas([(12, 24)], 24).hold([wide])[0]
    assert torch.equal(held[:, 6:18], wide)
    assert bool((held[:, :6] == 1).all() and (held[:, 18:] == 1).all())
    assert Canvas([(12, 24)], 12).hold([wide]).shape == (1, 3, 12, 12)
    of_squares = t2ikit.evaluate(run, data="creatures", n=4, metrics=["neighbours"], device="cpu")
    assert of_squares.image_set.images.shape[-2:] == of_squares.image_set.train.shape[-2:] == (16, 16)


def refused(match, data, plugin, recipe, **settings):
    registry = Registry.load([plugin] if plugin == str(TOYS) else ())
    words = [f"{key}={json.dumps(value)}" for key, value in {**BUCKETS, **settings}.items()]
    with pytest.raises(UserError, match=match) as error:
        start_run(registry, read_recipe(registry, recipe, data=str(data), settings=words), device="cpu")
    return str(error.value)


def test_what_cannot_work_is_refused(data, monkeypatch):
    small = {"data.size": 16}
    assert "data.fit=pad" in refused("toys/gan makes squares", data, str(TOYS), "toys/gan", **small)
    said = refused(
        "bucket_step: imagen/unet halves",
        data,
        "imagen",
        "imagen/default",
        **{"data.bucket_step": 2, **small},
    )
    assert "--set data.bucket_step=8" in said
    kept = {"data.keep_on": "device", **small}
    refused("several shapes cannot be kept on the device", data, str(TOYS), "toys/denoiser", **kept)
    refused("multiple of bucket_step", data, str(TOYS), "toys/denoiser", **{"data.size": 18})
    monkeypatch.setattr(folders, "LARGE", 3)
    with pytest.raises(UserError, match="opened one by one"):
        opened(data, captions="file_name", templates=("a {caption}",))


def test_an_aspect_is_read_before_anything_is_opened(tmp_path):
    for given in ("3:1", "wide", ""):
        with pytest.raises(UserError, match="images of this shape cannot be sampled"):
            t2ikit.sample(tmp_path / "none", "a thing", aspect=given, device="cpu")


def test_shapes_that_were_trained_on_have_no_limit():
    denoiser, odd = SimpleNamespace(shape_multiple=8), (8, 24)
    assert shape_called(16, denoiser, [odd], height=8, width=24) == odd
    with pytest.raises(ValueError, match="cannot be sampled"):
        shape_called(16, denoiser, height=8, width=24)


def test_models_of_squares_know_no_aspect(data, tmp_path):
    gan = train_toy(tmp_path / "gan", {"train.steps": 1, "train.sample_every": 9}, recipe="toys/gan")
    with pytest.raises(UserError, match="makes squares alone"):
        t2ikit.sample(gan, "a red square", aspect="2:1", device="cpu", plugins=TOYS, progress=False)
    with pytest.raises(UserError, match="compared with squares"):
        t2ikit.evaluate(
            images=data, data=data, set=[f"{k}={v}" for k, v in BUCKETS.items()] + ["data.size=16"]
        )


def test_squares_alone_are_said_to_be_all_that_was_trained_on(tmp_path, capsys):
    denoiser = train_toy(tmp_path / "denoiser", {"train.steps": 1})
    capsys.readouterr()
    found = t2ikit.sample(denoiser, "x", n=1, aspect="2:1", device="cpu", plugins=TOYS, progress=False)
    assert "trained on squares alone" in capsys.readouterr().err
    height, width = found.images.shape[-2:]
    assert width == pytest.approx(2 * height, abs=2)


def test_the_benchmark_cuts_samples_into_their_creatures():
    import aspect_buckets

    wanted = aspect_buckets.scenes(12, 5)
    assert aspect_buckets.caption(wanted[0]).count(" beside a ") == 1
    for fit in ("buckets", "pad"):
        options = argparse.Namespace(size=64)
        for kind in aspect_buckets.KINDS:
            asked = [scene for scene in wanted if scene[0] == kind]
            found = aspect_buckets.shares(aspect_buckets.real(options, fit, asked), kind, fit, asked)
            assert found["colour"] > 80
