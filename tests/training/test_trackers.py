"""Each tracker is read back by other means than its own: what went in is what is there."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sqlite3
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2ikit.errors import UserError
from t2ikit.training.trackers import BACKENDS, Trackers, run_identity, wandb_logged_in

NAMES = tuple(BACKENDS)
SCALARS = {
    10: {"loss/denoise": 0.123456789, "lr/generator": 1e-5, "images_per_second": 37},
    20: {"loss/denoise": 2.5e-9, "lr/generator": 2e-5, "validation/denoise": 0.5},
    30: {"loss/denoise": 3.0},
}
SCRIPT = """
import json, sys
from pathlib import Path
from PIL import Image
from t2ikit.training.trackers import Trackers

names, run, scalars = json.loads(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
trackers = Trackers(names, run, "t2ikit", {"train": {"batch": 4}})
for step, values in scalars.items():
    trackers.log(int(step), values)
    trackers.images(int(step), "samples", Image.new("RGB", (40, 30), (int(step), 0, 0)))
trackers.close()
"""


def track(run: Path, names: tuple[str, ...], scalars: dict[int, dict[str, float]], **extra: str) -> str:
    """Log in a process of its own, with no terminal, no login and no settings of this machine."""
    home = run.parent / "home"
    home.mkdir(exist_ok=True)
    hidden = ("WANDB_", "TRACKIO_", "HF_", "NETRC")
    env = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    env |= {"HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **extra}
    command = [sys.executable, "-c", SCRIPT, json.dumps(names), str(run), json.dumps(scalars)]
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of steps 10 and 20, killed after 20 and resumed from 10: 20 is logged again, then 30."""
    missing = [name for name in NAMES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    run = tmp_path_factory.mktemp("runs") / "my run"
    run.mkdir()
    said = track(run, NAMES, {step: SCALARS[step] for step in (10, 20)})
    said += track(run, NAMES, {step: SCALARS[step] for step in (20, 30)})
    return run, said


def test_tensorboard_holds_what_was_logged_once(tracked: tuple[Path, str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tracked[0] / "trackers" / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            assert tag not in found[event.step], "logged twice"
            found[event.step][tag] = event.value
    assert found == {step: {k: float(np.float32(v)) for k, v in row.items()} for step, row in SCALARS.items()}
    images = {event.step: event.encoded_image_string for event in events.Images("samples")}
    assert set(images) == set(SCALARS)
    for step, content in images.items():
        image = Image.open(io.BytesIO(content)).convert("RGB")
        assert image.size == (40, 30)
        assert image.getpixel((0, 0)) == (step, 0, 0)


def wandb_history(file: Path) -> dict[int, dict[str, object]]:
    """The history of an offline run, by step: a log of LevelDB's format (blocks of 32 KiB)."""
    from wandb.proto import wandb_internal_pb2

    history: dict[int, dict[str, object]] = {}
    for content in leveldb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            row = {
                "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in record.history.item
            }
            history[record.history.step.num] = row
    return history


def leveldb_records(content: bytes) -> Iterator[bytes]:
    """https://github.com/google/leveldb/blob/main/doc/log_format.md, after wandb's header of 7 bytes."""
    place, parts = 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        if kind == 0:
            place += left
            continue
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def test_wandb_holds_what_was_logged_under_one_identity(tracked: tuple[Path, str]) -> None:
    run, said = tracked
    identity = run_identity(run)
    assert said.count("wandb: not logged in") == 2
    files = sorted((run / "trackers" / "wandb").glob(f"offline-run-*/run-{identity}.wandb"))
    assert len(files) == 2
    for file, steps in zip(files, ((10, 20), (20, 30)), strict=True):
        found = wandb_history(file)
        assert set(found) == set(steps)
        for step, row in found.items():
            scalars = {k: v for k, v in row.items() if not k.startswith(("_", "samples"))}
            assert scalars == SCALARS[step]
            assert any(k.startswith("samples") for k in row)
            (image,) = file.parent.glob(f"files/media/images/samples_{step}_*.png")
            assert Image.open(image).convert("RGB").getpixel((0, 0)) == (step, 0, 0)


def test_wandb_mode_is_obeyed_without_a_word(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    said = track(tmp_path / "run", ("wandb",), {10: SCALARS[10]}, WANDB_MODE="offline")
    assert said == ""
    (file,) = tmp_path.glob("run/trackers/wandb/offline-run-*/*.wandb")
    assert set(wandb_history(file)) == {10}


def test_trackio_holds_what_was_logged_in_one_run(tracked: tuple[Path, str]) -> None:
    run, said = tracked
    folder = run / "trackers" / "trackio"
    assert f"TRACKIO_DIR={folder}" in said
    with sqlite3.connect(folder / "t2ikit.db") as database:
        rows = database.execute("SELECT run_name, run_id, step, metrics FROM metrics").fetchall()
        configs = [json.loads(row[0]) for row in database.execute("SELECT config FROM configs")]
    assert {row[0] for row in rows} == {run_identity(run)}
    assert len({row[1] for row in rows}) == 1
    assert configs[0]["train"] == {"batch": 4}
    assert "allow_val_change" not in configs[0]
    found: dict[int, dict[str, object]] = defaultdict(dict)
    for _, _, step, metrics in rows:
        found[step] |= json.loads(metrics)
    assert {step: row.pop("samples")["_type"] for step, row in found.items()} == dict.fromkeys(  # type: ignore[index]
        SCALARS, "trackio.image"
    )
    assert found == SCALARS
    assert len(list(folder.glob("media/**/*.png"))) == 4


def test_all_files_lie_under_the_run(tracked: tuple[Path, str]) -> None:
    run, _ = tracked
    assert {path.name for path in run.iterdir()} == {"trackers"}
    names = {path.name for path in (run / "trackers").iterdir()}
    assert {"identity", "tensorboard", "wandb", "trackio"} <= names


# Names, packages, identity


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'wandb'"):
        Trackers(["wanbd"], tmp_path, "t2ikit", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_package_is_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(UserError) as caught:
        Trackers([name], tmp_path, "t2ikit", {})
    assert f"pip install {name}, or leave" in str(caught.value)


def test_identity_stays_with_the_folder_and_is_no_other_runs(tmp_path: Path) -> None:
    for name in ("a/run one", "b/run one"):
        (tmp_path / name / "trackers").mkdir(parents=True)
    first = run_identity(tmp_path / "a/run one")
    assert first.startswith("run-one-")
    assert first != run_identity(tmp_path / "b/run one")
    (tmp_path / "a/run one").rename(tmp_path / "moved")
    assert run_identity(tmp_path / "moved") == first


def test_no_trackers_do_nothing(tmp_path: Path) -> None:
    trackers = Trackers([], tmp_path, "t2ikit", {})
    trackers.log(1, {"loss/a": 1.0})
    trackers.images(1, "samples", Image.new("RGB", (4, 4)))
    trackers.close()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in written] == ["identity"]


def test_a_login_is_found_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    url = "https://wandb.example.org"
    assert not wandb_logged_in(url)
    (tmp_path / "netrc").write_text("machine other.example.org login user password x\n")
    assert not wandb_logged_in(url)
    (tmp_path / "netrc").write_text("machine wandb.example.org login user password x\n")
    assert wandb_logged_in(url)
    (tmp_path / "netrc").write_text("machine\n")
    assert not wandb_logged_in(url)
    assert wandb_logged_in(url, "a key from the settings")
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert wandb_logged_in(url)
