"""Every command in a pseudo-terminal, as a person sees it."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals", allow_module_level=True)

from test_resume import begin

from conftest import TESTS
from t2ikit import cli
from terminal import CTRL_C, Shown, run_in_terminal

WAITING, FAILING = TESTS / "toys" / "waiting.py", TESTS / "toys" / "failing.py"
TRAIN = [*begin("imagen"), "--set", "train.log_every=1", "--set", "train.precision=no"]
MOVES = re.compile(rb"\x1b\[\??[0-9;]*[A-HJKfhlsu]|\r(?!\n|\r)")
"""Control sequences that move the cursor, hide it or clear lines."""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder to work in, like a user's."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def trained(home) -> Shown:
    """What `t2ikit train` left on a terminal of 24 x 80; the run is runs/imagen-001."""
    return run_in_terminal(TRAIN, home, cold=True)


def check(found: Shown, *words: str, status: int = 0) -> None:
    """Nothing is broken on the screen, and the words are on it."""
    print("\n".join(found.lines))
    assert found.status == status
    assert "Traceback" not in found.text
    assert "Warning" not in found.text
    assert found.broken == []
    for word in words:
        assert word in found.text


def cursor_is_shown(found: Shown) -> bool:
    return found.raw.rfind(b"\x1b[?25h") >= found.raw.rfind(b"\x1b[?25l")


# ---------------------------------------------------------------- train


@pytest.mark.slow
def test_train(trained):
    check(trained, "━━━━", "images/s", " GiB  ", "loss ")
    bar, *paths = trained.lines
    assert bar.startswith("step 12/12  ━━━━━")
    assert paths == [
        "run:    runs/imagen-001",
        "grid:   runs/imagen-001/samples/step-00000012.png",
        "losses: runs/imagen-001/losses.png",
        'sample: t2ikit sample runs/imagen-001 "a prompt"',
    ]
    assert b"loading" in trained.raw  # before the first step
    assert b"eta " in trained.raw
    assert cursor_is_shown(trained)


@pytest.mark.slow
def test_ctrl_c_saves_and_the_command_that_is_printed_goes_on(home, trained):
    words = [*TRAIN, "--plugin", WAITING, "--out", "sp ace"]
    found = run_in_terminal(words, home, env={"WAIT_FOR": "1"}, press=[("waiting for Ctrl-C", CTRL_C)])
    check(found, "stopping after this step; press Ctrl-C again to stop at once", status=1)
    assert [line for line in found.lines if line.startswith("step 5/12")]
    assert cursor_is_shown(found)
    [command] = [line for line in found.lines if line.startswith("t2ikit train --resume ")]
    _, *rest = shlex.split(command)
    on = run_in_terminal(rest, home)
    check(on, "step 12/12", "images/s", "run:    sp ace", "sample: t2ikit sample 'sp ace' ")


@pytest.mark.slow
def test_ctrl_c_twice_stops_at_once(home, trained):
    words = [*TRAIN, "--plugin", WAITING, "--out", "twice"]
    press = [("waiting for Ctrl-C", CTRL_C), ("press Ctrl-C again", CTRL_C)]
    found = run_in_terminal(words, home, env={"WAIT_FOR": "3"}, press=press)
    check(found, "waiting for Ctrl-C", "interrupted", status=1)
    assert "step 5/12" not in found.text
    assert cursor_is_shown(found)


@pytest.mark.slow
def test_a_failure_at_the_third_step(home, trained):
    words = [*TRAIN, "--plugin", FAILING, "--set", "losses.infinite.weight=1", "--out", "failed"]
    found = run_in_terminal(words, home)
    check(found, "error: training diverged: loss/infinite is not finite at step 3", status=2)
    assert found.lines[0].startswith("step 2/12")
    assert [line for line in found.lines if line.startswith("  fix:      ")]
    assert cursor_is_shown(found)


@pytest.mark.slow
def test_an_unexpected_failure_is_shown_in_full(home, trained):
    words = [*TRAIN, "--plugin", FAILING, "--set", "losses.boom.weight=1", "--out", "broken"]
    found = run_in_terminal(words, home)
    assert found.status == 1
    assert found.lines[0].startswith("step 2/12")
    assert "RuntimeError: boom" in found.lines
    assert "to go on: `t2ikit train --resume broken --plugin " in found.lines[-1]
    assert "Traceback" in found.text
    assert cursor_is_shown(found)


@pytest.mark.slow
def test_a_notebooks_cell_gets_plain_lines(home, trained):
    """ipykernel runs `!command` in a pseudo-terminal, with these variables, and shows what comes as it is."""
    env = {
        "TERM": "xterm-color",
        "CLICOLOR": "1",
        "FORCE_COLOR": "1",
        "CLICOLOR_FORCE": "1",
        "JPY_PARENT_PID": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    found = run_in_terminal([*TRAIN, "--out", "notebook"], home, env=env)
    check(found, "step 12/12  eta 0:00:00", "grid:   notebook/samples")
    assert not MOVES.search(found.raw)
    assert len(found.lines) < 12


@pytest.mark.slow
def test_force_color_without_a_terminal(cli, trained):
    result = cli(*TRAIN, "--out", "forced", env={"FORCE_COLOR": "1"})
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout + result.stderr
    assert result.stderr.splitlines()[-1].startswith("step 12/12  eta 0:00:00  ")


# ---------------------------------------------------------------- commands on a run


@pytest.mark.slow
def test_sample(home, trained):
    found = run_in_terminal(["sample", "runs/imagen-001", "a red cat", "-n", 2], home, cold=True)
    check(found)
    assert found.lines == [f"grid: {Path('runs/imagen-001/outputs/001/grid.png')}"]
    assert b"sampling " in found.raw


@pytest.mark.slow
def test_evaluate(home, trained):
    words = ["evaluate", "runs/imagen-001", "--metrics", "colours,neighbours", "-n", 16]
    found = run_in_terminal(words, home, cold=True)
    check(found, "colours/saturation ", "sampling an image", "runs/imagen-001/evaluations/step-00000012-")
    measures = [line for line in found.lines if line.startswith("colours/")]
    assert all(re.search(r" n=\d+$", line) for line in measures)
    assert b"sampling " in found.raw


@pytest.mark.slow
def test_compare(home, trained):
    again = run_in_terminal([*TRAIN, "--out", "runs/imagen-002", "--set", "train.steps=2", "-q"], home)
    assert again.lines == ["runs/imagen-002"]
    words = ["compare", "runs/imagen-001", "runs/imagen-002", "-n", 4, "--metrics", "colours"]
    found = run_in_terminal([*words, "--out", "report.html"], home)
    check(found)
    assert found.lines == ["report: report.html"]
    assert (home / "report.html").is_file()


@pytest.mark.slow
def test_export(home, trained):
    words = ["export", "runs/imagen-001", "--format", "diffusers", "--out", "my-model"]
    found = run_in_terminal(words, home, cold=True)
    check(found)
    assert found.lines == ["written: my-model"]
    assert b"exporting" in found.raw


@pytest.mark.slow
def test_data(home):
    found = run_in_terminal(["data", "creatures", "--set", "data.count=200"], home)
    check(found, "190 train, 10 validation", "contact sheet: contact-sheet.png")
    assert (home / "contact-sheet.png").is_file()


@pytest.mark.slow
def test_memory(home):
    found = run_in_terminal(["memory", *TRAIN[1:], "--batch", 2], home)
    check(found, "imagen/default", "weights", "total", "MiB")


KINDS = {
    "wide and without colours": {"rows": 50, "columns": 200, "env": {"NO_COLOR": "1"}},
    "narrow": {"rows": 10, "columns": 40, "env": {"FORCE_COLOR": "1"}},
    "dumb": {"env": {"TERM": "dumb"}},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_train_in_other_terminals(home, trained, kind):
    name = kind.split()[0]
    found = run_in_terminal([*TRAIN, "--out", name], home, **KINDS[kind])
    check(found, "step 12/12", "images/s", "loss ", f"run:    {name}", f"{name}/samples/step-00000012.png")
    _check_control(found, kind)
    assert ("━" in found.text) == (kind != "dumb")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_sample_and_evaluate_in_other_terminals(home, trained, kind):
    out = f"out-{kind.split()[0]}"
    found = run_in_terminal(["sample", "runs/imagen-001", "a red cat", "--out", out], home, **KINDS[kind])
    check(found)
    assert found.lines == [f"grid: {out}/grid.png"]
    _check_control(found, kind)
    words = ["evaluate", "runs/imagen-001", "--metrics", "colours", "-n", 16, "--seed", len(kind)]
    found = run_in_terminal(words, home, **KINDS[kind])
    check(found, "colours/saturation ", " n=")
    _check_control(found, kind)


def _check_control(found: Shown, kind: str) -> None:
    if kind == "dumb":
        assert b"\x1b" not in found.raw
    if "without colours" in kind:
        assert not re.search(rb"\x1b\[[0-9;]*3[0-9]m", found.raw)


# ---------------------------------------------------------------- listings and help


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("words", ["plugins", "recipes", "options train", "options imagen/unet"])
def test_listings(home, words, columns):
    found = run_in_terminal(words.split(), home, columns=columns)
    check(found)
    assert len(found.lines) > 3
    assert max(map(len, found.lines)) <= columns


@pytest.mark.parametrize("name", ["", *sorted(command.name for command in cli.app.registered_commands)])
def test_help(home, name):
    found = run_in_terminal([*name.split(), "--help"], home, rows=10, columns=40)
    check(found, "Usage: t2ikit", "Examples:", "--help")
    assert max(map(len, found.lines)) <= 40
