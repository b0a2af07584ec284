"""Folders of images without captions: what the error says to do works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_folder import everything, load, save

from t2ikit.errors import UserError

FOLDERS = {
    "repeats and classes, kohya's way": (
        ["10_dog/a.png", "10_dog/b.PNG", "5_red_cat/c.jpg"],
        {"10_dog/a.png": "dog a", "10_dog/b.PNG": "dog b", "5_red_cat/c.jpg": "red cat c"},
    ),
    "classes": (["dog/1.png", "cat/sub/2.png"], {"dog/1.png": "dog", "cat/sub/2.png": "cat sub"}),
    "files that say it": (
        ["green_cat-03.png", "dog.png"],
        {"green_cat-03.png": "green cat", "dog.png": "dog"},
    ),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_setting_for_folders_without_captions_takes_them_from_names(kind: str, tmp_path: Path) -> None:
    names, wanted = FOLDERS[kind]
    for number, image in enumerate(names):
        save(tmp_path / image, size=(9 + number, 9))
    (tmp_path / "._a.png").write_bytes(b"a resource fork")
    with pytest.raises(UserError, match="an image without a caption") as caught:
        load(tmp_path)
    hint = str(caught.value.fix)
    assert "--set data.captions=file_name" in hint
    (example,) = re.findall(r"\((\S+) gives '([^']+)'\)", hint)
    assert wanted[example[0]] == example[1]
    assert everything(load(tmp_path, captions="file_name")) == {
        name: (text,) for name, text in wanted.items()
    }


def test_a_folder_with_some_captions_gets_the_short_hint(tmp_path: Path) -> None:
    for name in "abc":
        save(tmp_path / f"{name}.png").with_suffix(".txt").write_text(name)
    (tmp_path / "b.txt").unlink()
    with pytest.raises(UserError) as caught:
        load(tmp_path, max_bad=0)
    assert "data.captions=file_name" not in str(caught.value)
