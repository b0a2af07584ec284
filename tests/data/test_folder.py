"""The folder dataset: what it reads, how it splits, and what it says about folders that are wrong."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import ValidationError

from t2ikit.data.captioned import MIRRORED, Captioned, split
from t2ikit.data.configs import FolderConfig, accepts_folder
from t2ikit.data.formats.folder import open_folder
from t2ikit.data.image_files import read_image
from t2ikit.data.source import Entry
from t2ikit.errors import UserError, did_you_mean

COLOURS = ("red", "lime", "blue", "yellow", "cyan", "magenta", "black", "white")


def save(path: Path, colour: object = "red", size: tuple[int, int] = (20, 12), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)  # type: ignore[arg-type]
    return path


def pairs(root: Path, count: int = 6) -> Path:
    for i in range(count):
        image = save(root / f"{i:03}.png", COLOURS[i % len(COLOURS)], size=(20 + i, 12))
        image.with_suffix(".txt").write_text(f"image {i}\n")
    return root


def metadata(root: Path, rows: list[object], name: str = "metadata.jsonl") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def load(root: Path, **options: object) -> Captioned:
    return open_folder(FolderConfig(spec=str(root), **{"size": 8, **options}))  # type: ignore[arg-type]


def everything(folder: Captioned) -> dict[str, tuple[str, ...]]:
    return {
        record.key: record.captions
        for part in ("train", "validation")
        for record in (folder.record(part, i) for i in range(folder.size(part)))  # type: ignore[arg-type]
    }


# What is read


def test_pairs_with_several_captions_in_nested_folders(tmp_path: Path) -> None:
    save(tmp_path / "a" / "cat.PNG").with_suffix(".txt").write_text(
        "\ufeffa  cat\n\n the cat \n", encoding="utf-8"
    )
    save(tmp_path / "b" / "c" / "dog.jpg").with_suffix(".txt").write_text("a dög", encoding="utf-8")
    save(tmp_path / ".hidden" / "x.png")
    (tmp_path / "README.txt").write_text("not a caption")
    folder = load(tmp_path)
    assert everything(folder) == {"a/cat.PNG": ("a cat", "the cat"), "b/c/dog.jpg": ("a dög",)}
    assert folder.source.unused == []


def test_metadata_strings_lists_repeats_and_nested_files(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "sub/c.png", "sub/unused.png"):
        save(tmp_path / name)
    rows = [
        {"file_name": "a.png", "text": "one"},
        {"file_name": "a.png", "text": ["two", " ", "one"]},
        {"file_name": "./b.png", "caption": "bee", "id": 7},
    ]
    metadata(tmp_path, rows)
    metadata(tmp_path / "sub", [{"file_name": "c.png", "text": "sea"}])
    folder = load(tmp_path)
    assert everything(folder) == {"a.png": ("one", "two"), "b.png": ("bee",), "sub/c.png": ("sea",)}
    assert folder.source.unused == ["sub/unused.png"]


def test_caption_column_chooses_the_key(tmp_path: Path) -> None:
    rows = []
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
        rows.append({"file_name": name, "text": "wrong", "prompt": f"right {name}"})
    metadata(tmp_path, rows)
    found = everything(load(tmp_path, caption_column="prompt"))
    assert found == {"a.png": ("right a.png",), "b.png": ("right b.png",)}


def test_records_are_uint8_squares_and_the_same_every_time(tmp_path: Path) -> None:
    pairs(tmp_path)
    cached, decoded = load(tmp_path), load(tmp_path, cache=str(tmp_path / "another"))
    for index in range(cached.size("train")):
        record = cached.record("train", index)
        assert record.image.shape == (3, 8, 8)
        assert record.image.dtype == torch.uint8
        assert torch.equal(record.image, decoded.record("train", index).image)
        assert record.captions == cached.captions("train", index)
    assert cached.fingerprint == decoded.fingerprint
    with pytest.raises(IndexError):
        cached.record("train", cached.size("train"))


def test_flip_adds_mirrored_training_images_only(tmp_path: Path) -> None:
    pairs(tmp_path)
    gradient = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (24, 1))
    for i in range(6):
        Image.fromarray(gradient).save(tmp_path / f"{i:03}.png")
    plain, flipped = load(tmp_path), load(tmp_path, flip=True)
    count = plain.size("train")
    assert flipped.size("train") == 2 * count
    assert flipped.size("validation") == plain.size("validation")
    a, b = flipped.record("train", 0), flipped.record("train", count)
    assert b.key == a.key + MIRRORED
    assert torch.equal(b.image.flip(-1), a.image)
    assert not torch.equal(a.image, b.image)
    assert plain.fingerprint != flipped.fingerprint


def test_no_torch_for_the_config() -> None:
    code = "import sys, t2ikit.data.configs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("spec", "accepted"),
    [
        ("./images", True),
        ("~/images", True),
        ("data/images", True),
        ("C:\\images", True),
        ("creatures", False),
        ("hf:owner/name", False),
        ("wds:shards/{000..099}.tar", False),
        ("data/captions.parquet", False),
    ],
)
def test_which_specs_are_folders(spec: str, accepted: bool) -> None:
    assert accepts_folder(spec) == accepted


# The split


def names(folder: Captioned) -> dict[str, set[str]]:
    return {part: {entry.name for entry in entries} for part, entries in folder.entries.items()}


def test_adding_images_moves_none(tmp_path: Path) -> None:
    pairs(tmp_path, 40)
    before = names(load(tmp_path, validation=0.2))
    for i in range(40, 80):
        save(tmp_path / f"{i:03}.png").with_suffix(".txt").write_text("new")
    after = names(load(tmp_path, validation=0.2))
    assert before["validation"] < after["validation"]
    assert before["train"] < after["train"]


def test_split_has_the_asked_share() -> None:
    entries = [Entry(f"{i}.png", ("x",)) for i in range(20_000)]
    parts = split(entries, 0.05)
    share = len(parts["validation"]) / len(entries)
    assert abs(share - 0.05) < 5 * (0.05 * 0.95 / len(entries)) ** 0.5
    assert len(parts["train"]) + len(parts["validation"]) == len(entries)


@pytest.mark.parametrize("validation", [0.001, 0.49])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_both_splits_have_something(count: int, validation: float) -> None:
    for salt in range(50):
        parts = split([Entry(f"{salt}-{i}.png", ("x",)) for i in range(count)], validation)
        assert parts["train"]
        assert parts["validation"]


def test_prompts_come_from_validation_shuffled_and_repeat(tmp_path: Path) -> None:
    pairs(tmp_path, 60)
    folder = load(tmp_path, validation=0.3)
    held_out = {c for entry in folder.entries["validation"] for c in entry.captions}
    once = folder.prompts(len(held_out), seed=3)
    assert set(once) == held_out
    assert folder.prompts(2 * len(held_out), 3) == once * 2
    assert folder.prompts(len(held_out), 4) != once
    assert folder.prompts(2, 3) == once[:2]


def test_fingerprint_follows_content_captions_names_and_settings(tmp_path: Path) -> None:
    root = pairs(tmp_path / "a")
    before = load(root).fingerprint
    copy = pairs(tmp_path / "elsewhere")
    os.utime(copy / "000.png", (1, 1))
    assert load(copy).fingerprint == before
    seen = {before, load(root, size=16).fingerprint, load(root, background="black").fingerprint}
    (root / "000.txt").write_text("another caption")
    seen.add(load(root).fingerprint)
    save(root / "000.png", "blue")
    seen.add(load(root).fingerprint)
    (root / "001.png").rename(root / "x.png")
    (root / "001.txt").rename(root / "x.txt")
    seen.add(load(root).fingerprint)
    assert len(seen) == 6


# One image


def test_resize_is_antialiased_and_crops_the_centre(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    got = read_image(tmp_path / "x.png", 16)
    whole = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    small = F.interpolate(whole, size=(16, 24), mode="bicubic", antialias=True, align_corners=False)
    wanted = small[0, :, :, 4:20].round().clamp(0, 255)
    assert (got.double() - wanted).abs().max() <= 1


def test_small_images_are_enlarged_and_tall_ones_cropped(tmp_path: Path) -> None:
    pixels = np.zeros((30, 10, 3), dtype=np.uint8)
    pixels[10:20] = 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    got = read_image(tmp_path / "x.png", 10)
    assert (got == 255).all()
    assert read_image(tmp_path / "x.png", 40).shape == (3, 40, 40)


def test_exif_orientation_is_obeyed(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:8] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise: the top becomes the right
    Image.fromarray(pixels).save(tmp_path / "x.jpg", exif=exif, quality=95)
    got = read_image(tmp_path / "x.jpg", 16)
    assert got[0, :, 12:].min() > 200
    assert got[0, :, :4].max() < 50


def test_big_jpegs_keep_their_look(tmp_path: Path) -> None:
    y, x = np.mgrid[0:640, 0:640] / 640
    pixels = np.stack([255 * x, 255 * y, 128 + 100 * np.sin(9 * x)], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.jpg", quality=97)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    difference = read_image(tmp_path / "x.jpg", 32).int() - read_image(tmp_path / "x.png", 32).int()
    assert difference.abs().max() <= 4


@pytest.mark.parametrize(
    ("mode", "colour", "name", "wanted"),
    [
        ("RGBA", (0, 0, 0, 0), "x.png", (10, 20, 30)),
        ("RGBA", (255, 0, 0, 128), "x.png", (133, 10, 15)),
        ("LA", (255, 0), "x.png", (10, 20, 30)),
        ("L", 200, "x.png", (200, 200, 200)),
        ("1", 1, "x.png", (255, 255, 255)),
        ("I;16", 51400, "x.png", (200, 200, 200)),
        ("I;16", 51400, "x.tif", (200, 200, 200)),
        ("CMYK", (0, 255, 255, 0), "x.tif", (255, 0, 0)),
        ("RGB", (1, 2, 3), "x.bmp", (1, 2, 3)),
    ],
)
def test_modes_become_rgb(
    tmp_path: Path, mode: str, colour: object, name: str, wanted: tuple[int, int, int]
) -> None:
    save(tmp_path / name, colour, mode=mode)
    got = read_image(tmp_path / name, 4, "#0a141e")
    assert (got.int() - torch.tensor(wanted)[:, None, None]).abs().max() <= 1


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(0, (0, 0, 4, 8))
    image.save(tmp_path / "x.png", transparency=0)
    got = read_image(tmp_path / "x.png", 8, "blue")
    assert got[:, 0, 0].tolist() == [0, 0, 255]
    assert got[:, 0, 7].tolist() == [0, 255, 0]


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "x.gif", 4)[:, 0, 0].tolist() == [255, 0, 0]


# Bad folders: each is made from a good one, and the message must hold these words


def truncated(root: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / name)
    content = (root / name).read_bytes()
    (root / name).write_bytes(content[: len(content) // 2])
    (root / name).with_suffix(".txt").write_text("a caption")


def huge(root: Path) -> None:
    """A PNG of a few bytes that says it has 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    (root / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)
    (root / "huge.txt").write_text("a caption")


def unlink(root: Path, pattern: str) -> None:
    for path in root.glob(pattern):
        path.unlink()


def two(root: Path, **first: object) -> None:
    """Two lines of metadata, the first of them given."""
    unlink(root, "*.txt")
    metadata(root, [first, {"file_name": "001.png", "text": "fine"}])


def lines(root: Path, text: str | bytes) -> None:
    unlink(root, "*.txt")
    (root / "metadata.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())


BAD: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "nothing in it": (lambda root: unlink(root, "*"), ("no captioned image", "an empty folder")),
    "no images": (lambda root: unlink(root, "*.png"), ("no captioned image", ".txt")),
    "no captions": (lambda root: unlink(root, "*.txt"), ("without a caption (6 of them)", "005.png")),
    "a caption missing": (lambda root: (root / "003.txt").unlink(), ("without a caption", "003.png")),
    "an empty caption file": (lambda root: (root / "003.txt").write_text(" \n"), ("empty", "003.txt")),
    "captions in latin-1": (
        lambda root: (root / "003.txt").write_bytes("café".encode("latin-1")),
        ("not UTF-8", "003.txt", "byte 3"),
    ),
    "one pair only": (lambda root: unlink(root, "00[1-9].*"), ("too few", "at least 2")),
    "not an image": (lambda root: (root / "002.png").write_text("hello"), ("002.png", "cannot be read")),
    "an empty image": (lambda root: (root / "002.png").write_bytes(b""), ("002.png", "cannot be read")),
    "a truncated PNG": (lambda root: truncated(root, "t.png"), ("t.png", "truncated")),
    "a truncated JPEG": (lambda root: truncated(root, "t.jpg"), ("t.jpg", "truncated")),
    "a decompression bomb": (huge, ("huge.png", "pixels")),
    "floating-point pixels": (
        lambda root: save(root / "f.tif", 0.5, mode="F").with_suffix(".txt").write_text("x"),
        ("f.tif", "floating-point"),
    ),
    "metadata without lines": (lambda root: lines(root, "\n\n"), ("metadata without lines",)),
    "broken JSON": (
        lambda root: lines(root, '{"file_name": "000.png", "text": "a"}\n{"file_name": "001.png", text}\n'),
        ("metadata.jsonl:2", "not a JSON object"),
    ),
    "JSON that is no object": (lambda root: lines(root, '["000.png", "a"]\n'), ("metadata.jsonl:1",)),
    "metadata that is no text": (lambda root: lines(root, b"\xff\xfe{"), ("not UTF-8", "metadata.jsonl")),
    "a file that is not there": (
        lambda root: two(root, file_name="gone.png", text="x"),
        ("gone.png", "metadata.jsonl:1", "not there"),
    ),
    "a file outside": (
        lambda root: two(root, file_name="../good/../out.png", text="x"),
        ("leads out of the folder", "../out.png"),
    ),
    "no file_name": (lambda root: two(root, file="000.png", text="x"), ("without file_name", "file, text")),
    "no caption key": (
        lambda root: two(root, file_name="000.png", texte="x"),
        ("metadata.jsonl:1", "text or caption", "did you mean 'texte'?"),
    ),
    "an empty caption": (lambda root: two(root, file_name="000.png", text=["", " "]), ("empty caption",)),
    "a caption that is a number": (
        lambda root: two(root, file_name="000.png", text=5),
        ("not text", "text = 5"),
    ),
    "a metadata line that names no image": (
        lambda root: two(root, file_name="000.txt.bak", text="x"),
        ("000.txt.bak",),
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_folders_are_explained(tmp_path: Path, kind: str) -> None:
    root = pairs(tmp_path / "good")
    load(root)
    spoil, words = BAD[kind]
    spoil(root)
    with pytest.raises(UserError) as caught:
        load(root, max_bad=0)
    message = str(caught.value)
    for word in (*words, str(root), "expected:", "fix:"):
        assert word in message, message


def test_a_missing_folder_names_its_neighbours(tmp_path: Path) -> None:
    pairs(tmp_path / "images")
    with pytest.raises(UserError, match="no such folder") as caught:
        load(tmp_path / "image")
    assert "images" in str(caught.value)
    with pytest.raises(UserError, match="this is a file"):
        load(tmp_path / "images" / "000.png")


def test_all_problems_are_told_together_and_long_lists_cut(tmp_path: Path) -> None:
    pairs(tmp_path, 40)
    for i in range(25):
        (tmp_path / f"{i:03}.png").write_text("no image")
    (tmp_path / "030.txt").unlink()
    (tmp_path / "031.txt").write_text("")
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert "27 problems beside 13 images" in message
    assert "(25 of them)" in message
    assert "009.png" in message
    assert "010.png" not in message
    assert "and 15 more" in message
    assert "030.png" in message
    assert "031.txt" in message


def test_caption_column_needs_metadata_and_must_exist(tmp_path: Path) -> None:
    pairs(tmp_path)
    with pytest.raises(UserError, match=r"no metadata\.jsonl"):
        load(tmp_path, caption_column="prompt")
    two(tmp_path, file_name="000.png", promt="x")
    with pytest.raises(UserError, match="did you mean 'promt'"):
        load(tmp_path, caption_column="prompt")
    assert "promt" in did_you_mean("prompt", ["promt"])
    assert did_you_mean("imagn", ["imagen", "gigagan"]) == "did you mean 'imagen'?"
    assert did_you_mean("loses", ["losses", "lossy", "loss"]).count(" or ") == 2


def test_a_background_that_is_no_colour_is_refused() -> None:
    with pytest.raises(ValidationError, match="color"):
        FolderConfig(spec="x", background="whit")
