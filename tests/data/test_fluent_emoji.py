"""Fluent emoji from an npm package: names, variants of one in the same split, and what to do without it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from t2ikit.data.captioned import split
from t2ikit.data.configs import FluentEmojiConfig
from t2ikit.data.fluent_emoji import base, drawings, name, open_fluent_emoji, plain
from t2ikit.data.source import Entry
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.utils.extras import install, npm_folder

pytest.importorskip("emoji")


def package(root: Path, *names: str) -> Path:
    """An npm package of drawings, each in a colour of its own."""
    (root / "assets").mkdir(parents=True)
    (root / "package.json").write_text(json.dumps({"name": "@lobehub/fluent-emoji-3d"}))
    for number, stem in enumerate(names):
        Image.new("RGBA", (16, 16), (40 * number, 90, 200, 255)).save(root / "assets" / f"{stem}.png")
    return root


def codes(text: str) -> tuple[int, ...]:
    return tuple(int(code, 16) for code in text.split("-"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1f34e", "red apple"),
        ("00a9-fe0f", "copyright sign"),
        ("1fa75", "light blue heart"),
        ("1f647-1f3fb", "person bowing light skin tone"),
        ("1f469-1f3fe-200d-1f680", "woman astronaut medium dark skin tone"),
        ("0030-fe0f-20e3", "keycap 0"),
        ("1f3f4-e0067-e0062-e0065-e006e-e0067-e007f", "england"),
        ("e000", None),
    ],
)
def test_names(text: str, said: str | None) -> None:
    assert name(codes(text)) == said


def test_the_variants_of_an_emoji_are_one_group() -> None:
    astronauts = {
        base(codes(f"{who}{tone}-200d-1f680")) for who in ("1f9d1", "1f468") for tone in ("", "-1f3fd")
    }
    assert astronauts == {(0x1F9D1, 0x1F680)}
    assert base(codes("1f3c3-1f3fb-200d-2640-fe0f")) == base(codes("1f3c3")) == (0x1F3C3,)
    assert base(codes("1f34e")) != base(codes("1f34f"))
    assert base(codes("2640-fe0f")) != ()
    assert plain(codes("00a9-fe0f")) == (0xA9,)


def test_a_package_is_read_and_no_variant_of_a_training_emoji_is_held_out(tmp_path: Path) -> None:
    root = package(tmp_path / "p", "1f34e", "1f44b-1f3fb", "1f44b", "a9-fe0f", "00a9-fe0f", "readme", "e000")
    data = open_fluent_emoji(FluentEmojiConfig(package=str(root), validation=0.4, size=8))
    entries = {entry.name: entry for entry in data.source.entries}
    assert {key: entry.captions[0] for key, entry in entries.items()} == {
        "1f34e": "red apple",
        "1f44b": "waving hand sign",
        "1f44b-1f3fb": "waving hand light skin tone",
        "00a9": "copyright sign",
    }
    groups = [{entry.group for entry in data.entries[part]} for part in ("train", "validation")]
    assert all(groups)
    assert not groups[0] & groups[1]
    without = open_fluent_emoji(FluentEmojiConfig(package=str(root), skin_tones=False, size=8))
    assert {entry.name for entry in without.source.entries} == {"1f34e", "1f44b", "00a9"}


def test_groups_are_held_out_as_a_whole() -> None:
    entries = [Entry(f"{number}", ("x",), group=f"g{number // 5}") for number in range(100)]
    for validation in (0.05, 0.3, 0.9):
        parts = split(entries, validation)
        groups = [{entry.group for entry in parts[part]} for part in ("train", "validation")]  # type: ignore[index]
        assert all(groups)
        assert not groups[0] & groups[1]
        assert sum(map(len, parts.values())) == 100
    assert split(entries[:5], 0.5)["validation"] == []


def test_flags_of_regions_get_the_tag_that_their_file_names_lack(tmp_path: Path) -> None:
    root = package(tmp_path / "p", "1f3f4-e0067_e0062_e0065_e006e_e0067", "1f3f4")
    found = [name(code) for code, _ in drawings(root / "assets")]
    assert found == ["england", "waving black flag"]


def test_without_the_package_the_command_is_told(tmp_path: Path, cli_here, monkeypatch) -> None:
    monkeypatch.setenv("T2IKIT_CACHE", str(tmp_path / "a cache"))
    done = cli_here("data", "fluent-emoji")
    assert done.returncode == 2
    assert f"npm install --prefix '{tmp_path / 'a cache' / 'npm'}' @lobehub/fluent-emoji-3d" in done.stderr
    assert install("fluent-emoji") in done.stderr
    assert str(npm_folder("fluent-emoji")) in done.stderr
    done = cli_here("data", "fluent-emoji", "--set", "data.package=nothing")
    assert done.returncode == 2
    assert "give the folder of the package" in done.stderr


def test_it_is_found_where_the_command_puts_it(tmp_path: Path, cli_here, monkeypatch) -> None:
    monkeypatch.setenv("T2IKIT_CACHE", str(tmp_path / "cache"))
    shutil.copytree(package(tmp_path / "p", "1f34e", "1f350"), npm_folder("fluent-emoji"))
    done = cli_here("data", "fluent-emoji", "--set", "data.size=8")
    assert done.returncode == 0, done.stderr
    assert "imagen/fluent-emoji-32" in done.stdout
    recipe = read_recipe(Registry.load(), "imagen/fluent-emoji-32")
    assert recipe.parts["data"].config.spec == "fluent-emoji"
