"""Folders of images without captions: what the error says to do works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_folder import everything, load, save

from t2ikit.errors import UserError

FOLDERS = {
    "repeats and classes, kohya's way": (
        ["10_dog/a.png", "10_dog/b.PNG", "5_red_cat/c.jpg"],
        {"10_dog/a.png": "dog", "10_dog/b.PNG": "dog", "5_red_cat/c.jpg": "red cat"},
    ),
    "classes": (["dog/1.png", "cat/sub/2.png"], {"dog/1.png": "dog", "cat/sub/2.png": "sub"}),
    "files that say it": (
        ["green_cat-03.png", "0001.png"],
        {"green_cat-03.png": "green cat", "0001.png": "an image"},
    ),
}


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("name", ["data", "my $HOME; 'data'"])
def test_the_command_for_folders_without_captions_writes_them(kind: str, name: str, tmp_path: Path) -> None:
    names, wanted = FOLDERS[kind]
    root = tmp_path / name
    for number, image in enumerate(names):
        save(root / image, size=(9 + number, 9))
    (root / "._a.png").write_bytes(b"a resource fork")
    with pytest.raises(UserError, match="an image without a caption") as caught:
        load(root)
    (command,) = re.findall("`(.*)`", str(caught.value.fix))
    words = shlex.split(command)
    assert words[0] == "python"
    subprocess.run([sys.executable, *words[1:]], check=True, cwd=tmp_path)
    assert everything(load(root)) == {image: (caption,) for image, caption in wanted.items()}


def test_a_folder_with_some_captions_gets_the_short_hint(tmp_path: Path) -> None:
    for name in "abc":
        save(tmp_path / f"{name}.png").with_suffix(".txt").write_text(name)
    (tmp_path / "b.txt").unlink()
    with pytest.raises(UserError) as caught:
        load(tmp_path, max_bad=0)
    assert "python -c" not in str(caught.value)
