"""Every check of every part of a plugin: what `t2ikit plugin check` runs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from t2ikit.config.toml import apply_settings, parse_setting
from t2ikit.errors import UserError
from t2ikit.recipes.settings import Settings, as_settings
from t2ikit.registry.registry import Entry, Registry
from t2ikit.registry.specs import SINGULAR
from t2ikit.runs.open import open_run
from t2ikit.runs.run import Run
from t2ikit.testing.checks.critics import CRITIC_CHECKS, critic_trials
from t2ikit.testing.checks.datasets import DATASET_CHECKS, DatasetTrial
from t2ikit.testing.checks.generator_trial import GeneratorTrial
from t2ikit.testing.checks.generators import GENERATOR_CHECKS
from t2ikit.testing.checks.losses import LOSS_CHECKS, loss_trials
from t2ikit.testing.checks.metrics import METRIC_CHECKS, MetricTrial
from t2ikit.testing.checks.plugins import (
    NO_TORCH,
    PLUGIN_CHECKS,
    PluginTrial,
    check_exporter,
    check_help,
    check_tables,
    imports_torch,
)
from t2ikit.testing.checks.samplers import SAMPLER_CHECKS, SamplerTrial
from t2ikit.testing.checks.text_encoders import ENCODER_CHECKS, EncoderTrial
from t2ikit.testing.report import Check, CheckResult, Trial, result_of, results
from t2ikit.testing.sources import plugin_sources
from t2ikit.testing.support import Subject, Unbuildable, subject
from t2ikit.testing.toys import toy_run
from t2ikit.utils.progress import phase


@dataclass(frozen=True)
class Kind:
    """How parts of a kind are checked.

    Attributes:
        checks: what must hold of each trial.
        trials: what a part is tried on.
        table: of a recipe, where options of the part stand.
        named: whether the part's name stands between table and option.
    """

    checks: tuple[Check, ...]
    trials: Callable[[Subject], Sequence[Trial]]
    table: str
    named: bool = False


TRIED: dict[str, Kind] = {
    "generators": Kind(GENERATOR_CHECKS, lambda part: [GeneratorTrial(part)], "generator"),
    "critics": Kind(CRITIC_CHECKS, critic_trials, "critics", named=True),
    "losses": Kind(LOSS_CHECKS, loss_trials, "losses", named=True),
    "samplers": Kind(SAMPLER_CHECKS, lambda part: [SamplerTrial(part)], "sampler"),
    "datasets": Kind(DATASET_CHECKS, lambda part: [DatasetTrial(part)], "data"),
    "text_encoders": Kind(ENCODER_CHECKS, lambda part: [EncoderTrial(part)], "text"),
    "metrics": Kind(METRIC_CHECKS, lambda part: [MetricTrial(part)], "metrics", named=True),
}
HELP = "each option has a help text"


def examine_plugin(
    target: str | Path, *, set: Settings = None, run: str | Path | None = None
) -> list[CheckResult]:
    """Run all conformance checks on a plugin and on every part that it brings.

    Parts are built with their defaults. One that needs an option without a default, a package or a download
    is skipped, and its result says what it needs.

    Args:
        target: a .py file, the folder of a package's pyproject.toml, or the name of an installed plugin.
        set: options of its parts, as in a recipe: `{"losses.huber.delta": 0.1, "data.spec": "folder"}`.
        run: what exporters are tried on; None: a run of the imagen plugin that is trained for one step.

    Returns:
        A result of each check, in the order they were run.

    Raises:
        UserError: there is no such plugin, or no part takes an option of `set`.

    Example:
        >>> results = examine_plugin("./my_loss.py")
        >>> [result.check for result in results if result.status == "failed"]
    """
    return list(examine(str(target), as_settings(set), None if run is None else open_run(run)))


def examine(target: str, settings: Sequence[str], run: Run | None = None) -> Iterator[CheckResult]:
    """The results of `examine_plugin`, one by one as they are found.

    Raises:
        UserError: as there.
    """
    options = apply_settings({}, settings)
    with plugin_sources(target) as sources:
        for source in sources:
            trial = PluginTrial(source)
            loaded = list(results(trial.title, PLUGIN_CHECKS, trial))
            eager = source.file is not None and imports_torch(source.file)
            yield from (_torch_in_file(one) if eager and one.check == NO_TORCH else one for one in loaded)
            if not any(one.status == "failed" for one in loaded if one.check != NO_TORCH):
                _check_settings(trial.entries, settings)
                for entry in trial.entries:
                    yield from _part(entry, trial.registry, options, run)


def _torch_in_file(result: CheckResult) -> CheckResult:
    """A plugin file is run when it is asked for, so what it imports is no mistake."""
    found = "it imports torch at its top, as a file may"
    return replace(
        result, status="note", found=found, fix="once it is a package, import torch inside `build`"
    )


def _part(
    entry: Entry, registry: Registry, options: Mapping[str, Any], run: Run | None
) -> Iterator[CheckResult]:
    """The results of one part."""
    kind = entry.spec.kind
    title = f"{SINGULAR[kind]} {entry.canonical}"
    if kind == "recipes":
        tables = Check(
            "tables",
            "names and values that exist and go together",
            "mend what is named; `t2ikit options` lists settings",
            lambda trial: check_tables(entry.canonical, registry),
        )
        yield result_of(title, tables, _Named(title))
        return
    texts = Check(
        "help texts",
        HELP,
        'add a docstring below the option: delta: float = 0.5 and then """what it does, with its unit"""',
        lambda trial: check_help(entry),
    )
    yield result_of(title, texts, _Named(title))
    if kind == "exporters":
        yield _exported(entry, registry, title, run)
        return
    try:
        part = subject(kind, entry.canonical, registry, _config(entry, options))
        for trial in TRIED[kind].trials(part):
            with phase(f"checking {trial.title}"):
                found = list(results(trial.title, TRIED[kind].checks, trial))
            yield from found
            if any(result.status == "skipped" for result in found):
                return
    except Unbuildable as error:
        yield CheckResult(
            title,
            "options",
            "skipped",
            "it can be built with its defaults",
            _line(error),
            "give them with --set",
        )


class _Named(Trial):
    """A part that is not built."""

    def __init__(self, title: str) -> None:
        self.title = title


def _exported(entry: Entry, registry: Registry, title: str, run: Run | None) -> CheckResult:
    """What an exporter makes of the run, or of a toy."""

    def export(trial: Trial) -> None:
        with contextlib.ExitStack() as stack:
            chosen = run or toy_run(stack.enter_context(tempfile.TemporaryDirectory()))
            try:
                check_exporter(entry.canonical, chosen, registry)
            except AssertionError as error:
                if isinstance(error.__cause__, UserError) and run is None:
                    raise Unbuildable(
                        f"it takes no toy run: {error.__cause__}; give one with --run"
                    ) from error
                raise

    check = Check(
        "export",
        "it writes files, none a pickle, and leaves the run folder alone",
        "write below `out` alone, tensors as safetensors",
        export,
    )
    return result_of(title, check, _Named(title))


def _config(entry: Entry, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one part; of a dataset also its name."""
    kind = TRIED[entry.spec.kind]
    given: dict[str, Any] = options.get(kind.table, {})
    if kind.named:
        given = given.get(entry.spec.name, {})
    return {"spec": entry.spec.name, **given} if entry.spec.kind == "datasets" else given


def _check_settings(entries: Sequence[Entry], settings: Sequence[str]) -> None:
    """Refuse options that no part takes."""
    prefixes = {
        (kind.table, entry.spec.name) if kind.named else (kind.table,)
        for entry in entries
        if (kind := TRIED.get(entry.spec.kind)) is not None
    }
    for setting in settings:
        keys, _ = parse_setting(setting)
        if not any(keys[: len(prefix)] == prefix and len(keys) > len(prefix) for prefix in prefixes):
            raise UserError(
                f"--set {setting}: no part that is checked takes it",
                expected="a key that begins with " + " or ".join(".".join(one) for one in sorted(prefixes)),
                got=".".join(keys),
                fix="write it as in a recipe, such as losses.NAME.KEY=VALUE",
            )


def _line(error: object) -> str:
    return " ".join(str(error).split())
