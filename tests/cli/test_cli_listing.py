"""The command line around the commands, and `plugins`, `recipes`, `options`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit

from conftest import heed_interrupts
from t2ikit import __version__, cli
from t2ikit.cli import main
from t2ikit.cli.output import print_rows
from t2ikit.config.describe import describe
from t2ikit.recipes.lookup import CONFIGURED
from t2ikit.recipes.schema import SECTIONS
from t2ikit.registry.registry import Registry

HEAVY = ("torch", "numpy", "PIL", "diffusers", "transformers", "accelerate", "matplotlib", "safetensors")


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    out, err = capsys.readouterr()
    return status, out, err


def write_plugin(folder: Path, name: str, body: str) -> str:
    path = folder / name
    path.write_text(f"from t2ikit import Config, LossSpec, SamplerSpec, hookimpl\n{body}")
    return str(path)


SOFT = """
class C(Config):
    gamma: float = 5.0
    '''how soft, decibels'''

@hookimpl
def t2ikit_losses():
    return [LossSpec("soft", print, C, "a soft loss")]

@hookimpl
def t2ikit_samplers():
    return [SamplerSpec("soft", print)]
"""


# ---------------------------------------------------------------- statuses and messages


def test_version_and_help(capsys):
    assert run(capsys, "--version") == (0, f"t2ikit {__version__}\n", "")
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for name in ("train", "sample", "evaluate", "plugins", "recipes", "options"):
        assert name in out


@pytest.mark.parametrize("arguments", [["nonsense"], ["plugins", "--nonsense"], ["options"]])
def test_wrong_usage_is_status_2(capsys, arguments):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    assert "Error" in err


def test_a_users_mistake_is_told_without_a_traceback(capsys):
    status, out, err = run(capsys, "options", "unett")
    assert (status, out) == (2, "")
    assert err.startswith("error: there is nothing with options called 'unett'\n")
    assert "did you mean 'unet'" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("raised", "status", "word"),
    [
        (KeyboardInterrupt(), 1, "interrupted\n"),
        (RuntimeError("odd"), 1, "RuntimeError: odd"),
        (SystemExit(3), 3, ""),
        (SystemExit("why"), 1, "why"),
    ],
)
def test_other_ends(capsys, monkeypatch, raised, status, word):
    def fail(requested=()):
        raise raised

    monkeypatch.setattr(Registry, "load", fail)
    found, out, err = run(capsys, "plugins")
    assert (found, out) == (status, "")
    assert word in err
    assert ("Traceback" in err) == isinstance(raised, RuntimeError)


def test_a_closed_pipe_is_quiet():
    command = f"{sys.executable} -m t2ikit options train | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.returncode in (0, 1)


def test_an_interrupt_of_the_process_is_status_1(tmp_path):
    slow = write_plugin(tmp_path, "slow.py", "import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "t2ikit", "plugins", "--plugin", slow],
        stdout=-1,
        stderr=-1,
        text=True,
        preexec_fn=heed_interrupts,
    )
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (1, "interrupted\n")


# ---------------------------------------------------------------- start-up


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plugins"], ["recipes"], ["options", "train"], ["options", "losses.denoise"]]
)
def test_listing_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom t2ikit.cli import main\n"
        f"assert main({arguments!r}) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"


def test_python_m_finds_no_plugin_in_the_working_folder(tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit('a plugin of the folder ran')\n")
    info = tmp_path / "evil-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[t2ikit]\nevil = evil\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-m", "t2ikit", "plugins"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "evil" not in result.stdout


# ---------------------------------------------------------------- the listings


def test_plugins_lists_parts_and_reasons(capsys, tmp_path, monkeypatch):
    (tmp_path / "t2ikit_torn.py").write_text("import nothing_like_this\n")
    info = tmp_path / "torn-2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torn\nVersion: 2\n")
    (info / "entry_points.txt").write_text("[t2ikit]\ntorn = t2ikit_torn\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    status, out, _ = run(capsys, "plugins", "--plugin", write_plugin(tmp_path, "mine.py", SOFT))
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in out.splitlines()}
    assert status == 0
    assert rows["t2ikit"][0] == f"t2ikit {__version__}"
    assert "datasets: creatures" in rows["t2ikit"][1]
    assert rows["mine"] == [str(tmp_path / "mine.py"), "losses: soft; samplers: soft"]
    assert rows["torn"][0] == "torn 2"
    assert rows["torn"][1].startswith("broken: ModuleNotFoundError: No module named 'nothing_like_this' (")


def test_recipes_lists_and_prints(capsys):
    status, out, _ = run(capsys, "recipes")
    assert status == 0
    head, *names = (line.split("\t")[0] for line in out.splitlines())
    assert head == "recipe"
    assert "imagen/default" in names
    for name in names:
        status, out, _ = run(capsys, "recipes", name)
        path = Registry.load().find("recipes", name).spec.path
        assert (status, out) == (0, path.read_text(encoding="utf-8"))
        tomlkit.parse(out)


def test_options_of_a_part_and_of_a_core_table(capsys, tmp_path):
    mine = write_plugin(tmp_path, "mine.py", SOFT)
    status, out, _ = run(capsys, "options", "losses:soft", "--plugin", mine)
    assert status == 0
    head, columns, *rows = out.splitlines()
    assert head.startswith("# mine/soft, loss, from ")
    assert "of the generator" in head
    assert columns == "option\ttakes\tdefault\thelp"
    assert rows == ["gamma\ta number\t5.0\thow soft, decibels"]
    status, out, _ = run(capsys, "options", "train")
    assert out.splitlines()[0].startswith("# train in imagen/default: ")
    assert "steps\ta whole number at least 1\t1000\t\toptimiser steps of each player" in out.splitlines()


def rows_of(capsys, *words):
    status, out, err = run(capsys, "options", *words)
    assert (status, err) == (0, "")
    title, header, *rows = out.splitlines()
    return title, header.split("\t"), {row.split("\t")[0]: row.split("\t")[1:] for row in rows}


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        ("train", "steps", ["1000", ""]),
        ("data", "size", ["32", ""]),
        ("text", "use", ["required", '"t2ikit/builtin"']),
        ("generator", "head_width", ["16", "32"]),
        ("sampler", "guidance", ["3.0", "2.0"]),
        ("optimizer.generator", "lr", ["0.001", "0.003"]),
        ("optimizer", "generator.lr", ["0.001", "0.003"]),
        ("losses.denoise", "weighting", ['"min_snr"', '"snr_plus_one"']),
        ("losses.denoise", "weight", ["1.0", ""]),
        ("losses", "denoise.gradient", ["0.0", "1.0"]),
        ("losses.clip", "model", ["required", ""]),  # not in the recipe, but could be
        ("critics.multiscale", "augment.translation", ["0.0", ""]),
    ],
)
def test_options_by_the_name_a_person_tries(capsys, name, key, said):
    title, header, rows = rows_of(capsys, name)
    assert title.startswith(f"# {name} in imagen/default: ")
    assert header == ["option", "takes", "default", "imagen/default", "help"]
    assert rows[key][1:3] == said
    assert all(row[0] and row[3] for row in rows.values())
    alone = rows_of(capsys, f"{name}.{key}")[2]
    assert alone == {(f"{name}.{key}".removeprefix(f"{_table(name, key)}.")): rows[key]}


def _table(name, key):
    return f"{name}.{key.split('.')[0]}" if name in ("optimizer", "losses") else name


@pytest.mark.parametrize("name", ["metrics.fid", "metrics.clip-score.model", "metrics"])
def test_options_of_metrics_are_of_no_recipe(capsys, name):
    title, header, rows = rows_of(capsys, name)
    assert title.startswith(f"# {name}: ")
    assert header == ["option", "takes", "default", "help"]
    assert rows


def test_options_of_another_plugin_or_recipe(capsys, tmp_path):
    _, header, rows = rows_of(capsys, "generator", "--plugin", "gigagan")
    assert header[3] == "gigagan/default"
    assert rows["use"][2] == '"gigagan/generator"'
    assert rows_of(capsys, "critics.multiscale", "--plugin", "gigagan")[2]["predictor_layers"][2] == "2"
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "imagen/default"\n[train]\nsteps = 7\n')
    _, header, rows = rows_of(capsys, "train.steps", "--recipe", str(mine))
    assert header[3] == str(mine)
    assert rows == {"steps": ["a whole number at least 1", "1000", "7", "optimiser steps of each player"]}
    file = write_plugin(tmp_path, "mine.py", SOFT)
    assert rows_of(capsys, "losses.soft", "--plugin", file)[2]["gamma"][1] == "5.0"  # which has no recipe
    assert (
        "none in this recipe; these can be added: critics.score, critics.multiscale"
        in rows_of(capsys, "critics")[0]
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("data.sise", "did you mean 'size'?"),
        ("losses.denose", "did you mean 'losses.denoise'"),
        ("losses.clib", "did you mean 'losses.clip'"),
        ("optimizer.critic", "did you mean 'optimizer.generator'"),
        ("smapler", "did you mean 'sampler'"),
        ("imagen/unet.chanels", "did you mean 'channels'"),
        ("imagen/unett.channels", "did you mean 'imagen/unet'"),
        ("data.", "choose one of"),
    ],
)
def test_options_of_what_there_is_not(capsys, name, hint):
    status, out, err = run(capsys, "options", name)
    assert (status, out) == (2, "")
    assert hint in err


def test_an_option_of_a_part_stands_alone(capsys):
    _, header, rows = rows_of(capsys, "imagen/unet.channels")
    assert header == ["option", "takes", "default", "help"]
    assert list(rows) == ["channels"]


def test_every_option_has_a_help():
    registry = Registry.load()
    for kind in CONFIGURED:
        for entry in registry.entries(kind):
            for option in describe(entry.spec.config):
                assert option.help, f"{entry.canonical}: {option.key}"
    for name, config in SECTIONS.items():
        assert all(option.help for option in describe(config)), name


def test_options_of_a_name_in_two_kinds(capsys, tmp_path):
    mine = write_plugin(tmp_path, "mine.py", SOFT)
    status, _, err = run(capsys, "options", "soft", "--plugin", mine)
    assert status == 2
    assert "losses:mine/soft, samplers:mine/soft" in err
    status, _, err = run(capsys, "options", "loses:soft", "--plugin", mine)
    assert status == 2
    assert "did you mean 'losses'" in err


def test_a_terminal_gets_a_table_that_loses_nothing(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "30")
    print_rows(["name", "help"], [["a" * 40, "[red]b[/red]"]])
    out = capsys.readouterr().out
    assert "name" in out
    assert out.count("a") >= 40
    assert "[red]" in out.replace("\n", "").replace(" ", "")


def test_every_command_is_registered():
    names = {command.name for command in cli.app.registered_commands}
    assert names >= {"train", "sample", "evaluate", "plugins", "recipes", "options"}
