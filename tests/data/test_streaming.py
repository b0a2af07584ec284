"""Shards as a stream: disjoint between processes, nothing lost or repeated, the same after a resume."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import tarfile
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from test_distributed import two_processes

from t2ikit.data.configs import ShardsConfig
from t2ikit.data.formats.shard_stream import ShardStream, open_shards
from t2ikit.data.loader import StreamLoader
from t2ikit.errors import T2ikitWarning, UserError
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs.log import TIMED, read_log

pytest.importorskip("webdataset")
SHARDS, EACH = 6, 7


def write_shards(root: Path, shards: int = SHARDS, each: int = EACH) -> str:
    root.mkdir()
    random = np.random.default_rng(0)
    for number in range(shards):
        with tarfile.open(root / f"s{number:02}.tar", "w") as shard:
            for i in range(each):
                content = io.BytesIO()
                Image.fromarray(random.integers(0, 256, (10, 10, 3), dtype=np.uint8)).save(content, "PNG")
                text = json.dumps({"text": [f"image {number} {i}", f"again {number} {i}"]})
                for ending, data in (("png", content.getvalue()), ("json", text.encode())):
                    member = tarfile.TarInfo(f"{number:02}{i:03}.{ending}")
                    member.size = len(data)
                    shard.addfile(member, io.BytesIO(data))
    return f"wds:{root}/s{{00..{shards - 1:02}}}.tar"


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> str:
    return write_shards(tmp_path_factory.mktemp("wds") / "shards")


def open_stream(spec: str, **options: object) -> ShardStream:
    dataset = open_shards(ShardsConfig(spec=spec, **{"size": 8, "stream": True, **options}))
    assert isinstance(dataset, ShardStream)
    return dataset


def names(stream: ShardStream, count: int, rank: int = 0, world: int = 1, start: int = 0) -> list[str]:
    return [record.key for record in itertools.islice(stream.records(3, rank, world, start), count)]


def test_an_epoch_has_every_image_once_and_the_next_another_order(spec) -> None:
    stream = open_stream(spec)
    held_out = stream.size("validation")
    assert held_out >= 1
    count = SHARDS * EACH - held_out
    first, second = names(stream, count), names(stream, count, start=count)
    assert len(set(first)) == count
    assert set(first) == set(second)
    assert first != second
    validation = {f"0/{stream.record('validation', i).key}" for i in range(held_out)}
    assert not validation & set(first)
    assert len(validation | set(first)) == SHARDS * EACH
    numbers = [name.split("/")[0] for name in first]
    assert len(set(numbers[:8])) > 1  # several shards are mixed


def test_it_goes_on_anywhere(spec) -> None:
    stream = open_stream(spec)
    whole = names(stream, 130)
    for start in (1, 6, 7, 28, 40, 41, 83, 100):
        assert names(open_stream(spec), 20, start=start) == whole[start : start + 20], start


@pytest.mark.parametrize("world", [2, 3])
def test_processes_see_disjoint_shards_and_all_of_them(spec, world) -> None:
    stream = open_stream(spec)
    total = SHARDS * EACH - stream.size("validation")
    counts = [0] * world
    for rank in range(world):
        mine = {number for group in stream._groups(3, 0, rank, world) for number in group}
        counts[rank] = sum(len(stream._samples(number)) for number in mine)
    seen = [names(stream, counts[rank], rank, world) for rank in range(world)]
    shards = [{name.split("/")[0] for name in one} for one in seen]
    assert all(not a & b for a, b in itertools.combinations(shards, 2))
    assert len({name for one in seen for name in one}) == total == sum(counts)


def test_two_processes_give_one_batch(spec) -> None:
    barrier, captions = threading.Barrier(2), {}

    def gather(rank):
        def gathered(mine):
            captions[rank] = mine
            barrier.wait(10)
            both = [captions[0], captions[1]]
            barrier.wait(10)
            return both

        return gathered

    found: dict[int, list] = {}

    def run(rank):
        loader = StreamLoader(open_stream(spec), 3, 8, rank, 2, gather=gather(rank))
        found[rank] = list(loader.steps(0, 5))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (0, 1)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    for step, (a, b) in enumerate(zip(found[0], found[1], strict=True)):
        assert a.all_captions == b.all_captions
        assert len(a.all_captions) == 8
        assert (*a.captions, *b.captions) == a.all_captions
        assert torch.cat([a.keys, b.keys]).tolist() == list(range(8 * step, 8 * step + 8))
        assert torch.cat([a.caption_index, b.caption_index]).tolist() == list(range(8))


@pytest.mark.parametrize(
    ("start", "rank", "world", "digest"),
    [
        (0, 0, 1, "792e43a7da38a82c"),
        (0, 0, 2, "ad4a381ab2bd2162"),
        (0, 1, 2, "079c7b86b8ed9f5b"),
        (17, 0, 1, "d9f0c2b798a44c21"),
        (17, 0, 2, "76cf3c3b76b9b294"),
        (17, 1, 2, "23e64deba73b4d73"),
    ],
)
@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_batches_are_those_of_every_version_with_any_number_of_workers(
    spec, num_workers, start, rank, world, digest
) -> None:
    """The digests are those of the captions, masks and keys that the first version gave."""
    gather = (lambda captions: [captions, captions]) if world == 2 else None
    stream = open_stream(spec)
    place = (3, 8, rank, world)
    loader = StreamLoader(stream, *place, num_workers=num_workers, gather=gather)
    found = hashlib.blake2b(digest_size=8)
    records = stream.records(3, rank, world, start * 8 // world)
    for batch in loader.steps(start, start + 12):
        assert torch.equal(batch.images, torch.stack([next(records).image for _ in batch.images]))
        words = [batch.captions, batch.wrong, batch.mismatch_mask.tolist(), batch.all_captions]
        numbers = [batch.caption_index.tolist(), batch.keys.tolist(), batch.ratio]
        found.update(json.dumps([*words, *numbers]).encode())
    assert found.hexdigest() == digest


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_are_a_pure_function_of_the_step(spec, num_workers) -> None:
    whole = list(StreamLoader(open_stream(spec), 3, 4).steps(0, 25))
    again = list(StreamLoader(open_stream(spec), 3, 4, num_workers=num_workers).steps(17, 25))
    drawn = Counter()
    for a, b in zip(whole[17:], again, strict=True):
        assert torch.equal(a.images, b.images)
        assert (a.all_captions, a.wrong, a.keys.tolist()) == (b.all_captions, b.wrong, b.keys.tolist())
    for batch in whole:
        assert batch.images.shape == (4, 3, 8, 8)
        for own, wrong, ok in zip(batch.captions, batch.wrong, batch.mismatch_mask, strict=True):
            same = own.split(" ", 1)[1] == wrong.split(" ", 1)[1]
            assert bool(ok) != same
            drawn[own.split(" ")[0]] += 1
    assert min(drawn["image"], drawn["again"]) > 20  # each of an image's captions is drawn
    (alone,) = StreamLoader(open_stream(spec), 3, 1).steps(0, 1)
    assert alone.mismatch_mask.tolist() == [0.0]


def test_shards_elsewhere_are_fetched_and_nothing_is_decoded_twice(spec, tmp_path, monkeypatch) -> None:
    from t2ikit.data import decoded_cache

    root = spec.removeprefix("wds:").split("/s{")[0]
    decoded = []
    real = decoded_cache.read_image
    monkeypatch.setattr(decoded_cache, "read_image", lambda *a: decoded.append(1) or real(*a))
    piped = f"wds:pipe:cat {root}/s{{00..05}}.tar"
    options = {"cache": str(tmp_path / "cache"), "stream": None}
    found = open_stream(piped, **options)
    count = SHARDS * EACH - found.size("validation")
    assert sorted(names(found, count)) == sorted(names(open_stream(spec), count))
    before = len(decoded)
    names(open_stream(piped, **options), count)
    assert len(decoded) == before
    with pytest.raises(UserError, match="cannot be fetched"):
        open_stream("wds:pipe:cat /nowhere/{0..3}.tar", **options)


def test_a_bad_shard_is_skipped_and_told_until_there_are_too_many(tmp_path) -> None:
    spec = write_shards(tmp_path / "shards")
    (tmp_path / "shards" / "s03.tar").write_bytes(b"no archive at all")
    stream = open_stream(spec)
    with pytest.warns(UserWarning, match=r"s03\.tar: this shard is skipped"):
        seen = names(stream, (SHARDS - 1) * EACH - stream.size("validation"))
    assert len(set(seen)) == len(seen)
    assert not any(name.startswith("3/") for name in seen)
    with pytest.raises(UserError, match=r"s03\.tar"):
        names(open_stream(spec, max_bad=0.1), 100)
    (tmp_path / "shards" / "s00.tar").write_bytes(b"")
    with pytest.raises(UserError):
        open_stream(spec)


def test_what_a_stream_cannot_say_is_explained(spec) -> None:
    stream = open_stream(spec)
    with pytest.raises(UserError, match="is not known"):
        stream.size("train")
    with pytest.raises(UserError, match="fewer shards than processes"):
        next(stream.records(0, 0, 7, 0))
    assert open_stream(spec).fingerprint == stream.fingerprint != open_stream(spec, size=16).fingerprint


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bad_shard_is_told_by_whatever_process_reads_it(tmp_path, num_workers) -> None:
    spec = write_shards(tmp_path / "shards")
    (tmp_path / "shards" / "s03.tar").write_bytes(b"no archive at all")
    with pytest.warns(T2ikitWarning, match=r"s03\.tar: this shard is skipped") as told:
        list(StreamLoader(open_stream(spec), 3, 7, num_workers=num_workers).steps(0, 5))
    assert len(told) == 1
    with pytest.raises(UserError, match=r"s03\.tar"):
        list(StreamLoader(open_stream(spec, max_bad=0.1), 3, 7, num_workers=num_workers).steps(0, 5))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_while_reading_ahead_reaches_the_training(spec, monkeypatch, num_workers) -> None:
    stream = open_stream(spec)

    def broken(*given):
        yield from itertools.islice(ShardStream.records(stream, *given), 6)
        raise UserError("the disk is gone")

    monkeypatch.setattr(stream, "records", broken)
    batches = StreamLoader(stream, 0, 4, num_workers=num_workers).steps()
    next(batches)
    with pytest.raises(UserError, match="the disk is gone"):
        next(batches)


def words(spec: str, out: str, steps: int, *settings: str) -> list[str]:
    small = ("train.batch=4", "train.samples=1", "generator.channels=[32,32,32]", "sampler.steps=1")
    chosen = (f"train.steps={steps}", "data.stream=true", "train.save_every=3", *small, *settings)
    flags = [word for setting in chosen for word in ("--set", setting)]
    base = ["train", "--plugin", "imagen", "--device", "cpu"]
    return [*base, "--data", spec, "--out", out, *flags]


@pytest.mark.slow
def test_a_run_stopped_mid_shard_ends_as_one_never_stopped(spec, cli, tmp_path) -> None:
    whole = cli(*words(spec, "whole", 9))
    assert whole.returncode == 0, whole.stderr
    part = cli(*words(spec, "part", 9), "--set", "train.keep_last=9")
    assert part.returncode == 0, part.stderr
    for path in ckpt.checkpoints(tmp_path / "part")[1:]:
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    resumed = cli("train", "--resume", "part", "--device", "cpu")
    assert resumed.returncode == 0, resumed.stderr
    a, b = (ckpt.checkpoints(tmp_path / name)[-1] for name in ("whole", "part"))
    for path in a.glob("*.safetensors"):
        left, right = load_file(path), load_file(b / path.name)
        assert all(torch.equal(left[key], right[key]) for key in left), path.name


@pytest.mark.slow
def test_two_processes_train_on_a_stream(spec, cli, tmp_path) -> None:
    done = cli(*words(spec, "two", 4), launcher=two_processes(), timeout=120)
    assert done.returncode == 0, done.stderr
    log = read_log(tmp_path / "two" / "log.jsonl")
    assert log[-1]["step"] == 4
    counts = ckpt.load_latest(tmp_path / "two")[0].state["words"]
    assert counts["image"] + counts["again"] == 4 * 4  # the captions of both processes
    assert set(log[-1]) - set(TIMED)
