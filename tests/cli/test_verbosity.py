"""`--quiet`, `--verbose`, and what libraries say."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path

import pytest
from test_resume import begin

from t2ikit.cli import main
from t2ikit.cli.libraries import ERRORS_ONLY, NO_BARS, hide_bars, quiet_libraries
from t2ikit.cli.output import echo, print_result, wrapped
from t2ikit.errors import T2ikitWarning
from t2ikit.utils.console import Verbosity, set_verbosity, verbosity


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a run."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["-q", *map(str, begin("imagen")), "--out", "run"]) == 0
    return folder


@pytest.fixture
def run(home, capsys, monkeypatch):
    """Run a command there; gives its output and what it says on standard error."""
    monkeypatch.chdir(home)

    def command(*words: object) -> tuple[str, str]:
        assert main([str(word) for word in words]) == 0
        return tuple(capsys.readouterr())

    return command


TRAIN = [*map(str, begin("imagen")), "--set", "train.steps=2", "--out"]
EVALUATE = ["evaluate", "run", "--metrics", "colours", "-n", 4]
COMPARE = ["compare", "run", "other", "--metrics", "colours", "-n", 4, "--out", "report.html"]


PARTS = ("validation", "grid", "checkpoint")


# ---------------------------------------------------------------- --quiet


def test_quiet_commands_print_their_result_alone(run):
    assert run("-q", *TRAIN, "other") == ("other\n", "")
    assert run("train", "--quiet", *TRAIN[1:], "third") == ("third\n", "")
    grid = Path("run/outputs/001/grid.png")
    assert run("sample", "run", "a red cat", "-q") == (f"{grid}\n", "")
    assert run(*COMPARE, "-q") == ("report.html\n", "")
    assert run("export", "run", "--format", "diffusers", "--out", "model", "-q") == ("model\n", "")
    assert run("data", "creatures", "--set", "data.count=40", "-q") == ("contact-sheet.png\n", "")
    out, err = run("memory", "--plugin", "imagen", "--batch", 1, "-q")
    assert re.fullmatch(r"[\d.]+ [MG]iB\n", out)
    assert err == ""
    out, err = run(*EVALUATE, "-q")
    assert out.startswith("colours/saturation ")
    assert err == ""


def test_what_is_wrong_is_told_however_quiet(capsys):
    assert main(["-q", "sample", "no-run", "a"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0]) == ("", "error: no-run is not a run folder")


def test_quiet_and_verbose_exclude_each_other(capsys):
    assert main(["plugins", "-q", "-v"]) == 2
    assert "--quiet does not go with --verbose" in capsys.readouterr().err


def test_one_command_does_not_make_the_next_quiet(capsys):
    main(["-q", "plugins"])
    assert verbosity() == Verbosity.normal


# ---------------------------------------------------------------- --verbose


@pytest.mark.parametrize("words", [["-v", *EVALUATE], [*EVALUATE, "--verbose"]])
def test_verbose_says_what_is_decided_and_how_long_it_takes(run, words):
    _, err = run(*words)
    for pattern in (
        r"^t2ikit \S+, Python \S+, \S+$",
        r"^device: cpu, CPU threads \d+, PyTorch \S+$",
        r"^reading run/recipe\.toml$",
        r"^reading run/checkpoints/step-00000012$",
        r"^generator: imagen/unet, [\d,]+ parameters$",
        r"^sampling: \d+ in [\d.]+ s$",
        r"^measuring colours: [\d.]+ s$",
        r"^done in [\d.]+ s$",
    ):
        assert re.search(pattern, err, re.MULTILINE), (pattern, err)


def test_verbose_of_the_other_commands(run):
    said = {
        "train": (
            r"^reading .*default\.toml$",
            r"^device: ",
            r"^validation: [\d.]+ s$",
            r"^checkpoint: [\d.]+ s$",
        ),
        "sample": (r"^reading run/recipe\.toml$", r"^sampling: [\d.]+ in "),
        "compare": (r"^reading run/recipe\.toml$", r"^reading verbose/recipe\.toml$"),
        "export": (r"^exporting: [\d.]+ s$",),
        "data": (r"^looking at the data: [\d.]+ s$",),
        "memory": (r"^predicting: [\d.]+ s$",),
        "plugins": (r"^done in ",),
    }
    words = {
        "train": [*TRAIN, "verbose"],
        "sample": ["sample", "run", "a red cat"],
        "compare": ["compare", "run", "verbose", *COMPARE[3:]],
        "export": ["export", "run", "--format", "diffusers", "--out", "verbose-model"],
        "data": ["data", "creatures", "--set", "data.count=40"],
        "memory": ["memory", "--plugin", "imagen", "--batch", 1],
        "plugins": ["plugins"],
    }
    for name, patterns in said.items():
        _, err = run(*words[name], "-v")
        for pattern in patterns:
            assert re.search(pattern, err, re.MULTILINE), (name, pattern, err)


# ---------------------------------------------------------------- libraries


def warn_from(name: str, filename: str, category: type[Warning] = UserWarning) -> None:
    """Warn as a module of this name in this file would."""
    code = compile("import warnings\nwarnings.warn('beware', kind)", filename, "exec")
    exec(code, {"__name__": name, "kind": category, "__warningregistry__": {}})


LIBRARY = os.path.join(sysconfig.get_path("purelib"), "transformers", "image.py")
OURS = str(Path(sys.modules["t2ikit"].__file__).parent / "nn" / "clip.py")


@pytest.mark.parametrize(
    ("name", "filename", "category", "shown"),
    [
        ("transformers.image", LIBRARY, UserWarning, ""),
        ("transformers.image", LIBRARY, FutureWarning, ""),
        ("argparse", os.path.join(sysconfig.get_path("stdlib"), "argparse.py"), UserWarning, ""),
        ("t2ikit.nn.clip", OURS, UserWarning, ""),  # a compiled function's of PyTorch
        ("t2ikit_imagen.unet", "/src/t2ikit_imagen/unet.py", UserWarning, ""),
        ("t2ikit.nn.clip", OURS, T2ikitWarning, "warning: beware\n"),
        ("my_loss", "/home/me/my_loss.py", UserWarning, "/home/me/my_loss.py:2: UserWarning: beware\n"),
    ],
)
def test_which_warnings_are_shown(capsys, name, filename, category, shown):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, kind, file, line, *_: print(  # as without pytest
            f"{file}:{line}: {kind.__name__}: {message}", file=sys.stderr
        )
        with quiet_libraries():
            warn_from(name, filename, category)
    assert capsys.readouterr().err == shown


def test_verbose_and_pythonwarnings_show_them_all(capsys, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: print(message, file=sys.stderr)
        with quiet_libraries():
            set_verbosity(Verbosity.verbose)
            warn_from("transformers.image", LIBRARY)
            set_verbosity(Verbosity.normal)
        monkeypatch.setattr(sys, "warnoptions", ["default"])
        with quiet_libraries():
            warn_from("transformers.image", LIBRARY)
    assert capsys.readouterr().err == "beware\n" * 2


def test_nothing_of_it_outlasts_the_command(monkeypatch):
    monkeypatch.setenv("DIFFUSERS_VERBOSITY", "info")
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    before, shown = dict(os.environ), warnings.showwarning
    with quiet_libraries():
        hide_bars()
        assert os.environ["TRANSFORMERS_VERBOSITY"] == "error"
        assert os.environ["DIFFUSERS_VERBOSITY"] == "info"  # the user's own
        assert warnings.showwarning is not shown
        assert all(name in os.environ for name in (*ERRORS_ONLY, *NO_BARS))
    assert dict(os.environ) == before
    assert warnings.showwarning is shown


def test_importing_t2ikit_changes_nothing_of_it():
    code = (
        "import os, warnings\n"
        "before = dict(os.environ), warnings.showwarning, warnings.filters[:]\n"
        "import t2ikit, t2ikit.cli, t2ikit.utils.hub\n"
        "assert before == (dict(os.environ), warnings.showwarning, warnings.filters[:])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_no_librarys_logger_reaches_a_user(cli, tmp_path):
    (tmp_path / "noisy.py").write_text(
        "import logging, torch._dynamo, transformers, diffusers\n"
        "names = ('torch', 'torch._dynamo', 'torch._inductor', 'torch.distributed')\n"
        "for name in names: logging.getLogger(name).warning('of %s', name)\n"
        "for library in (transformers, diffusers):\n"
        "    library.utils.logging.get_logger(library.__name__ + '.image').warning('of a library')\n"
        "from t2ikit import hookimpl\n"
        "@hookimpl\n"
        "def t2ikit_step_end(): pass\n"
    )
    result = cli("plugins", "--plugin", "./noisy.py", cold=True)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.slow
def test_a_clip_without_torchvision_is_no_reason_to_warn(home, cli, tmp_path):
    from clip_support import clip_folder

    clip = clip_folder(tmp_path / "clip")
    words = ["evaluate", home / "run", "-n", 4, "--metrics", "clip-score", "--set"]
    result = cli(*words, f"metrics.clip-score.model={clip}", cold=True)
    assert result.returncode == 0, result.stderr
    assert "clip-score" in result.stdout
    assert result.stderr == ""


# ---------------------------------------------------------------- standard output


def test_results_are_labelled_and_stand_below_each_other(capsys):
    print_result([("run", "a"), ("losses", "b c")])
    assert capsys.readouterr().out == "run:    a\nlosses: b c\n"


def test_lines_are_wrapped_on_a_terminal_alone(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    text = "note: one two three four five six seven"
    echo(text)
    assert capsys.readouterr().out == f"{text}\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    echo(text)
    assert capsys.readouterr().out == "note: one two three four five\n      six seven\n"


def test_a_command_in_backquotes_is_not_broken(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    lines = wrapped("  fix:      go on with `t2ikit train --resume a/b` then").split("\n")
    assert "`t2ikit train --resume a/b`" in [line.strip() for line in lines]
    assert wrapped("short") == "short"


def test_python_logging_is_left_alone():
    with quiet_libraries():
        assert logging.root.manager.disable == 0


def test_a_damaged_checkpoint_is_told_of_however_quiet(home, run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(home / "run", copy)
    newest = max((copy / "checkpoints").glob("step-*"))
    (newest / "ema.safetensors").write_bytes(b"cut short")
    _, said = run("-q", "sample", copy, "a red cat", "-n", 1, "--out", tmp_path / "images")
    assert said.startswith("warning: ")
    assert f"{newest.name}/ema.safetensors is missing or damaged" in said
    assert said.count("\n") == 1
