"""Whole commands, `t2ikit train`: what their own logs say once they are warm."""

from __future__ import annotations

from pathlib import Path

from gpu.bench import Bench
from gpu.cases import COMPILED, CORE, Case
from gpu.checkouts import Checkout
from gpu.commands import Failed, TooLong, Watch, run, train, words_of

SECONDS, COMPILING = 35.0, 120.0
"""About what a case takes, and compiling it."""


def measure(bench: Bench) -> None:
    """Every case on every commit in turn, then those that are compiled."""
    toy = bench.options.toy
    cases = [case for case in CORE if not toy or case.toy is not None]
    models = build_models(bench, cases)
    for checkout in bench.turns():
        for case in cases:
            measure_case(bench, case, checkout, models)
    compiled = [one for one in bench.checkouts if has_setting(bench, one, "train", "compile")]
    for case in () if toy else COMPILED:
        for checkout in compiled:
            measure_case(bench, case, checkout, models, COMPILING)
    if not compiled:
        bench.leave_out("compiled", "there is no setting train.compile")


def measure_case(
    bench: Bench, case: Case, checkout: Checkout, models: Path, more_seconds: float = 0.0
) -> Path | None:
    """One training; the run's folder where it came to its end."""
    name, expected = case.name, 15.0 if bench.options.toy else SECONDS + more_seconds
    if not bench.fits(f"{name} ({checkout.name})", expected):
        return None
    folder = bench.new_path(f"{checkout.name}-{case.recipe}")
    watch = _watch(bench, case, more_seconds)
    extra = {"T2IKIT_CAP_GIB": f"{case.cap_gib:g}"} if case.cap_gib else None
    try:
        seen = train(checkout, case.words(bench.options.device, models), folder, watch, extra=extra)
    except (Failed, TooLong) as error:
        bench.failed(f"{name} ({checkout.name})", str(error))
        return None
    bench.add(name, seen.figures(watch.warm_up), checkout.name, case.note)
    if seen.end is None:
        return None
    bench.runs.setdefault((checkout.name, case.recipe), folder / "run")
    return folder / "run"


def _watch(bench: Bench, case: Case, more_seconds: float) -> Watch:
    if bench.options.toy:
        return Watch(warm_up=1, whole=True, limit=min(300.0, bench.left()))
    limit = 60.0 + more_seconds + (30.0 if case.whole else 0.0)
    return Watch(whole=case.whole, limit=min(limit, bench.left()))


def build_models(bench: Bench, cases: list[Case]) -> Path:
    """The small models that cases need; the folder that they are in."""
    folder = bench.folder / "models"
    script = Path(__file__).parents[1] / "small_models.py"
    for kind in {case.model for case in cases} - {""}:
        if not (folder / kind).exists():
            command = [words_of()[0], str(script), kind, str(folder / kind)]
            run(bench.checkouts[0], command, bench.new_path(kind))
    return folder


def has_setting(bench: Bench, checkout: Checkout, part: str, setting: str) -> bool:
    """Whether `t2ikit options PART` lists a setting."""
    try:
        listed = run(checkout, words_of("options", part), bench.new_path("options"), limit=60)[1]
    except (Failed, TooLong):
        return False
    return any(line.split()[:1] == [setting] for line in listed.splitlines())
