"""`t2ikit data` as a doctor: each finding is planted and found, and a clean folder has none."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageDraw
from test_few_images import shards

from t2ikit.cli import main
from t2ikit.data.doctor.diagnosis import Diagnosis, diagnose
from t2ikit.data.doctor.histograms import histograms
from t2ikit.data.doctor.report import render
from t2ikit.data.doctor.similar import nearest, thumbnail
from t2ikit.data.formats import folder
from t2ikit.recipes.datasets import open_dataset, recipe_for
from t2ikit.registry.registry import Registry
from t2ikit.text.builtin import default_encoder

REGISTRY = Registry.load()
SCRIPT = '<script>alert("x")</script> & more'


def scene(seed: int, size: tuple[int, int] = (48, 48)) -> Image.Image:
    """Shapes on a ground, another picture for each seed."""
    rng = np.random.default_rng(seed)

    def colour() -> tuple[int, ...]:
        return tuple(rng.integers(0, 255, 3).tolist())

    image = Image.new("RGB", size, colour())
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, side = (int(n) for n in rng.integers(0, [*size, 24]))
        draw.rectangle((x, y, x + side + 6, y + side + 6), fill=colour())
    return image


def put(root: Path, name: str, image: Image.Image, caption: str, **options: object) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    path.with_suffix(".txt").write_text(caption)


def clean(root: Path) -> Path:
    """Sixteen images to train on and four held out, each with a caption of its own from common words."""
    words = ("red", "green", "round", "small")
    for number in range(20):
        chosen = [word for bit, word in enumerate(words) if number % 16 >> bit & 1]
        name = f"train/{number:02}.png" if number < 16 else f"test/{number}.png"
        caption = " ".join(chosen or ["plain"])
        put(root, name, scene(number), caption if number < 16 else f"{caption} red green")
    return root


def examined(spec: Path | str, *settings: str) -> Diagnosis:
    return diagnose(open_dataset(REGISTRY, str(spec), settings), str(spec), default_encoder())


def kinds(diagnosis: Diagnosis) -> dict[str, int]:
    return {finding.kind: finding.count for finding in diagnosis.findings}


def test_a_clean_folder_has_no_finding(tmp_path: Path) -> None:
    found = examined(clean(tmp_path))
    assert found.findings == []
    assert found.survey.problems == []
    assert "No finding" in render(found, 4)


def a_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def an_srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def clear(image: Image.Image) -> Image.Image:
    image.putalpha(Image.new("L", image.size, 90))
    return image


def deep() -> Image.Image:
    rows = np.linspace(0, 65535, 48 * 48).reshape(48, 48)
    return Image.fromarray(rows.astype(np.uint16))


Plant = Callable[[Path], None]
PLANTED: dict[str, Plant] = {
    "exact duplicates": lambda root: put(root, "train/copy.png", scene(3), "round round"),
    "near-duplicates": lambda root: put(
        root, "train/near.jpg", scene(3).resize((40, 40)), "round round", quality=60
    ),
    "leakage": lambda root: put(root, "test/leak.jpg", scene(3).resize((40, 40)), "round round", quality=60),
    "captions in both splits": lambda root: put(root, "test/told.png", scene(40), "red green"),
    "shared captions": lambda root: put(root, "train/shared.png", scene(40), "red green"),
    "cut captions": lambda root: put(root, "train/long.png", scene(40), "red " * 30),
    "unknown words": lambda root: put(root, "test/new.png", scene(40), "red zebra"),
    "blank images": lambda root: put(root, "train/blank.png", Image.new("RGB", (48, 48), "teal"), "red red"),
    "colour profiles": lambda root: put(root, "train/lab.png", scene(40), "red red", icc_profile=a_profile()),
    "CMYK": lambda root: put(root, "train/print.jpg", scene(40).convert("CMYK"), "red red"),
    "16 bits": lambda root: put(root, "train/deep.png", deep(), "red red"),
    "long images": lambda root: put(root, "train/wide.png", scene(40, (120, 40)), "red red"),
    "transparency": lambda root: put(root, "train/clear.png", clear(scene(40)), "red red"),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_is_planted_is_found_and_nothing_else(kind: str, tmp_path: Path) -> None:
    PLANTED[kind](clean(tmp_path))
    found = examined(tmp_path)
    assert set(kinds(found)) == {kind}
    (finding,) = found.findings
    assert 1 <= finding.count <= 2
    assert finding.examples


def test_an_srgb_profile_and_opaque_alpha_are_no_findings(tmp_path: Path) -> None:
    put(clean(tmp_path), "train/srgb.png", scene(40).convert("RGBA"), "red red", icc_profile=an_srgb())
    assert examined(tmp_path).findings == []


def test_copies_across_splits_leak_byte_by_byte_too(tmp_path: Path) -> None:
    put(clean(tmp_path), "test/copy.png", scene(3), "green red red")
    found = examined(tmp_path)
    assert kinds(found) == {"leakage": 1}
    assert [item.name for item in found.findings[0].examples[0].images] == ["test/copy.png", "train/03.png"]


def test_the_nearest_is_that_of_a_search_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    images = [np.asarray(scene(seed, (32, 32))) for seed in range(40)]
    noisy = [np.clip(image + rng.normal(0, 3, image.shape), 0, 255) for image in images[::4]]
    thumbs = torch.stack(
        [thumbnail(torch.tensor(image).permute(2, 0, 1).to(torch.uint8)) for image in [*images, *noisy]]
    )
    flat = thumbs.double().numpy().reshape(len(thumbs), 3, -1)
    flat = (flat - flat.mean(2, keepdims=True)).reshape(len(thumbs), -1)
    slow = np.corrcoef(flat - 0)[40:, :40].argmax(1)
    assert nearest(thumbs, range(50), range(50), earlier=True) == [
        (40 + row, int(best)) for row, best in enumerate(slow)
    ]
    assert nearest(thumbs, range(40), range(40), earlier=True) == []
    assert nearest(thumbs, range(40, 50), []) == []


def test_shapes_and_short_sides_are_counted() -> None:
    shapes, sides = histograms([(30, 30), (64, 64), (60, 120), (4000, 100)])
    assert dict(shapes.counts)["1:2"] == 1
    assert dict(shapes.counts)["square"] == 2
    assert shapes.counts[-1] == ("3:1 or wider", 1)
    assert [count for _, count in sides.counts] == [1, 1, 2]
    assert max(map(len, shapes.lines(40, "#"))) <= 40
    assert len(histograms([(64, 64)])) == 1
    assert histograms([]) == []


def test_advice_follows_shapes_alpha_and_colour(tmp_path: Path) -> None:
    for number in range(6):
        wide = clear(scene(number, (160, 80)))
        put(tmp_path / "sprites", f"{number}.png", wide, f"sprite {number}")
        put(tmp_path / "gray", f"{number}.png", scene(number).convert("L"), f"drawing {number}")
    sprites = dict(row[:2] for row in examined(tmp_path / "sprites").advice.rows)
    assert sprites["data.fit"] in ("pad", "buckets")
    assert sprites["data.channels"] == "rgba"
    gray = examined(tmp_path / "gray").advice
    assert "data.channels=gray" in gray.words
    assert dict(row[:2] for row in gray.rows)["data.fit"] == "crop"
    assert gray.words[-1] == "--dry-run"
    chosen = ["data.channels=rgb", "data.size=16"]
    dataset = open_dataset(REGISTRY, str(tmp_path / "gray"), chosen)
    words = diagnose(dataset, "gray", default_encoder(), None, chosen).advice.words
    assert [one for one in words if one.startswith("data.")] == chosen
    assert recipe_for(REGISTRY, "openmoji") == "imagen/openmoji-32"
    assert recipe_for(REGISTRY, str(tmp_path)) is None


def test_the_page_obeys_nothing_that_is_in_the_data(tmp_path: Path, cli_here) -> None:
    put(clean(tmp_path / "set"), "train/<b>&.png", scene(40), SCRIPT)
    put(tmp_path / "set", "train/again.png", scene(40), SCRIPT)
    done = cli_here("data", "set", "--out", "page.html", "-n", 40, "--set", "text.length=4")
    assert done.returncode == 0, done.stderr
    assert "more than the 3 words that the built-in text encoder reads" in done.stdout
    assert "report: page.html" in done.stdout
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "<b>&" not in page
    assert "&lt;script&gt;" in page
    assert "train/&lt;b&gt;&amp;.png" in page
    assert not re.search(r'(?:src|href)="(?!data:image/webp;base64,)', page)
    assert page.count("<img") >= 22
    assert len(page) < 1_000_000


def test_a_terminal_of_80_columns_holds_every_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = clean(tmp_path / "set")
    for plant in PLANTED.values():
        plant(root)

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout", screen := Terminal())
    assert main(["data", "set"]) == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    long = [line for line in text.splitlines() if len(line) > 80 and not line.startswith("t2ikit ")]
    assert [line for line in long if str(tmp_path) not in line and "/" not in line] == []
    assert set(PLANTED) <= {line.partition(":")[0] for line in text.splitlines()}
    assert "█" in text


def test_all_kinds_of_sources_are_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = clean(tmp_path / "set")
    shutil.copy(root / "train" / "03.png", tmp_path / "copy.png")
    names = [*(f"set/train/{number:02}.png" for number in range(16)), "copy.png"]
    rows = [json.dumps({"image": name, "text": f"number {number}"}) for number, name in enumerate(names)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    assert "exact duplicates" in kinds(examined(tmp_path / "rows.jsonl"))
    creatures = examined("creatures", "data.count=30", "data.size=16")
    assert creatures.histograms == []
    assert "all 30 images" in dict(creatures.survey.rows)["looked at"]
    mix = examined(f'mix:["{root}", "creatures"]', "data.count=30", "data.size=16")
    assert len(mix.specimens.items) == 50
    assert mix.specimens.places("train")[-1] < mix.specimens.places("validation")[0]
    monkeypatch.setattr(folder, "LARGE", 2)
    (root / "train" / "00.png").write_text("broken")
    large = examined(root, "data.captions=none", 'data.templates=["a scene"]', "data.size=8")
    assert any("cannot be read" in problem for problem in large.survey.problems)
    assert len(large.specimens.items) == 19
    assert large.histograms


def test_a_stream_is_examined_by_its_first_images(tmp_path: Path) -> None:
    spec = shards(tmp_path, [3, 3])
    found = examined(spec, "data.stream=true", "data.size=8")
    rows = dict(found.survey.rows)
    assert rows["images"].startswith("a stream to train on, ")
    assert rows["looked at"].startswith("all ")
    assert len({item.name for item in found.specimens.items}) == 6
    assert render(found, 4).count("<img") >= 4
