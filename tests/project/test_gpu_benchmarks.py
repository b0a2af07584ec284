"""benchmarks/gpu.sh, without a GPU: every part at toy size, and what its figures are made of."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from gpu.__main__ import PARTS, parse
from gpu.bench import Bench, Options
from gpu.cases import COMPILED, CORE, SMALL_MODELS
from gpu.checkouts import HERE, Checkout
from gpu.commands import Watch, Watched
from gpu.parts import core, memory, peers, sampling, startup, tests
from gpu.results import Results, file_name
from gpu.wheels import missing

from gpu import commands, table
from t2ikit.cli import main
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry

VERSIONS = {
    "device": "NVIDIA X",
    "torch": "2",
    "driver": "1",
    "this": {"commit": "abc", "dirty": False},
    "before": {"commit": "def", "dirty": False},
    "date": "2020-01-01",
    "toy": False,
}


@pytest.fixture
def bench(tmp_path):
    """A measurement on the CPU."""
    results = Results(tmp_path / "gpu-x.json", VERSIONS)
    found = Bench(Options("cpu"), [Checkout("this", HERE)], results, tmp_path / "files")
    found.begin("core")
    return found


@pytest.fixture
def here(monkeypatch):
    """Commands in this process, which has imported everything."""

    @contextlib.contextmanager
    def started(checkout, command, folder, extra=None):
        folder.mkdir(parents=True, exist_ok=True)
        before, text = Path.cwd(), io.StringIO()
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
                status = call(command[1:])
        finally:
            os.chdir(before)
        (folder / "printed.txt").write_text(text.getvalue())
        yield (
            SimpleNamespace(returncode=status, poll=lambda: status, wait=lambda limit: status),
            (folder / "printed.txt"),
        )

    monkeypatch.setattr(commands, "started", started)


def call(words: list[str]) -> int:
    """`python WORDS`: t2ikit's command line, or a script's."""
    if words[:2] == ["-m", "t2ikit"]:
        return main(words[2:])
    if words[0] == str(commands.LAUNCHER):
        return main(words[1:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words)
        runpy.run_path(words[0], run_name="__main__")
    return 0


def rows(bench: Bench) -> dict[str, dict[str, list[float]]]:
    found = json.loads(bench.results.path.read_text())["parts"][bench.part]
    return {row["name"]: row["figures"] for row in found["rows"]}


@pytest.mark.slow
def test_core_and_sampling_at_toy_size(bench, here, monkeypatch):
    monkeypatch.setattr("t2ikit.training.session.plot_curves", lambda log, out: None)
    monkeypatch.setattr(core, "CORE", CORE[:1])
    core.measure(bench)
    figures = rows(bench)["imagen/default"]
    assert figures["images_per_second"][0] > 0
    assert 0 < figures["grid_s"][0] <= figures["command_s"][0]
    bench.begin("sampling")
    sampling.measure(bench)  # of the run that core has made
    assert [*rows(bench)["sample imagen/default"]] == ["first_2"]
    assert bench.failures == []


@pytest.mark.slow
def test_the_command(tmp_path):
    """In processes of its own, as on a GPU."""
    out = tmp_path / "out.json"
    command = [str(HERE / "benchmarks" / "gpu.sh"), "tests", "--device", "cpu", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())["parts"]["tests"]
    assert found["measured_with"]["toy"]
    assert found["rows"][0]["figures"]["failed"] == [0]
    assert out.with_suffix(".md").read_text() in done.stdout


def test_memory_is_predicted_and_taken(bench, monkeypatch):
    """Of a stand-in for both commands."""

    def run(checkout, command, folder, *, limit, extra=None):
        name, found = (
            ("peak.json", {"allocated_mib": 2.0}) if extra else ("forecast.json", {"total": 3 * 2**20})
        )
        folder.mkdir(parents=True)
        (folder / name).write_text(json.dumps(found))
        return 1.0, ""

    monkeypatch.setattr(memory, "run", run)
    memory.measure(bench)
    figures = rows(bench)["imagen/default, fp32"]
    assert figures == {"predicted_mib": [3], "allocated_mib": [2], "ratio": [1.5]}


def test_imports_are_added_up():
    printed = """import time: self [us] | cumulative | imported package
import time:     100000 |     100000 |   torch._C
import time:     300000 |     400000 | torch
import time:     200000 |     200000 | t2ikit
"""
    found = startup.seconds_of(printed)
    assert found == pytest.approx({"imports_s": 0.6, "torch_s": 0.4, "imports_over_torch": 1.5})


def test_peers_and_ours_are_compared_at_the_same_batch(bench, monkeypatch):
    """Of a stand-in for the script; what a peer says of its absence is kept."""
    models = {"ours": {"images_per_second": 400.0}, "a peer": {"images_per_second": 300.0}}
    answers = {"models": models, "left_out": {"another": "not installed"}}
    monkeypatch.setattr(peers, "answer", lambda *given, **more: answers)
    best: dict[str, float] = {}
    for batch, dtype, compiled in peers.VARIANTS:
        peers.unets(bench, batch, dtype, compiled, best)
    assert best == {"as it ships": 300, "with bf16 or compile": 300}
    monkeypatch.setattr(peers, "has_setting", lambda *given: False)
    bench.results.versions = {**VERSIONS}
    case = next(case for case in CORE if case.recipe == "imagen/imagen-64")
    bench.add(case.name, {"images_per_second": 1500.0})
    peers.whole_command(bench, best)
    assert rows(bench)[f"whole command: {case.name}"]["over the best peer as it ships"] == [5]
    assert bench.results.parts["core"]["left_out"][0]["why"] == "not installed"


@pytest.mark.parametrize("case", [*CORE, *memory.RECIPES], ids=lambda case: case.name)
def test_every_case_is_a_recipe(case, tmp_path):
    """Settings are taken, at full and at toy size."""
    registry = Registry.load([case.recipe.partition("/")[0]])
    for device in ("cuda", "cpu") if case.toy is not None else ("cuda",):
        words = case.words(device, tmp_path)
        settings = [value for option, value in itertools.pairwise(words) if option == "--set"]
        recipe = read_recipe(registry, case.recipe, settings=settings)
        assert bool(case.model) == any(str(tmp_path) in one for one in settings)
    assert recipe.name == case.recipe


def test_what_is_compiled_is_also_measured_as_it_is():
    assert {case.recipe for case in COMPILED} < {case.recipe for case in CORE}
    assert all("train.compile=on" in case.settings for case in COMPILED)
    assert {case.model for case in CORE} - {""} <= {*SMALL_MODELS}


def test_a_part_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["cores"])
    assert "there are: core, startup, tests" in capsys.readouterr().err
    assert parse(["peers", "--budget", "60"]).budget == 60
    assert {path.stem for path in (HERE / "benchmarks" / "gpu" / "parts").glob("[a-z]*.py")} == {*PARTS}


def test_the_budget_leaves_out_what_does_not_fit(tmp_path):
    now = iter([0.0, *range(0, 200, 10)])
    results = Results(tmp_path / "x.json", VERSIONS)
    bench = Bench(Options("cuda", budget=60), [], results, tmp_path, clock=lambda: next(now))
    bench.begin("core")  # reads the clock once
    assert bench.fits("first", 47.0)  # 60 - 3 for the table - 10
    assert not bench.fits("second", 37.1)
    assert results.parts["core"]["left_out"][0]["name"] == "second"
    assert bench.failures == []


def test_figures_are_medians_after_the_warm_up():
    lines = [
        {"step": 10 * n, "images_per_second": float(n), "memory_mb": 100 - n, "mfu": 0.1}
        for n in range(1, 10)
    ]
    found = Watched(lines, first_line=3.0).figures(60)
    assert found["images_per_second"] == 8  # of 7, 8, 9
    assert found["memory_mb"] == 93
    assert (found["mfu"], found["data_wait"], found["grid_s"]) == (0.1, None, None)


def trained(folder: Path, code: str, watch: Watch) -> Watched:
    """Watch a program in place of a training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "words_of", lambda *words, launched: [sys.executable, "-c", code])
        return commands.train(Checkout("this", HERE), [], folder, watch)


WRITES = """
import json, pathlib, time
path = pathlib.Path("run/log.jsonl"); path.parent.mkdir()
with path.open("a", buffering=1) as file:
    for step in range(1, {steps}):
        file.write(json.dumps(dict(step=step, images_per_second=step)) + chr(10))
        time.sleep(0.02)
{end}
"""


def test_a_training_is_stopped_when_enough_is_known(tmp_path):
    watch = Watch(warm_up=2, seconds=0.1, lines=3, limit=60)
    seen = trained(tmp_path, WRITES.format(steps=10000, end=""), watch)
    assert seen.end is None
    assert 5 <= len(seen.lines) < 5000


def test_a_training_that_fails_says_why(tmp_path):
    code = WRITES.format(steps=3, end="raise SystemExit('error: no such recipe')")
    with pytest.raises(commands.Failed, match="no such recipe"):
        trained(tmp_path, code, Watch(warm_up=1))


def test_a_training_that_is_too_slow_is_given_up(tmp_path):
    with pytest.raises(commands.TooLong):
        trained(tmp_path, "import time; time.sleep(60)", Watch(limit=0.3))


def test_results_of_other_parts_stay_and_repeats_add_up(tmp_path):
    path = tmp_path / file_name("NVIDIA H100 80GB HBM3")
    assert path.name == "gpu-h100-80gb-hbm3.json"
    first = Results(path, VERSIONS)
    first.begin("core")
    for rate in (100.0, 120.0, 110.0):
        first.add("core", "a", "this", {"images_per_second": rate, "mfu": None}, "")
    first.add("core", "a", "before", {"images_per_second": 50.0}, "")
    second = Results(path, VERSIONS)
    second.begin("peers")
    second.leave_out("peers", "minimagen", "not installed")
    assert second.row("core", "a") == {"images_per_second": [100.0, 120.0, 110.0]}
    other = {**VERSIONS, "this": {"commit": "xyz", "dirty": False}}
    assert Results(path, other).row("core", "a") is None
    text = table.markdown(json.loads(path.read_text()))
    assert "| a | abc | 110 [100, 120] |" in text
    assert "| a | def | 50 |" in text
    assert "- minimagen: not installed" in text
    assert "commit `abc`, 2020-01-01" in text


def test_the_page_has_the_figures_of_the_results():
    tables = table.figures(table.RESULTS)
    page = table.PAGE.read_text()
    assert page == table.with_figures(page, list(tables.values()))
    assert all(path.with_suffix(".md").read_text() == text for path, text in tables.items())
    changed = table.with_figures(page, ["| 1 |"])
    assert "| 1 |" in changed
    assert table.with_figures(changed, list(tables.values())) == page


def test_reports_of_pytest_are_counted(tmp_path):
    path = tmp_path / "report.xml"
    cases = (
        "<testcase name='a' time='1.5'/>",
        "<testcase name='b' time='1'><skipped/></testcase>",
        "<testcase name='c' time='0'><failure message='unlike'/></testcase>",
    )
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    counts, bad = tests.read_report(path)
    assert counts == {"passed": 1, "failed": 1, "skipped": 1, "seconds": 2.5}
    assert bad == {"c": "unlike"}


def test_only_missing_wheels_are_installed(tmp_path):
    for name in ("pytest-8.0-py3-none-any.whl", "no_such_thing-1.0-py3-none-any.whl"):
        (tmp_path / name).touch()
    assert [path.name for path in missing(tmp_path)] == ["no_such_thing-1.0-py3-none-any.whl"]
