"""Checkpoints are there whole or not at all, and the only one is never deleted."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2ikit import UserError
from t2ikit.runs import checkpoint as ckpt


def snapshot(step: int, validation: float | None = None) -> ckpt.Snapshot:
    weights = {
        "w": torch.arange(6.0).view(2, 3) + step,
        "n": torch.tensor(step),
        "view": torch.ones(4, 4).t(),
    }
    return ckpt.Snapshot(step, {"generator": weights}, {"validation": validation, "sums": {"a": [0.1, 3]}})


def test_what_is_saved_is_read_back(tmp_path):
    path = ckpt.save(tmp_path, snapshot(7, 0.25))
    assert path.name == "step-00000007"
    found = ckpt.load(path)
    assert found.step == 7
    assert found.state == {"validation": 0.25, "sums": {"a": [0.1, 3]}}
    for name, tensor in snapshot(7).tensors["generator"].items():
        assert torch.equal(found.tensors["generator"][name], tensor)


def test_tensors_that_share_memory_are_saved(tmp_path):
    tied = torch.ones(3)
    path = ckpt.save(tmp_path, ckpt.Snapshot(1, {"generator": {"a": tied, "b": tied}}, {}))
    assert torch.equal(ckpt.load(path).tensors["generator"]["b"], tied)


def test_steps_are_ordered_as_numbers(tmp_path):
    for step in (5, 200_000_000, 90_000_000):
        ckpt.save(tmp_path, snapshot(step))
    assert [ckpt.step_of(path) for path in ckpt.checkpoints(tmp_path)] == [5, 90_000_000, 200_000_000]


@pytest.mark.parametrize("name", ["generator.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "short", "altered"])
def test_damage_is_noticed_and_the_one_before_is_taken(tmp_path, name, damage):
    ckpt.save(tmp_path, snapshot(1))
    path = ckpt.save(tmp_path, snapshot(2))
    file = path / name
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(data[:-5] if damage == "short" else data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    if name == "manifest.json" and damage == "altered":
        file.write_text(json.dumps({"files": {"generator.safetensors": {"bytes": 1, "sha256": "0"}}}))
    with pytest.raises(UserError, match="missing or damaged"):
        ckpt.load(path)
    found, damaged = ckpt.load_latest(tmp_path)
    assert found.step == 1
    assert len(damaged) == 1
    ckpt.set_aside(tmp_path, after=1)
    assert [ckpt.step_of(p) for p in ckpt.checkpoints(tmp_path)] == [1]
    assert (tmp_path / "checkpoints" / "damaged-step-00000002").is_dir()


def test_a_failing_disk_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    ckpt.save(tmp_path, snapshot(1))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ckpt, "save_file", full)
    with pytest.raises(UserError, match="step 2 could not be written") as error:
        ckpt.save(tmp_path, snapshot(2))
    assert "No space left" in str(error.value)
    assert "latest checkpoint is of step 1" in str(error.value)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    assert ckpt.load_latest(tmp_path)[0].step == 1


@settings(max_examples=40, deadline=None)
@given(
    scores=st.lists(st.none() | st.floats(0, 9), min_size=1, max_size=7),
    keep=st.integers(0, 3),
    best=st.integers(0, 3),
)
def test_retention(tmp_path_factory, scores, keep, best):
    run = tmp_path_factory.mktemp("run")
    for step, score in enumerate(scores, 1):
        ckpt.save(run, snapshot(step, score))
    ckpt.prune(run, keep_last=keep, keep_best=best)
    left = {ckpt.step_of(path) for path in ckpt.checkpoints(run)}
    assert len(scores) in left  # the newest, whatever the settings
    ranked = sorted((score, step) for step, score in enumerate(scores, 1) if score is not None)
    newest = range(len(scores) - max(keep, 1) + 1, len(scores) + 1)
    assert left == {step for step in newest if step > 0} | {step for _, step in ranked[:best]}


def test_a_score_that_is_no_number_is_never_the_best(tmp_path):
    for step, score in enumerate([float("nan"), 0.9, 1.0, 0.5, 1.2], 1):
        ckpt.save(tmp_path, snapshot(step, score))
        ckpt.prune(tmp_path, keep_last=1, keep_best=1)
    assert [ckpt.step_of(path) for path in ckpt.checkpoints(tmp_path)] == [4, 5]


def test_what_a_kill_left_is_swept(tmp_path):
    (tmp_path / "checkpoints" / ".writing-step-00000001").mkdir(parents=True)
    ckpt.save(tmp_path, snapshot(2))
    ckpt.save(tmp_path, snapshot(2))  # the same step again
    ckpt.prune(tmp_path, keep_last=1, keep_best=0)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]


@pytest.mark.parametrize("manifest", ['{"files": 3}', '{"files": {}}', "[]", '{"files": {"state.json": 1}}'])
def test_a_manifest_that_lists_nothing_is_damage(tmp_path, manifest):
    path = ckpt.save(tmp_path, snapshot(1))
    (path / "manifest.json").write_text(manifest)
    with pytest.raises(UserError, match=r"manifest\.json is missing or damaged"):
        ckpt.load(path)
