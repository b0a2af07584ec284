"""Several sources as one: how often each is shown, which images are held out, and runs that go on."""

from __future__ import annotations

import functools
import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from test_folder import COLOURS, save

import t2ikit
from t2ikit.core.interfaces import Dataset
from t2ikit.data.loader import StreamLoader
from t2ikit.data.mixing.config import as_spec, specs_in
from t2ikit.data.mixing.mixed import Mixed
from t2ikit.data.mixing.mixed_stream import MixedStream
from t2ikit.errors import UserError
from t2ikit.recipes.datasets import open_dataset
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.runs.create import portable
from training_support import RARELY, At, Killed, kill, state_of, train_toy


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load(["imagen"])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sources")
    for kind, count in (("a", 10), ("b", 40)):
        for i in range(count):
            image = save(root / kind / f"{i}.png", COLOURS[i % 8], size=(9 + i, 9))
            image.with_suffix(".txt").write_text(f"{kind} {i}")
    return root


def mixed(root: Path, *settings: str, names: tuple[str, ...] = ("a", "b")) -> Dataset:
    spec = as_spec([str(root / name) if len(name) == 1 else name for name in names])
    return open_dataset(Registry.load(), spec, ["data.size=8", "data.validation=0.2", *settings])


def kinds(captions: object) -> Counter[str]:
    return Counter(str(caption).split(" ")[0] for caption in captions)


def test_an_epoch_shows_every_image_by_the_weights(root: Path) -> None:
    dataset = mixed(root, "data.weights=[3, 1]")
    shown = Counter(dataset.record("train", i).captions[0] for i in range(dataset.size("train")))
    a, b = ({c: n for c, n in shown.items() if c.startswith(kind)} for kind in "ab")
    parts = [open_dataset(Registry.load(), str(root / kind), ["data.validation=0.2"]) for kind in "ab"]
    assert [len(a), len(b)] == [part.size("train") for part in parts]
    assert sum(a.values()) == 3 * sum(b.values())
    assert set(b.values()) == {1}
    assert max(a.values()) - min(a.values()) <= 1
    plain = mixed(root)
    assert plain.size("train") == len(shown)
    assert plain.fingerprint != dataset.fingerprint != mixed(root, "data.weights=[1, 3]").fingerprint
    assert dataset.fingerprint == mixed(root, "data.weights=[3, 1]").fingerprint
    with pytest.raises(IndexError):
        plain.record("train", plain.size("train"))


def test_each_source_keeps_its_split(root: Path) -> None:
    dataset = mixed(root, "data.weights=[1, 1]")
    held_out = [dataset.captions("validation", i) for i in range(dataset.size("validation"))]
    keys = {s: {dataset.record(s, i).key for i in range(dataset.size(s))} for s in ("train", "validation")}
    assert not keys["train"] & keys["validation"]
    assert len(keys["train"] | keys["validation"]) == 50
    for number, kind in enumerate("ab"):
        part = open_dataset(Registry.load(), str(root / kind), ["data.validation=0.2"])
        own = [part.captions("validation", i) for i in range(part.size("validation"))]
        assert [captions for captions in held_out if captions[0].startswith(kind)] == own
        assert f"{number}/{part.record('train', 0).key}" in keys["train"]
    few = kinds(captions[0] for captions in held_out[:2])
    assert few == {"a": 1, "b": 1}


def test_prompts_and_real_images_are_of_both(root: Path) -> None:
    dataset = mixed(root, "data.weights=[3, 1]")
    prompts = dataset.prompts(8, 0)
    assert kinds(prompts) == {"a": 6, "b": 2}
    images = dataset.images(prompts, 0)
    assert images is not None
    places = {
        dataset.captions(s, i)[0]: (s, i) for s in ("train", "validation") for i in range(dataset.size(s))
    }
    for prompt, image in zip(prompts, images, strict=True):
        assert torch.equal(image, dataset.record(*places[prompt]).image)
    assert dataset.images(["a 1", "nothing of the kind"], 0) is None


def test_options_go_to_the_sources_that_know_them(root: Path) -> None:
    settings = ["data.count=30", "data.size=16", "data.fit=pad"]
    dataset = mixed(root, *settings, "data.weights=[1, 2]", names=("creatures", "a"))
    assert isinstance(dataset, Mixed)
    assert dataset.parts[0].size("train") + dataset.parts[0].size("validation") == 30
    assert dataset.parts[1].config.fit == "pad"
    drawn = dataset.prompts(4, 0)
    assert dataset.images(drawn, 0) is not None
    assert "mixed: creatures 33.3%" in dataset.notes[-1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["data.weights=[1]"], "2 datasets need as many weights, not 1"),
        (["data.weights=[1, 0]"], "above 0"),
        (["data.weights=[1, inf]"], "above 0"),
        (["data.sise=8"], "did you mean 'size'"),
        (["data.size=9000"], "size"),
    ],
)
def test_settings_that_do_not_fit(root: Path, settings: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        mixed(root, *settings)
    assert words in str(caught.value)


def test_a_source_that_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(UserError, match="creaturs: there is no such dataset"):
        mixed(root, names=("creaturs", "a"))


def test_recipes_hold_absolute_paths_and_weights(registry, root: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(root)
    recipe = read_recipe(registry, None, data=as_spec(["creatures", "b"]), settings=["data.weights=[2,1]"])
    table = recipe.table()["data"]
    assert specs_in(table["spec"]) == ["creatures", str(root / "b")]
    assert table["weights"] == [2, 1]
    assert specs_in(portable({"data": table}, encoder=False)["data"]["spec"]) == ["creatures", "b"]
    spec = json.dumps(["creatures", str(root / "b")])
    begin = f'extends = "{registry.default_recipe().canonical}"'
    (tmp_path / "r.toml").write_text(f"{begin}\n[data]\nspec = {spec}\nweights = [2, 1]\n")
    assert read_recipe(registry, str(tmp_path / "r.toml")).table()["data"] == table
    again = t2ikit.read_recipe(plugin="imagen", data=["creatures", root / "b"], set={"data.weights": [2, 1]})
    assert again.table()["data"] == table


def test_a_run_on_two_sources_goes_on_bit_equal_and_is_evaluated(root: Path, tmp_path: Path) -> None:
    data = [str(root / "a"), str(root / "b")]
    settings = {"data.size": 16, "data.weights": [3, 1], "data.templates": ["a red {caption}"]}
    settings |= {"train.steps": 5, **RARELY, "train.save_every": 2, "train.log_every": 1}
    whole = train_toy(tmp_path / "whole", settings, data=data)
    with pytest.raises(Killed):
        train_toy(tmp_path / "part", settings, data=data, callbacks=[At(3, kill)])
    train_toy(resume=tmp_path / "part")
    assert state_of(tmp_path / "part") == state_of(whole.path)
    results = t2ikit.evaluate(whole, n=4, metrics="colours")
    assert results
    check_evaluations_of_a_mix(whole, data)
    (root / "b" / "0.txt").write_text("changed")
    with pytest.raises(UserError, match="the data has changed"):
        train_toy(resume=whole.path, set={"train.steps": 9})


def check_evaluations_of_a_mix(run, data: list[str]) -> None:
    """Several SPECs and weights, as training takes them; those of the run's own mix are not others'."""
    evaluated = functools.partial(t2ikit.evaluate, run, n=2, metrics="colours", write=False)
    own, turned = evaluated(), evaluated(data=data[::-1])
    weighted = evaluated(data=data[::-1], set={"data.weights": [1, 3]})
    told = [found.settings["data"] for found in (own, turned, weighted, evaluated(data=data[0]))]
    assert len(set(told)) == 4
    with pytest.raises(UserError, match="2 datasets need as many weights, not 3"):
        evaluated(data=data, set={"data.weights": [1, 3, 3]})
    with pytest.raises(UserError, match=r"data\.weights"):
        evaluated(data=data[0], set={"data.weights": [1, 3]})
    with pytest.raises(UserError, match="takes options of the sampler and of metrics"):
        evaluated(set={"data.size": 16})


# Streams


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("webdataset")
    from test_streaming import write_shards

    return write_shards(tmp_path_factory.mktemp("wds") / "shards", 3, 5)


def test_a_stream_and_a_folder_are_a_stream_by_the_weights(root: Path, shards: str) -> None:
    dataset = mixed(root, "data.stream=true", "data.weights=[1, 4]", names=("a", shards))
    assert isinstance(dataset, MixedStream)
    records = list(itertools.islice(dataset.records(3, 0, 1, 0), 5000))
    counts = kinds(record.key.split("/")[0] for record in records)
    assert abs(counts["0"] - 1000) < 5 * (5000 * 0.2 * 0.8) ** 0.5
    assert len({record.key for record in records[:40] if record.key.startswith("1/")}) > 10
    for start in (1, 17, 4095, 4096, 4200):
        again = itertools.islice(dataset.records(3, 0, 1, start), 20)
        assert [record.key for record in again] == [r.key for r in records[start : start + 20]], start
    a = [record.key for record in records if record.key.startswith("0/")]
    count = dataset.parts[0].size("train")
    assert all(len(set(a[i : i + count])) == count for i in range(0, 5 * count, count))
    (batch,) = StreamLoader(dataset, 3, 4).steps(2, 3)
    assert batch.captions == tuple(
        caption
        for caption, record in zip(batch.captions, records[8:12], strict=True)
        if caption in record.captions
    )
    with pytest.raises(UserError, match="is not known"):
        dataset.size("train")
    assert dataset.size("validation") > 0


def test_two_processes_share_a_folder_of_a_mixed_stream(root: Path, shards: str) -> None:
    dataset = mixed(root, "data.stream=true", names=("b", shards))
    half = dataset.parts[0].size("train") // 2
    seen = [
        [r.key for r in itertools.islice(dataset.records(3, rank, 2, 0), 60) if r.key.startswith("0/")][:half]
        for rank in (0, 1)
    ]
    assert [len(set(one)) for one in seen] == [half, half]
    assert not set(seen[0]) & set(seen[1])
