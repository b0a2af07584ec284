"""Layouts that name splits are kept: folders, files of a folder, splits of a dataset."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from conftest import TOYS
from t2ikit.core.interfaces import Split
from t2ikit.data.captioned import Captioned
from t2ikit.data.doctor.survey import survey
from t2ikit.data.image_files import read_image
from t2ikit.errors import UserError
from t2ikit.evaluation.data import evaluation_data
from t2ikit.recipes.datasets import open_dataset
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.runs.create import create_run
from t2ikit.runs.open import open_run
from t2ikit.text.builtin import default_encoder
from t2ikit.training.start import start_run


def ppm(number: int) -> bytes:
    """An image whose file is the same whatever wrote it."""
    return b"P6 8 8 255\n" + bytes((40 * number + k) % 256 for k in range(192))


def layout(root: Path, *names: str) -> str:
    """A folder of images, each with a caption that says where it is."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ppm(number))
        path.with_suffix(".txt").write_text(f"image {name}")
    return str(root)


def load(spec: str, *settings: str) -> Captioned:
    dataset = open_dataset(Registry.load(), spec, ["data.size=8", *settings])
    assert isinstance(dataset, Captioned)
    return dataset


def captions(dataset: Captioned, split: Split) -> set[str]:
    return {c for index in range(dataset.size(split)) for c in dataset.captions(split, index)}


def places(dataset: Captioned) -> tuple[set[str], set[str]]:
    """The first folders of what is trained on and of what is held out."""
    train, held_out = (captions(dataset, split) for split in ("train", "validation"))
    return (
        {c.split()[1].rpartition("/")[0] for c in train},
        {c.split()[1].rpartition("/")[0] for c in held_out},
    )


# Folders

TRAIN_TEST = ("train/a.ppm", "train/b.ppm", "test/c.ppm")
LAYOUTS = {
    "train and test": (TRAIN_TEST, {"train"}, {"test"}, ()),
    "train and validation": (("train/a.ppm", "validation/c.ppm"), {"train"}, {"validation"}, ()),
    "validation before test": (
        ("train/a.ppm", "validation/c.ppm", "test/d.ppm", "test/e.ppm"),
        {"train"},
        {"validation"},
        ("test/ (2)",),
    ),
    "val, in capitals": (("Train/a.ppm", "VAL/c.ppm"), {"Train"}, {"VAL"}, ()),
    "valid and classes": (
        ("train/cat/a.ppm", "train/dog/b.ppm", "valid/cat/c.ppm"),
        {"train/cat", "train/dog"},
        {"valid/cat"},
        (),
    ),
    "dev, below a folder": (("images/train/a.ppm", "images/dev/c.ppm"), {"images/train"}, {"images/dev"}, ()),
    "other things beside": (
        ("train/a.ppm", "test/c.ppm", "extra/d.ppm", "e.ppm"),
        {"train"},
        {"test"},
        ("extra/ (1)", "beside train/ (1)"),
    ),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_folders_that_name_splits_are_kept_and_said(kind: str, tmp_path: Path) -> None:
    names, train, held_out, unused = LAYOUTS[kind]
    dataset = load(layout(tmp_path, *names))
    assert places(dataset) == (train, held_out)
    (note,) = dataset.notes
    assert note.startswith("splits: ")
    assert all(name in note for name in unused)
    assert ("not used" in note) == bool(unused)
    assert ("note", note) in survey(dataset, default_encoder()).rows
    assert set(dataset.prompts(9, 0)) == captions(dataset, "validation")


@pytest.mark.parametrize(
    "names",
    [
        ("a.ppm", "b.ppm", "c/d.ppm"),
        ("train/a.ppm", "train/b.ppm", "other/c.ppm"),
        ("test/a.ppm", "b.ppm"),
        ("trains/a.ppm", "tests/b.ppm"),
    ],
    ids=["none", "train alone", "test alone", "other words"],
)
def test_other_folders_are_split_by_names_as_before(names: tuple[str, ...], tmp_path: Path) -> None:
    dataset = load(layout(tmp_path, *names))
    assert dataset.notes == ()
    assert dataset.fingerprint == load(str(tmp_path), "data.splits=false").fingerprint


def test_fingerprints_of_other_folders_are_what_they_were(tmp_path: Path) -> None:
    plain = layout(tmp_path / "plain", "a.ppm", "b.ppm", "c/d.ppm")
    assert load(plain).fingerprint == "40e26b2f5f203ff14f6f62d8ed2fdaf6"
    named = layout(tmp_path / "named", *TRAIN_TEST)
    assert load(named, "data.splits=false").fingerprint == "da1f8398c7317e58b48a04ef6152df81"
    assert load(named).fingerprint != "da1f8398c7317e58b48a04ef6152df81"


def test_images_keep_their_split_whatever_lists_their_captions(tmp_path: Path) -> None:
    layout(tmp_path, *TRAIN_TEST)
    rows = [json.dumps({"file_name": name, "text": f"image {name}"}) for name in TRAIN_TEST]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    assert places(load(str(tmp_path / "rows.jsonl"))) == ({"train"}, {"test"})
    (tmp_path / "rows.jsonl").rename(tmp_path / "metadata.jsonl")
    assert places(load(str(tmp_path))) == ({"train"}, {"test"})


def test_without_a_share_to_hold_out_test_images_are_still_not_trained_on(tmp_path: Path) -> None:
    dataset = load(layout(tmp_path, *TRAIN_TEST), "data.validation=0")
    assert captions(dataset, "train") == {"image train/a.ppm", "image train/b.ppm"}
    assert dataset.size("validation") == 0
    assert "test/ is left out" in dataset.notes[0]


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_split_with_nothing_that_can_be_used_is_named(part: str, tmp_path: Path) -> None:
    spec = layout(tmp_path, "train/a.ppm", "test/c.ppm", "train/b.ppm", "test/d.ppm")
    for path in (tmp_path / part).glob("*.ppm"):
        path.write_bytes(b"broken")
    with pytest.raises(UserError, match=f"no captioned image of {part}/ can be used") as caught:
        load(spec)
    assert "data.splits=false" in str(caught.value)
    assert "a.ppm" in str(caught.value) or "c.ppm" in str(caught.value)


def test_training_says_it_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spec = layout(tmp_path / "data", *TRAIN_TEST)
    registry = Registry.load([str(TOYS)])
    settings = ["train.steps=1", "train.batch=2", "data.size=8", "losses.contrast.weight=0"]
    recipe = read_recipe(registry, "toys/denoiser", data=spec, settings=settings)
    start_run(registry, recipe, tmp_path / "run", device="cpu")
    line = "splits: 2 images of train/ to train on, 1 of test/ to validate on"
    assert capfd.readouterr().err.count(line) == 1


def test_a_run_from_before_goes_on_mixing_them(tmp_path: Path) -> None:
    spec = layout(tmp_path / "data", *TRAIN_TEST)
    registry = Registry.load([str(TOYS)])
    recipe = read_recipe(registry, "toys/denoiser", data=spec, settings=["data.size=8"])
    create_run(tmp_path / "run", recipe, registry, data="x", text="y", device="cpu")
    run = open_run(tmp_path / "run")
    assert run.table["data"]["splits"] is True
    assert run.recipe(registry, sampling=False).parts["data"].config.splits
    old = {key: value for key, value in run.table["data"].items() if key != "splits"}
    run.table["data"] = old  # as an older version wrote it
    assert not run.recipe(registry, sampling=False).parts["data"].config.splits
    assert evaluation_data(run, registry, None).fingerprint == load(spec, "data.splits=false").fingerprint
    assert evaluation_data(run, registry, spec).fingerprint == load(spec).fingerprint


# Files of a folder


def write_parquet(path: Path, names: list[str], group: int = 2) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": ppm(int(name[1:])), "path": f"{name}.ppm"} for name in names]
    table = arrow.table({"image": cells, "text": [f"image {path.stem}/{name}" for name in names]})
    parquet.write_table(table, path, row_group_size=group)


def write_tar(path: Path, names: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name in names:
            text = f"image {path.stem}/{name}".encode()
            for ending, content in (("ppm", ppm(int(name[1:]))), ("txt", text)):
                member = tarfile.TarInfo(f"{name}.{ending}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))


Write = Callable[[Path, list[str]], None]
KINDS: dict[str, Write] = {"parquet": write_parquet, "tar": write_tar}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        ("data/train-00000-of-00002", "data/test-00000-of-00001"),
        ("default/train/0000", "default/validation/0000"),
        ("my-set_train", "my-set_val"),
    ],
)
def test_a_folder_of_parquet_or_tar_files_opens_and_keeps_its_splits(
    kind: str, train: str, held_out: str, tmp_path: Path
) -> None:
    second = train.replace("00000-of", "00001-of").replace("/0000", "/0001").replace("_train", "_train2")
    files = {train: ["p0", "p1", "p2"], second: ["p0", "p3", "p4"], held_out: ["p0", "p5"]}
    for name, images in files.items():
        KINDS[kind](tmp_path / f"{name}.{kind}", images)
    (tmp_path / "README.md").write_text("a card")
    Image.new("RGB", (9, 9)).save(tmp_path / "thumbnail.png")
    dataset = load(str(tmp_path))
    stems = [Path(name).name for name in files]
    assert captions(dataset, "train") == {
        f"image {stem}/{p}" for stem in stems[:2] for p in files[train if stem == stems[0] else second]
    }
    assert captions(dataset, "validation") == {f"image {stems[2]}/{p}" for p in files[held_out]}
    assert "to validate on" in dataset.notes[0]
    assert not dataset.warnings
    mixed = load(str(tmp_path), "data.splits=false")
    assert mixed.size("train") + mixed.size("validation") == 8
    assert mixed.notes == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_files_without_splits_is_one_set(kind: str, tmp_path: Path) -> None:
    KINDS[kind](tmp_path / f"part-0.{kind}", [f"p{i}" for i in range(6)])
    KINDS[kind](tmp_path / f"part-1.{kind}", [f"p{i}" for i in range(6, 12)])
    dataset = load(str(tmp_path))
    assert dataset.size("train") + dataset.size("validation") == 12
    images = load(layout(tmp_path / "images", *(f"p{i}.ppm" for i in range(12))))
    for split in ("train", "validation"):
        names = [entry.name for entry in dataset.entries[split]]
        assert names == [entry.name for entry in images.entries[split]]
        for index in range(dataset.size(split)):
            assert dataset.record(split, index).image.equal(images.record(split, index).image)


def test_images_come_before_packed_files(tmp_path: Path) -> None:
    write_parquet(tmp_path / "old.parquet", ["p7", "p8"])
    assert captions(load(layout(tmp_path, "a.ppm", "b.ppm"), "data.validation=0"), "train") == {
        "image a.ppm",
        "image b.ppm",
    }


def test_rows_are_read_by_groups_and_from_another_process(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", [f"p{i}" for i in range(7)], group=3)
    source = load(str(tmp_path / "x.parquet")).source
    again = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own, as a worker process gets it
    for entry in source.entries:
        assert again.read(entry) == source.read(entry) == ppm(int(entry.name[1]))
        assert again.identity(entry) == source.identity(entry)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("data/train-0.parquet", b"no table", ("this is no parquet file",)),
        ("train-0.tar", b"no archive", ("cannot be read to its end",)),
        ("photos.zip", b"PK", ("unpack", "python -m zipfile -e")),
        ("my set/train.tar.gz", b"x", ("unpack", "tar -xf", "my set/train.tar.gz'")),
    ],
)
def test_a_folder_of_files_that_cannot_be_used_says_what_to_do(
    name: str, content: bytes, words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        load(str(tmp_path))
    for word in words:
        assert word in str(caught.value)


# Datasets of the Hub


def test_a_dataset_of_the_hub_keeps_its_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    for split, names in (("train", ["p0", "p1", "p2"]), ("test", ["p0", "p4"]), ("extra", ["p5"])):
        rows = {
            "image": [{"bytes": ppm(int(name[1:])), "path": f"{name}.ppm"} for name in names],
            "text": [f"image {split}/{name}" for name in names],
        }
        path = tmp_path / "owner" / "name" / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(rows, kinds).to_parquet(str(path))
    monkeypatch.chdir(tmp_path)
    dataset = load("hf:owner/name")
    assert places(dataset) == ({"train"}, {"test"})
    assert dataset.size("train") == 3
    alone = load("hf:owner/name:train")
    assert alone.notes == ()
    assert captions(alone, "train") | captions(alone, "validation") == captions(dataset, "train")
    assert load("hf:owner/name", "data.splits=false").fingerprint == alone.fingerprint


@pytest.mark.parametrize(
    ("fit", "done"),
    [("crop", "cropped to their centre; --set data.fit=pad keeps all of them"), ("pad", "padded")],
)
def test_what_is_done_to_images_that_are_not_square_is_said(tmp_path, fit, done):
    for name, size in {"a": (20, 10), "b": (10, 10), "c": (10, 30)}.items():
        Image.new("RGB", size, "red").save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(name)
    dataset = load(str(tmp_path), "data.size=8", f"data.fit={fit}")
    assert dataset.notes == (f"2 of 3 images are not square: {done}",)


def test_stretched_images_keep_their_edges(tmp_path):
    image = Image.new("RGB", (40, 10), "white")
    image.paste("red", (0, 0, 10, 10))
    image.save(tmp_path / "wide.png")
    pixels = read_image(tmp_path / "wide.png", 16, fit="stretch")
    assert pixels[1, :, :3].eq(0).all()  # the red quarter is still a quarter
    assert pixels[1, :, 5:].eq(255).all()


def test_images_whose_captions_say_left_are_not_mirrored(tmp_path):
    for name, caption in {"a": "a cat", "b": "a cat to the Left", "c": "leftovers", "d": "a dog"}.items():
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(caption)
    settings = ["data.size=8", "data.validation=0", "data.flip=true"]
    dataset = load(str(tmp_path), *settings)
    keys = [dataset.record("train", index).key for index in range(dataset.size("train"))]
    mirrored = [key.split(".")[0] for key in keys if key.endswith("#mirrored")]
    assert (len(keys), mirrored) == (7, ["a", "c", "d"])
    every = load(str(tmp_path), *settings, "data.no_flip=[]")
    assert every.size("train") == 8
    assert every.fingerprint != dataset.fingerprint
