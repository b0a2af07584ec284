"""Names of files in shards: which image and caption belong together, and what is said where none do."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from t2ikit.core.interfaces import Dataset, StreamingDataset
from t2ikit.errors import UserError
from t2ikit.recipes.datasets import open_dataset
from t2ikit.registry.registry import Registry

pytest.importorskip("webdataset")


def write(root: Path, files: dict[str, bytes | str | None]) -> str:
    """One shard; a file without content is an image."""
    image = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(image, "PNG")
    with tarfile.open(root / "s0.tar", "w") as shard:
        for name, content in files.items():
            data = (
                image.getvalue()
                if content is None
                else content.encode()
                if isinstance(content, str)
                else content
            )
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return f"wds:{root}/s0.tar"


def captions(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    if isinstance(dataset, StreamingDataset):
        records = dataset.records(0, 0, 1, 0)
        return {
            record.key.removeprefix("0/"): record.captions for record in (next(records) for _ in range(20))
        }
    records = (dataset.record("train", index) for index in range(dataset.size("train")))
    return {record.key: record.captions for record in records}


def load(spec: str, *, stream: bool, **options: str) -> Dataset:
    settings = ["data.size=8", "data.validation=0", f"data.stream={str(stream).lower()}"]
    return open_dataset(Registry.load(), spec, [*settings, *(f"data.{k}={v}" for k, v in options.items())])


NAMES = {
    "a dot in the folder and two in the names": (
        {
            "v1.5/red.orig.jpg": None,
            "v1.5/red.orig.txt": "red",
            "v1.5/blue.orig.jpg": None,
            "v1.5/blue.orig.txt": "blue",
        },
        {"v1.5/red.orig.jpg": ("red",), "v1.5/blue.orig.jpg": ("blue",)},
    ),
    "all before the number alike": (
        {
            "img.0001.png": None,
            "img.0001.txt": "one",
            "img.0002.png": None,
            "img.0002.json": '{"text": "two"}',
        },
        {"img.0001.png": ("one",), "img.0002.png": ("two",)},
    ),
    "webdataset's rule first": (
        {"cat.png": None, "cat.seg.png": None, "cat.txt": "a cat", "cat.meta.json": '{"text": "no"}'},
        {"cat.png": ("a cat",)},
    ),
    "a caption for the only image of its key": (
        {"./dog.v2.PNG": None, "./dog.txt": "a dog", "./dog.mask": "x"},
        {"dog.v2.PNG": ("a dog",)},
    ),
    "capitals, other endings and marks of encodings": (
        {"A.JPG": None, "A.TXT": "é".encode("utf-16"), "b.webp": None, "b.caption": "b"},
        {"A.JPG": ("é",), "b.webp": ("b",)},
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["indexed", "stream"])
@pytest.mark.parametrize("kind", NAMES)
def test_image_and_caption_find_each_other(kind: str, stream: bool, tmp_path: Path) -> None:
    files, wanted = NAMES[kind]
    dataset = load(write(tmp_path, files), stream=stream)
    assert captions(dataset) == wanted
    assert not dataset.warnings


def test_files_that_are_no_images_are_no_captions_either(tmp_path: Path) -> None:
    files = {
        "a.png": None,
        "a.txt": "a",
        "b.meta.json": "{}",
        "c.orig.txt": "x",
        "README": "x",
        ".d.png": None,
    }
    dataset = load(write(tmp_path, files), stream=False)
    assert captions(dataset) == {"a.png": ("a",)}
    assert not dataset.warnings


@pytest.mark.parametrize("stream", [False, True], ids=["indexed", "stream"])
def test_where_none_do_three_names_are_shown(stream: bool, tmp_path: Path) -> None:
    files = {f"part-{i}/x\x1b[1m.bin": "x" for i in range(5)}
    with pytest.raises(UserError, match=r"no captioned image in 1 shard\(s\)") as caught:
        load(write(tmp_path, files), stream=stream)
    assert caught.value.got == "part-0/x\\x1b[1m.bin, part-1/x\\x1b[1m.bin, part-2/x\\x1b[1m.bin"
    with pytest.raises(UserError, match="no file in them"):
        load(write(tmp_path, {}), stream=stream)
