"""`t2ikit runs`: what each folder holds, without torch, and without getting in the way of a training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from t2ikit import UserError
from t2ikit.cli import main
from t2ikit.runs import listing as run_listing
from t2ikit.runs.files import lock_run
from t2ikit.runs.listing import age, list_runs, row, summarise
from training_support import interrupted, no_curves, train_toy

__all__ = ["no_curves"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that is done and one that was stopped."""
    folder = tmp_path_factory.mktemp("made")
    train_toy(folder / "whole", {"train.steps": 4, "train.log_every": 2, "losses.contrast.weight": 0.5})
    interrupted(folder / "short", {"train.steps": 4, "train.log_every": 1}, at=2)
    return folder


@pytest.fixture
def runs(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs")


def newest(run: Path) -> Path:
    return max((run / "checkpoints").iterdir())


def test_a_line_a_run(runs, capsys):
    assert main(["runs", str(runs)]) == 0
    header, short, whole = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert header == list(run_listing.COLUMNS)
    assert short[:4] == ["short", "toys", "squares", "2/4"]
    assert short[-1] == "stopped"
    assert whole[:4] == ["whole", "toys", "squares", "4/4"]
    assert whole[-1] == "done"
    log = [json.loads(line) for line in (runs / "whole" / "log.jsonl").read_text().splitlines()]
    loss = log[-1]["validation/learned-variance"] + 0.5 * log[-1]["validation/contrast"]
    assert float(whole[4]) == pytest.approx(loss, rel=1e-3)
    assert whole[6] == f"{log[-1]['images_per_second']:.0f}"


def test_json_and_one_run(runs, capsys):
    assert main(["runs", str(runs), "--json"]) == 0
    short, whole = json.loads(capsys.readouterr().out)
    assert (short["name"], short["step"], short["state"]) == ("short", 2, "stopped")
    assert short["validation_loss"] is None
    assert (whole["steps"], whole["accuracy"], whole["problem"]) == (4, None, "")
    assert 0 <= whole["age"] < 3600
    assert main(["runs", str(runs / "whole"), "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["whole"]


def test_no_runs_yet_and_no_such_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["\t".join(run_listing.COLUMNS)]
    assert "`t2ikit train --plugin imagen` makes one" in err
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["runs", "gone"]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_prompt_accuracy_is_that_of_the_newest_step(runs):
    evaluations = runs / "whole" / "evaluations"
    for name, step, value in (("a", 2, 90.0), ("b", 4, 50.0), ("c", 4, 61.25)):
        (evaluations / name).mkdir(parents=True)
        measures = {"prompt-accuracy/joint": {"value": value, "n": 64}}
        file = evaluations / name / "evaluation.json"
        file.write_text(json.dumps({"measures": measures, "settings": {"step": step}}))
        os.utime(file, (1e9 + value, 1e9 + value))
    (evaluations / "other").mkdir()
    (evaluations / "other" / "evaluation.json").write_text('{"measures": {}, "settings": {"step": 9}}')
    (evaluations / "damaged").mkdir()
    (evaluations / "damaged" / "evaluation.json").write_text("{")
    found = summarise(runs / "whole")
    assert found.accuracy == {"value": 61.25, "n": 64, "step": 4}
    assert row(found)[5] == "61.2 %"
    assert found.state == "done"


def test_running_is_a_lock_that_is_held(runs):
    run = runs / "short"
    assert (run / ".training.lock").exists()  # left over from the training
    with FileLock(run / ".training.lock"):
        assert summarise(run).state == "running"
        with (run / "log.jsonl").open("a") as log:
            log.write('{"step": 3, "loss/contrast": 1.0}\n{"step": 4, "loss')
        assert summarise(run).step == 3
    assert (summarise(run).state, summarise(run).step) == ("stopped", 2)


def test_looking_keeps_no_training_from_beginning(runs):
    fcntl = pytest.importorskip("fcntl")

    run = runs / "short"
    handle = os.open(run / ".training.lock", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)  # as `t2ikit runs` does for an instant
    thread = threading.Timer(0.2, os.close, [handle])
    thread.start()
    lock = lock_run(run)
    thread.join()
    assert lock.is_locked
    lock.release()
    before = sorted(runs.rglob("*"))
    list_runs(runs)
    assert sorted(runs.rglob("*")) == before


DAMAGE = {
    "recipe.toml: ": lambda run: (run / "recipe.toml").write_text("[train\n"),
    "recipe.toml: no entry 'generator'": lambda run: (run / "recipe.toml").write_text("[train]\nsteps = 1\n"),
    "cannot be read": lambda run: (run / "recipe.toml").unlink(),
    "run.json: ": lambda run: (run / "run.json").write_text("{"),
    "run.json: not a JSON object": lambda run: (run / "run.json").write_text("[]"),
    "log.jsonl: a line is damaged": lambda run: (run / "log.jsonl").write_bytes(b"\xff\n"),
    "ema.safetensors is not whole": lambda run: (newest(run) / "ema.safetensors").write_bytes(b"short"),
    "generator.safetensors": lambda run: (newest(run) / "generator.safetensors").unlink(),
    "step-00000004: ": lambda run: (newest(run) / "manifest.json").write_text('{"files": []}'),
    "state.json": lambda run: (newest(run) / "state.json").unlink(),
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_what_is_damaged_is_named(reason, runs, capsys):
    DAMAGE[reason](runs / "whole")
    assert main(["runs", str(runs)]) == 0
    out, err = capsys.readouterr()
    assert [line.split("\t")[-1] for line in out.splitlines()] == ["state", "stopped", "damaged"]
    assert "whole is damaged: " in err
    assert reason in err


def test_folders_of_others_are_left_alone(runs):
    shutil.rmtree(runs / "short")
    (runs / "notes.txt").write_text("text")
    (runs / "empty").mkdir()
    (runs / "other").mkdir()
    (runs / "other" / "recipe.toml").write_text("flour = 500")
    (runs / "loop").symlink_to(runs / "loop")
    (runs / "nowhere").symlink_to(runs / "gone")
    assert [run.name for run in list_runs(runs)] == ["whole"]
    assert summarise(runs / "empty").state == "damaged"


def test_an_export_is_done(runs):
    export = runs / "export"
    export.mkdir()
    for name in ("recipe.toml", "run.json"):
        shutil.copyfile(runs / "whole" / name, export / name)
    info = json.loads((export / "run.json").read_text())
    (export / "run.json").write_text(json.dumps({**info, "step": 4}))
    (export / "model_index.json").write_text("{}")
    (found,) = list_runs(export)
    assert (found.state, found.step, found.exported) == ("done", 4, True)
    assert len(list_runs(runs)) == 3


def test_of_a_long_log_the_end_is_read(runs, monkeypatch):
    log = runs / "whole" / "log.jsonl"
    line = json.dumps({"step": 1, "loss/contrast": 0.123456789, "images_per_second": 10.0})
    log.write_text(f"{line}\n" * 100_000 + '{"step": 2, "validation/contrast": 4.0}\n' + f"{line}\n" * 20)
    parsed = []
    loads = json.loads
    monkeypatch.setattr(run_listing.json, "loads", lambda text: parsed.append(text) or loads(text))
    found = summarise(runs / "whole")
    assert found.validation_loss == 2.0
    assert len(parsed) < 30
    log.write_text(f"{line}\n" * 100_000)
    assert summarise(runs / "whole").validation_loss is None


def test_numbers_that_are_none_do_not_reach_json(runs, capsys):
    (runs / "whole" / "log.jsonl").write_text(
        '{"step": 2, "images_per_second": NaN, "validation/contrast": Infinity}\n'
        '{"step": 4, "validation/contrast": null}\n'
    )
    assert main(["runs", str(runs / "whole"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["validation_loss"] is found["images_per_second"] is None


def test_a_timed_run_shows_its_minutes(tmp_path, runs):
    run = interrupted(tmp_path / "timed", {"train.log_every": 1}, at=2, minutes=60)
    found = summarise(run.path)
    assert (found.state, found.minutes) == ("stopped", 60)
    assert 0 < found.minutes_done < 60
    assert row(found)[3] == f"2, {found.minutes_done:.1f}/60 min"


def test_a_spec_that_is_a_path_is_short_and_harmless(runs):
    recipe = runs / "whole" / "recipe.toml"
    text = recipe.read_text()
    for spec, shown in (
        ("/far/away/images", "images"),
        ("hf:me/data", "hf:me/data"),
        ("/a/\x1b[31mred", "\\x1b[31mred"),
    ):
        recipe.write_text(text.replace('spec = "squares"', f"spec = {json.dumps(spec)}"))
        assert row(summarise(runs / "whole"))[2] == shown


def test_ages():
    assert [age(s) for s in (5, 90, 7200, 200_000)] == ["5s", "2m", "2h", "2d"]


def test_it_starts_without_torch(runs):
    code = (
        "import sys\nfrom t2ikit.cli import main\n"
        f"assert main(['runs', {str(runs)!r}]) == 0\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="there are no runs"):
        list_runs(tmp_path / "file")
