"""Files of captions beside images: their endings, their case and their encodings."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from test_folder import everything, load, save

from t2ikit.data.doctor.survey import survey
from t2ikit.errors import UserError
from t2ikit.text.builtin import default_encoder
from t2ikit.utils.files import decoded


def test_endings_in_capitals_and_caption_files(tmp_path: Path) -> None:
    save(tmp_path / "UPPER.JPG")
    (tmp_path / "UPPER.TXT").write_text("upper")
    save(tmp_path / "a.png")
    (tmp_path / "a.caption").write_text("from a caption file")
    save(tmp_path / "both.png")
    (tmp_path / "both.caption").write_text("not this")
    (tmp_path / "both.txt").write_text("this")
    folder = load(tmp_path)
    assert everything(folder) == {
        "UPPER.JPG": ("upper",),
        "a.png": ("from a caption file",),
        "both.png": ("this",),
    }
    assert not folder.warnings


def test_names_that_only_look_alike_after_composing_are_pairs(tmp_path: Path) -> None:
    for name in ("é", "è"):
        save(tmp_path / f"{unicodedata.normalize('NFD', name)}.png")
        (tmp_path / f"{unicodedata.normalize('NFC', name)}.txt").write_text(name)
    assert set(everything(load(tmp_path)).values()) == {("é",), ("è",)}


def test_caption_files_without_an_image_are_told_in_any_case(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / f"{name}.png").with_suffix(".txt").write_text(name)
    (tmp_path / "LOST.TXT").write_text("x")
    (tmp_path / "gone.caption").write_text("x")
    (warning,) = load(tmp_path).warnings
    assert "2 x a caption without an image: LOST.TXT; gone.caption" in warning


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_a_byte_order_mark_says_is_read(tmp_path: Path, encoding: str) -> None:
    for name, text in (("a", "ein Bär\r\nzwei 猫 🐈\r\n"), ("b", "b")):
        save(tmp_path / f"{name}.png").with_suffix(".txt").write_bytes(text.encode(encoding))
    assert everything(load(tmp_path))["a.png"] == ("ein Bär", "zwei 猫 🐈")
    assert decoded("a\r\nb\rc\n".encode(encoding)) == "a\nb\nc\n"


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_both_orders_of_utf_16(mark: bytes) -> None:
    encoding = "utf-16-le" if mark == b"\xff\xfe" else "utf-16-be"
    assert decoded(mark + "naïve".encode(encoding)) == "naïve"


def test_metadata_in_utf_16_is_read(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / f"{name}.png")
    rows = [json.dumps({"file_name": f"{name}.png", "text": f"caption é {name}"}) for name in "ab"]
    (tmp_path / "metadata.jsonl").write_bytes("\r\n".join(rows).encode("utf-16"))
    assert everything(load(tmp_path)) == {"a.png": ("caption é a",), "b.png": ("caption é b",)}
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "metadata.csv").write_bytes("file_name,text\r\na.png,ä\r\nb.png,b\r\n".encode("utf-16"))
    assert everything(load(tmp_path)) == {"a.png": ("ä",), "b.png": ("b",)}


@pytest.mark.parametrize(
    ("content", "byte"),
    [
        ("café".encode("latin-1"), 3),
        ("日本".encode("shift_jis"), 0),
        ("cat".encode("utf-16-le"), 1),  # no mark: its bytes pass for UTF-8
        ("cat".encode("utf-16-be"), 0),
        (b"\xff\xfec", 2),
    ],
    ids=["latin-1", "shift-jis", "utf-16-le", "utf-16-be", "half a letter"],
)
def test_other_encodings_stay_refused_by_the_byte(tmp_path: Path, content: bytes, byte: int) -> None:
    for name in "abc":
        save(tmp_path / f"{name}.png").with_suffix(".txt").write_text(name)
    (tmp_path / "b.txt").write_bytes(content)
    said = "with a NUL byte" if b"\0" in content else "not UTF-8"
    with pytest.raises(UserError, match=said) as caught:
        load(tmp_path, max_bad=0)
    assert "UTF-16 or UTF-32 with a byte-order mark" in str(caught.value)
    assert f"b.txt (byte {byte})" in str(caught.value)


def test_captions_that_a_metadata_file_leaves_out_are_noted(tmp_path: Path) -> None:
    for name in ("a", "b", "sub/c", "d"):
        save(tmp_path / f"{name}.png")
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / "sub" / "metadata.csv").write_text("file_name,text\nc.png,sea\n../d.png,dee\n")
    dataset = load(tmp_path)
    (note,) = (note for note in dataset.notes if "caption" in note)
    assert "2 caption files (.txt) beside images were not read" in note
    assert "sub/metadata.csv alone says" in note
    assert ("note", note) in survey(dataset, default_encoder()).rows
    (tmp_path / "sub" / "metadata.csv").unlink()
    assert not any("caption" in note for note in load(tmp_path, max_bad=1).notes)
