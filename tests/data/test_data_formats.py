"""The same captioned images in every format give the same batches; tables and shards that are wrong."""

from __future__ import annotations

import io
import itertools
import json
import multiprocessing
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2ikit.data import decoded_cache
from t2ikit.data.captioned import Captioned
from t2ikit.data.loader import BatchLoader
from t2ikit.errors import UserError
from t2ikit.recipes.datasets import open_dataset
from t2ikit.registry.registry import Registry

COUNT = 30


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load()


@pytest.fixture(scope="module")
def images() -> dict[str, tuple[bytes, tuple[str, ...]]]:
    """File names to contents and captions: of several sizes and kinds, some with two captions."""
    random = np.random.default_rng(0)
    made = {}
    for i in range(COUNT):
        width, height = (int(n) for n in random.integers(9, 40, 2))
        mode = ("RGB", "RGBA", "L")[i % 3]
        bands = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
        pixels = random.integers(0, 256, (height, width, bands), dtype=np.uint8).squeeze()
        ending, kind = (("png", "PNG"), ("webp", "WEBP"))[i % 2]
        content = io.BytesIO()
        Image.fromarray(pixels, mode).save(content, kind, **({"lossless": True} if kind == "WEBP" else {}))
        captions = (f"image {i}", f"another word for {i}") if i % 4 == 0 else (f"image {i}",)
        made[f"p{i:03}.{ending}"] = (content.getvalue(), captions)
    return made


def write_files(root: Path, images) -> Path:
    root.mkdir(parents=True)
    for name, (content, _) in images.items():
        (root / name).write_bytes(content)
    return root


def as_jsonl_folder(root: Path, images) -> str:
    write_files(root, images)
    rows = [{"file_name": name, "text": list(captions)} for name, (_, captions) in images.items()]
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(root)


def as_csv_folder(root: Path, images) -> str:
    write_files(root, images)
    rows = [f'{name},"{caption}"' for name, (_, captions) in images.items() for caption in captions]
    (root / "metadata.csv").write_text("\n".join(["file_name,text", *rows]))
    return str(root)


def as_pairs(root: Path, images) -> str:
    write_files(root, images)
    for name, (_, captions) in images.items():
        (root / name).with_suffix(".txt").write_text("\n".join(captions))
    return str(root)


def as_jsonl(root: Path, images) -> str:
    write_files(root, images)
    rows = [{"image": name, "caption": list(captions)} for name, (_, captions) in images.items()]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)))
    return str(root / "rows.jsonl")


def hub_rows(images):
    datasets = pytest.importorskip("datasets")
    rows = {
        "image": [{"bytes": content, "path": name} for name, (content, _) in images.items()],
        "text": [list(captions) for _, captions in images.values()],
    }
    text = datasets.Sequence(datasets.Value("string"))
    return datasets.Dataset.from_dict(rows, datasets.Features({"image": datasets.Image(), "text": text}))


def as_parquet(root: Path, images) -> str:
    root.mkdir()
    hub_rows(images).to_parquet(str(root / "rows.parquet"))
    return str(root / "rows.parquet")


def as_hub(root: Path, images) -> str:
    hub_rows(images).to_parquet(str(root / "owner" / "name" / "train.parquet"))
    return "hf:owner/name"  # `datasets` takes a folder of that name for the dataset


def as_shards(root: Path, images) -> str:
    pytest.importorskip("webdataset")
    root.mkdir()
    names = list(images)
    for number in range(3):
        with tarfile.open(root / f"shard-{number:03}.tar", "w") as shard:
            for name in names[number::3]:
                content, captions = images[name]
                stem = name.split(".")[0]
                text = (".txt", "\n".join(captions)) if number else (".json", json.dumps({"text": captions}))
                add(shard, name, content)
                add(shard, stem + text[0], text[1].encode())
    return f"wds:{root}/shard-{{000..002}}.tar"


def add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))


FORMATS = (as_jsonl_folder, as_csv_folder, as_pairs, as_jsonl, as_parquet, as_hub, as_shards)


def batches(dataset: Captioned) -> list:
    shares = BatchLoader(dataset, seed=3, batch=8)
    return [shares[step] for step in range(9)]


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_every_format_gives_the_same_batches(write, registry, images, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = open_dataset(registry, as_pairs(tmp_path / "expected", images), ["data.size=16"])
    if write is as_hub:
        (tmp_path / "data").mkdir()
        monkeypatch.chdir(tmp_path / "data")
        spec = as_hub(tmp_path / "data", images)
    else:
        spec = write(tmp_path / "data", images)
    dataset = open_dataset(registry, spec, ["data.size=16"])
    assert not dataset.warnings
    assert dataset.size("train") + dataset.size("validation") == COUNT
    assert dataset.fingerprint == expected.fingerprint
    assert dataset.prompts(5, 1) == expected.prompts(5, 1)
    for found, wanted in zip(batches(dataset), batches(expected), strict=True):
        assert torch.equal(found.images, wanted.images)
        assert (found.captions, found.wrong, found.all_captions) == (
            wanted.captions,
            wanted.wrong,
            wanted.all_captions,
        )
    validation = BatchLoader(dataset, 0, dataset.size("validation"), split="validation")[0]
    same = BatchLoader(expected, 0, expected.size("validation"), split="validation")[0]
    assert torch.equal(validation.images, same.images)


def test_templates_and_fit(registry, images, tmp_path) -> None:
    spec = as_pairs(tmp_path / "data", images)
    plain = open_dataset(registry, spec, ["data.size=16"])
    changed = open_dataset(
        registry,
        spec,
        ["data.size=16", 'data.templates=["{caption}", "a drawing of {caption}"]', "data.fit=pad"],
    )
    assert changed.fingerprint != plain.fingerprint
    for index in range(plain.size("train")):
        wanted = [t for c in plain.captions("train", index) for t in (c, f"a drawing of {c}")]
        assert list(changed.captions("train", index)) == wanted
    for place, (width, height) in enumerate(changed.decoded.sizes):
        image = changed.decoded.pixels[place]
        small = round(16 * min(width, height) / max(width, height))
        empty = (16 - small) // 2  # rows or columns before the image
        if empty:
            edge = image[:, :empty] if height < width else image[:, :, :empty]
            assert (edge == 255).all()
    for wrong in ('data.templates=["no place"]', "data.templates=[]", "data.fit=squeeze", "train.steps=3"):
        with pytest.raises(UserError):
            open_dataset(registry, spec, [wrong])


def test_columns_are_found_or_named(registry, images, tmp_path) -> None:
    pytest.importorskip("pyarrow")
    rows = hub_rows(images).rename_columns({"image": "photo", "text": "says"})
    path = tmp_path / "rows.parquet"
    rows.to_parquet(str(path))
    with pytest.raises(UserError, match=r"no column of images") as caught:
        open_dataset(registry, str(path), [])
    assert "photo, says" in str(caught.value)
    with pytest.raises(UserError, match="no column 'say'") as caught:
        open_dataset(registry, str(path), ["data.image_column=photo", "data.caption_column=say"])
    assert "did you mean 'says'" in str(caught.value)
    dataset = open_dataset(
        registry, str(path), ["data.size=16", "data.image_column=photo", "data.caption_column=says"]
    )
    assert dataset.size("train") + dataset.size("validation") == COUNT


def test_rows_without_names_or_images(registry, images, tmp_path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    contents = [content for content, _ in images.values()][:6]
    table = {"image": [*contents, None, b"junk"], "text": [*"abcdef", "g", "h"]}
    parquet.write_table(arrow.table(table), tmp_path / "x.parquet")
    dataset = open_dataset(registry, str(tmp_path / "x.parquet"), ["data.size=8"])
    assert dataset.size("train") + dataset.size("validation") == 6
    (warning,) = dataset.warnings
    for words in ("2 skipped, 6 images used", "row-00000006 (the row holds no image)", "row-00000007"):
        assert words in warning


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.parquet", b"no table", "this is no parquet file"),
        ("x.jsonl", b"", "there are no rows in it"),
        ("x.jsonl", b'{"image": "gone.png", "text": "a"}\n', "not there"),
        ("x.jsonl", b"nonsense\n", "not a JSON object"),
        ("x.tar", b"no archive", "cannot be read to its end"),
    ],
)
def test_tables_that_cannot_be_used(registry, tmp_path, name, content, words) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        open_dataset(registry, str(tmp_path / name), [])


@pytest.mark.parametrize("spec", ["gone.parquet", "gone.jsonl", "wds:gone-{000..003}.tar", "gone.tar"])
def test_files_that_are_not_there(registry, tmp_path, monkeypatch, spec) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"not there|no such file") as caught:
        open_dataset(registry, spec, [])
    assert "fix:" in str(caught.value)


def test_a_shard_that_ends_early_gives_what_it_has(registry, images, tmp_path) -> None:
    spec = as_shards(tmp_path / "data", images)
    shard = tmp_path / "data" / "shard-001.tar"
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    dataset = open_dataset(registry, spec, ["data.size=8"])
    count = dataset.size("train") + dataset.size("validation")
    assert 22 <= count < COUNT
    assert "shard-001.tar" in dataset.warnings[0]


def test_the_withdrawn_pokemon_set_is_explained(registry) -> None:
    with pytest.raises(UserError, match="no longer on the Hub") as caught:
        open_dataset(registry, "hf:lambdalabs/pokemon-blip-captions", [])
    assert "docs/pokemon.md" in str(caught.value)


def test_a_dataset_that_cannot_be_reached_is_explained(registry, tmp_path, monkeypatch) -> None:
    pytest.importorskip("datasets")
    import datasets
    import huggingface_hub.constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True, raising=False)
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        open_dataset(registry, "hf:somebody/nothing-of-the-kind", [])
    assert "stay offline (HF_HUB_OFFLINE)" in str(caught.value)
    assert "--data FOLDER" in str(caught.value)


def test_images_are_decoded_once_and_a_damaged_file_is_made_again(
    registry, images, tmp_path, monkeypatch
) -> None:
    decoded = []
    real = decoded_cache.read_image
    monkeypatch.setattr(decoded_cache, "read_image", lambda *a: decoded.append(1) or real(*a))
    spec = as_pairs(tmp_path / "data", images)
    settings = ["data.size=16", f"data.cache={tmp_path}/cache"]
    first = open_dataset(registry, spec, settings)
    assert len(decoded) == COUNT
    assert first.decoded.path.is_relative_to(tmp_path / "cache")
    second = open_dataset(registry, spec, settings)
    assert len(decoded) == COUNT
    assert second.decoded.pixels.equal(first.decoded.pixels)
    wanted = first.decoded.pixels.clone()
    spoiled = (lambda content: content[:-5], lambda content: b"x" + content[1:], lambda content: b"")
    for spoil, ending in itertools.product(spoiled, (".npy", ".json")):
        path = first.decoded.path.with_suffix(ending)
        path.write_bytes(spoil(path.read_bytes()))
        count = len(decoded)
        again = open_dataset(registry, spec, settings)
        assert len(decoded) == count + COUNT
        assert again.decoded.pixels.equal(wanted)
    changed = tmp_path / "data" / "p000.png"
    changed.write_bytes((tmp_path / "data" / "p002.png").read_bytes())
    assert not open_dataset(registry, spec, settings).decoded.pixels.equal(wanted)
    files = (tmp_path / "cache" / "images").iterdir()
    assert {path.suffix for path in files} == {".npy", ".json", ".lock"}


@pytest.mark.parametrize("where", ["read_image", "write_json"])
def test_a_cache_killed_half_way_is_not_taken_for_whole(
    registry, images, tmp_path, monkeypatch, where
) -> None:
    spec = as_pairs(tmp_path / "data", images)
    settings = ["data.size=16", f"data.cache={tmp_path}/cache"]
    wanted = open_dataset(registry, spec, ["data.size=16"]).decoded.pixels
    real, calls = getattr(decoded_cache, where), []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 5 or where == "write_json":
            os._exit(9)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(decoded_cache, where, killed)
        process = multiprocessing.get_context("fork").Process(
            target=open_dataset, args=(registry, spec, settings)
        )
        process.start()
        process.join()
    assert process.exitcode == 9
    assert any(path.suffix in (".npy", ".partial") for path in (tmp_path / "cache" / "images").iterdir())
    monkeypatch.setattr(decoded_cache, where, lambda *a: calls.append(a) or real(*a))
    assert open_dataset(registry, spec, settings).decoded.pixels.equal(wanted)
    assert len(calls) == (COUNT if where == "read_image" else 1)
    files = (tmp_path / "cache" / "images").iterdir()
    assert {path.suffix for path in files} == {".npy", ".json", ".lock"}


def test_a_cache_that_cannot_be_written_is_explained(registry, images, tmp_path) -> None:
    spec = as_pairs(tmp_path / "data", images)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be kept there") as caught:
        open_dataset(registry, spec, [f"data.cache={tmp_path}/file"])
    assert "T2IKIT_CACHE" in str(caught.value)


def test_relative_paths_are_remembered_whole(registry, images, tmp_path, monkeypatch) -> None:
    from t2ikit.recipes.read import read_recipe

    monkeypatch.chdir(tmp_path)
    as_shards(tmp_path / "data", images)
    as_jsonl(tmp_path / "lines", images)
    as_pairs(tmp_path / "creatures", images)  # which a bare name does not mean
    for spec, wanted in (
        ("wds:data/shard-{000..002}.tar", f"wds:{tmp_path}/data/shard-{{000..002}}.tar"),
        ("lines/rows.jsonl", f"{tmp_path}/lines/rows.jsonl"),
        ("hf:owner/name", "hf:owner/name"),
        ("creatures", "creatures"),
        ("./creatures", f"{tmp_path}/creatures"),
    ):
        chosen = read_recipe(Registry.load(["imagen"]), None, data=spec)
        assert chosen.table()["data"]["spec"] == wanted.replace("/", os.sep)
