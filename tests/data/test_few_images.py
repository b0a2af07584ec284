"""One, two or three captioned images: what can be trained on, in every kind of dataset."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from conftest import TOYS
from t2ikit.core.interfaces import Dataset, StreamingDataset
from t2ikit.data.captioned import split
from t2ikit.data.doctor.survey import sheet, survey
from t2ikit.data.source import Entry
from t2ikit.errors import UserError
from t2ikit.evaluation.evaluator import EvaluationOptions, Evaluator
from t2ikit.recipes.datasets import open_dataset
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.runs.log import read_log
from t2ikit.testing import check_dataset
from t2ikit.text.builtin import default_encoder
from t2ikit.training.start import start_run


def png(number: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (12, 12), (40 * number, 90, 200)).save(content, "PNG")
    return content.getvalue()


def a_folder(root: Path, count: int) -> str:
    for i in range(count):
        (root / f"{i}.png").write_bytes(png(i))
        (root / f"{i}.txt").write_text(f"image {i}")
    return str(root)


def a_table(root: Path, count: int) -> str:
    for i in range(count):
        (root / f"{i}.png").write_bytes(png(i))
    rows = [json.dumps({"image": f"{i}.png", "text": f"image {i}"}) for i in range(count)]
    (root / "rows.jsonl").write_text("\n".join(rows))
    return str(root / "rows.jsonl")


def shards(root: Path, counts: list[int]) -> str:
    pytest.importorskip("webdataset")
    number = 0
    for place, count in enumerate(counts):
        with tarfile.open(root / f"s{place}.tar", "w") as shard:
            for _ in range(count):
                for name, content in (
                    (f"{number}.png", png(number)),
                    (f"{number}.txt", b"image %d" % number),
                ):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
                number += 1
    return f"wds:{root}/s{{0..{len(counts) - 1}}}.tar"


def one_shard(root: Path, count: int) -> str:
    return shards(root, [count])


KINDS = (a_folder, a_table, one_shard)


def seen(dataset: Dataset) -> set[str]:
    """The captions of one epoch of training."""
    if isinstance(dataset, StreamingDataset):
        records = dataset.records(0, 0, 1, 0)
        return {next(records).captions[0] for _ in range(12)}
    return {dataset.captions("train", index)[0] for index in range(dataset.size("train"))}


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
    ("write", "stream"),
    [(a_folder, False), (a_table, False), (one_shard, False), (one_shard, True)],
    ids=["folder", "table", "shards", "stream"],
)
def test_with_no_share_held_out_every_image_is_trained_on(
    write: Callable[[Path, int], str], count: int, stream: bool, tmp_path: Path
) -> None:
    settings = ["data.size=8", "data.validation=0", *(["data.stream=true"] if stream else [])]
    dataset = open_dataset(Registry.load(), write(tmp_path, count), settings)
    assert dataset.size("validation") == 0
    assert seen(dataset) == {f"image {i}" for i in range(count)}
    assert set(dataset.prompts(4, 0)) == {f"image {i}" for i in range(count)}
    assert dataset.trained_prompts
    if not stream:
        rows = dict(survey(dataset, default_encoder()).rows)
        assert rows["images"] == f"{count} train, 0 validation"
        assert rows["captions"].startswith(f"{count} of {count} ")
        assert sheet(dataset, 1).width > 100


@pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)
def test_one_image_without_that_setting_is_refused_and_the_error_names_it(
    write: Callable[[Path, int], str], tmp_path: Path
) -> None:
    spec = write(tmp_path, 1)
    with pytest.raises(UserError, match="too few") as caught:
        open_dataset(Registry.load(), spec, ["data.size=8"])
    assert "--set data.validation=0" in str(caught.value)


def test_one_usable_image_beside_broken_ones_names_the_setting_and_the_broken_ones(tmp_path: Path) -> None:
    spec = a_folder(tmp_path, 3)
    (tmp_path / "1.png").write_bytes(b"broken")
    (tmp_path / "2.txt").unlink()
    with pytest.raises(UserError) as caught:
        open_dataset(Registry.load(), spec, ["data.size=8"])
    for words in ("--set data.validation=0", "1.png", "2.png"):
        assert words in str(caught.value)
    dataset = open_dataset(Registry.load(), spec, ["data.size=8", "data.validation=0"])
    assert dataset.size("train") == 1
    (tmp_path / "0.png").unlink()
    with pytest.raises(UserError) as caught:
        open_dataset(Registry.load(), spec, ["data.size=8", "data.validation=0"])
    assert "too few" not in str(caught.value)


def test_two_images_are_one_for_each_split_as_before(tmp_path: Path) -> None:
    dataset = open_dataset(Registry.load(), a_folder(tmp_path, 2), ["data.size=8"])
    assert (dataset.size("train"), dataset.size("validation")) == (1, 1)
    assert not dataset.trained_prompts


def test_a_share_of_nothing_is_not_a_share_of_little() -> None:
    entries = [Entry(f"{i}.png", ("x",)) for i in range(5)]
    assert split(entries, 0) == {"train": entries, "validation": []}
    assert len(split(entries, 1e-9)["validation"]) == 1


def test_a_later_shard_of_one_sample_is_used(tmp_path: Path) -> None:
    spec = shards(tmp_path, [3, 1, 1])
    dataset = open_dataset(Registry.load(), spec, ["data.size=8", "data.stream=true"])
    held_out = {dataset.captions("validation", i)[0] for i in range(dataset.size("validation"))}
    assert held_out
    assert seen(dataset) == {f"image {i}" for i in range(5)} - held_out


def test_creatures_without_held_out_drawings() -> None:
    whole = open_dataset(Registry.load(), "creatures", ["data.count=5", "data.validation=0"])
    assert (whole.size("train"), whole.size("validation")) == (5, 0)
    assert not whole.trained_prompts  # its prompts are never drawn in training, whatever is held out
    single = open_dataset(Registry.load(), "creatures", ["data.count=1", "data.validation=0"])
    assert single.size("train") == 1
    with pytest.raises(UserError, match="validation=0"):
        open_dataset(Registry.load(), "creatures", ["data.count=1"])
    check_dataset("t2ikit/creatures", count=5, validation=0.0)


def trained(spec: str, out: Path, *settings: str) -> Path:
    """A toy run of one step with nothing held out."""
    registry = Registry.load([str(TOYS)])
    chosen = ["data.validation=0", "losses.contrast.weight=0", "train.steps=1", *settings]
    recipe = read_recipe(registry, "toys/denoiser", data=spec, settings=chosen)
    start_run(registry, recipe, out, device="cpu")
    return out


def test_a_stream_of_one_image_trains_and_is_validated_on_it(tmp_path: Path) -> None:
    run = trained(shards(tmp_path, [1]), tmp_path / "run", "data.stream=true")
    assert any(key.startswith("validation/") for key in read_log(run / "log.jsonl")[-1])


def test_an_evaluation_of_a_run_that_held_nothing_out_says_so(tmp_path: Path) -> None:
    run = trained(a_folder(tmp_path, 2), tmp_path / "run")
    evaluator = Evaluator(
        run, EvaluationOptions(n=4, metrics=("colours",)), plugins=[str(TOYS)], device="cpu"
    )
    assert set(evaluator.prompts) == {"image 0", "image 1"}
    notes = [note for note in evaluator._notes if "training images" in note]
    assert notes == ["the prompts are captions of training images: this run held none out"]
