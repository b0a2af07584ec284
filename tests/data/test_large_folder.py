"""A folder of many images: nothing is opened before it is needed, and it is as a small one else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_folder import COLOURS, load, save

from t2ikit.data.captioned import CaptionedImages
from t2ikit.data.doctor.survey import survey
from t2ikit.data.formats import folder as folders
from t2ikit.data.formats.large_folder import LargeFolder
from t2ikit.data.formats.names import caption_of, has_words
from t2ikit.data.loader import BatchLoader
from t2ikit.errors import UserError
from t2ikit.text.builtin import default_encoder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(40):
        save(
            tmp_path / ("dragons", "cats")[i % 2] / f"{COLOURS[i % 8]}_one-{i:02}.png",
            COLOURS[i % 8],
            (9 + i, 9),
        )
    return tmp_path


def load_large(root: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> CaptionedImages:
    monkeypatch.setattr(folders, "LARGE", 1)
    return load(root, **{"captions": "file_name", **options})


@pytest.mark.parametrize(
    "options", [{}, {"flip": True, "templates": ["a {caption}", "{caption}"]}, {"validation": 0}]
)
def test_batches_are_those_of_a_folder_that_is_decoded_before(root: Path, monkeypatch, options) -> None:
    small = load(root, captions="file_name", **options)
    large = load_large(root, monkeypatch, **options)
    assert isinstance(large, LargeFolder)
    assert large.trained_prompts == small.trained_prompts
    assert large.prompts(7, 1) == small.prompts(7, 1)
    a, b = BatchLoader(small, seed=1, batch=8), BatchLoader(large, seed=1, batch=8)
    for step in range(7):
        assert torch.equal(a[step].images, b[step].images)
        assert (a[step].captions, a[step].wrong) == (b[step].captions, b[step].wrong)
    assert {s: large.size(s) for s in ("train", "validation")} == {
        s: small.size(s) for s in ("train", "validation")
    }
    keys = [[data.record("train", i).key for i in range(data.size("train"))] for data in (small, large)]
    assert keys[0] == keys[1]
    prompts = large.prompts(3, 0)
    for image, same in zip(large.images(prompts, 0), small.images(prompts, 0), strict=True):
        assert torch.equal(image, same)


def test_named_splits(tmp_path: Path, monkeypatch) -> None:
    for name in ("x/train/cat/1.png", "x/train/dog/1.png", "x/test/cat/2.png", "x/more/fish.png"):
        save(tmp_path / name)
    small, large = load(tmp_path, captions="file_name"), load_large(tmp_path, monkeypatch)
    for split in ("train", "validation"):
        count = small.size(split)
        assert [large.record(split, i).key for i in range(count)] == [e.name for e in small.entries[split]]
        assert [large.captions(split, i) for i in range(count)] == [
            small.captions(split, i) for i in range(count)
        ]
    assert large.notes[-1] == small.notes[-1]
    assert load_large(tmp_path, monkeypatch, splits=False).size("train") == 3


def test_nothing_is_opened_before_it_is_needed(root: Path, monkeypatch) -> None:
    def opened(path: Path) -> bytes:
        raise AssertionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", opened)
        patch.setattr(Path, "stat", opened)
        patch.setattr(Path, "is_dir", lambda path: True)
        large = load_large(root, patch)
        large.prompts(4, 0)
        assert large.fingerprint
    assert large.record("train", 0).image.shape == (3, 8, 8)
    assert "opened when a step needs it" in large.notes[0]
    assert ("images", f"{large.size('train')} train, {large.size('validation')} validation") in survey(
        large, default_encoder()
    ).rows


def test_the_fingerprint_follows_names_and_settings(root: Path, monkeypatch) -> None:
    seen = [
        load_large(root, monkeypatch, **options).fingerprint for options in ({}, {"size": 16}, {"flip": True})
    ]
    seen.append(load_large(root, monkeypatch, captions="none", templates=["a thing"]).fingerprint)
    assert load_large(root, monkeypatch).fingerprint == seen[0]
    (root / "cats" / "new.png").write_bytes(b"")
    seen.append(load_large(root, monkeypatch).fingerprint)
    assert len(set(seen)) == 5


def test_a_bad_image_ends_the_training_and_can_be_mended(root: Path, monkeypatch) -> None:
    large = load_large(root, monkeypatch, validation=0)
    path = root / large.record("train", 5).key
    content = path.read_bytes()
    path.write_bytes(content[:40])
    with pytest.raises(UserError, match="cannot be read") as caught:
        large.record("train", 5)
    assert str(path) in str(caught.value)
    assert "resume" in str(caught.value)
    path.write_bytes(content)
    assert load_large(root, monkeypatch, validation=0).fingerprint == large.fingerprint


def test_names_without_words_are_skipped_and_listed(root: Path, monkeypatch) -> None:
    save(root / "44.png")
    (warning,) = load_large(root, monkeypatch).warnings
    assert "1 skipped, 40 images used" in warning
    with pytest.raises(UserError, match="no words"):
        load_large(root, monkeypatch, max_bad=0.01)


@pytest.mark.parametrize(
    "name", ["44.png", "a.png", "cats/44.png", "train/4-4.png", "1_2/7.png", "x/²5.png", "_-.png"]
)
def test_whether_a_name_has_words(name: str) -> None:
    assert has_words(name) == (caption_of(name) != "")
