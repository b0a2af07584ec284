"""The metrics of an evaluation: looked up, checked and built; a failure of one leaves the others alone."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from t2ikit.config.validation import validate
from t2ikit.core.metric import Download, ImageSet, Measure, Metric, NotMeasured
from t2ikit.errors import UserError
from t2ikit.metrics.downloads import Needs, NotFetched, needs_of, size
from t2ikit.registry.registry import Entry, Registry
from t2ikit.utils.deprecation import warn_renamed
from t2ikit.utils.hub import unreachable
from t2ikit.utils.quoting import one_line

LONGEST = 300
"""Letters of a reason."""
ALL = "all"
"""In place of names: every metric that is installed, whatever it would have to fetch."""


class Failed(NotMeasured):
    """A metric raised what it should not have."""


@dataclass(frozen=True)
class SelectedMetric:
    """A metric of an evaluation.

    Attributes:
        use: its name with its plugin's.
        options: all of them, as JSON can hold them.
        source: the plugin file's hash, or the distribution and its version.
        metric: what was built; None where that failed.
        dependencies: what its numbers depend on besides its options: versions, digests of files.
        downloads: what it would have to fetch.
        error: why it cannot measure.
    """

    use: str
    options: dict[str, Any]
    source: str
    metric: Metric | None
    dependencies: dict[str, str]
    downloads: tuple[Download, ...] = ()
    error: NotMeasured | None = None

    @property
    def uses_images_per_prompt(self) -> bool:
        """Whether it looks at several images of a prompt."""
        if getattr(self.metric, "wants_again", False):
            warn_renamed(f"wants_again of the metric {self.use}", "uses_images_per_prompt")
            return True
        return bool(getattr(self.metric, "uses_images_per_prompt", False))

    @property
    def needs_prompts(self) -> bool:
        """Whether it looks at what the images were sampled from; it does unless it says otherwise."""
        return self.metric is not None and bool(getattr(self.metric, "needs_prompts", True))

    @property
    def needs(self) -> Needs | None:
        """What it lacks that can be had."""
        return needs_of(self.error)

    def table(self) -> dict[str, Any]:
        """What its numbers depend on, as JSON can hold it."""
        return {
            "use": self.use,
            "source": self.source,
            "options": self.options,
            "stands_on": self.dependencies,  # the key that evaluations have, and are named by
            **({"not_measured": str(self.error)} if self.error else {}),
        }

    def measure(self, image_set: ImageSet) -> dict[str, Measure]:
        """What the metric returns for the images.

        Raises:
            NotMeasured: something is missing.
            Failed: it raised anything else, or did not return measures.
        """
        if self.error is not None:
            raise self.error
        assert self.metric is not None
        with _guarded():
            found = self.metric(image_set)
            if not isinstance(found, Mapping):
                raise TypeError(f"it gave a {type(found).__name__}, not a dict of t2ikit.Measure")
            for name, measure in found.items():
                if not isinstance(measure, Measure):
                    raise TypeError(f"{name} is a {type(measure).__name__}, not a t2ikit.Measure")
        return found


@contextlib.contextmanager
def _guarded(passing: type[Exception] = NotMeasured) -> Iterator[None]:
    """Turn what a metric may not raise into `Failed`, but for `NotMeasured` and `passing`."""
    try:
        yield
    except (NotMeasured, passing):
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = one_line(error, LONGEST)
        place = f"{Path(last.filename).name}:{last.lineno}"
        raise Failed(f"failed: {type(error).__name__}: {text} ({place})") from error


def select_metrics(
    registry: Registry, names: Sequence[str], options: Mapping[str, dict[str, Any]]
) -> dict[str, SelectedMetric]:
    """The metrics of these names, by short names where those are unique; all where no name or "all" is given.

    Args:
        registry: where they are looked up.
        names: short ones or `plugin/name`, or "all".
        options: options of metrics, by short or full name.

    Raises:
        UserError: an unknown metric, or options that it does not have, or of none of them.
    """
    entries = {
        _key(registry, entry): entry
        for entry in (
            registry.entries("metrics")
            if not names or ALL in names
            else [registry.find("metrics", name) for name in names]
        )
    }
    known = {label for key, entry in entries.items() for label in (key, entry.canonical)}
    unused = sorted(set(options) - known)
    if unused:
        raise UserError(
            f"--set metrics.{unused[0]}: this metric is not measured",
            expected=", ".join(entries),
            got=unused[0],
            fix="add it to --metrics, or check the name",
        )
    return {
        key: _select(registry, entry, key, {**options.get(entry.canonical, {}), **options.get(key, {})})
        for key, entry in entries.items()
    }


def _key(registry: Registry, entry: Entry) -> str:
    name: str = entry.spec.name
    shared = [other for other in registry.entries("metrics") if other.spec.name == name]
    return name if len(shared) == 1 else entry.canonical


def _select(registry: Registry, entry: Entry, key: str, table: dict[str, Any]) -> SelectedMetric:
    config = validate(entry.spec.config, table, where="--set", key=f"metrics.{key}")
    metric: Metric | None = None
    dependencies: dict[str, str] = {}
    downloads: tuple[Download, ...] = ()
    problem: NotMeasured | None = None
    try:
        with _guarded(UserError):
            metric = entry.spec.build(config, None)
            dependencies = _dependencies(metric)
            downloads = _downloads(metric)
    except NotMeasured as error:
        problem = error
    sha256 = registry.plugins[entry.plugin].sha256
    source = f"sha256 {sha256}" if sha256 else entry.origin
    options = config.model_dump(mode="json")
    return SelectedMetric(entry.canonical, options, source, metric, dependencies, downloads, problem)


def _dependencies(metric: Metric) -> dict[str, str]:
    old = getattr(metric, "stands_on", None)
    if old is not None and not hasattr(metric, "dependencies"):
        warn_renamed(f"{type(metric).__name__}.stands_on", "dependencies")
        return dict(old())
    return dict(metric.dependencies()) if hasattr(metric, "dependencies") else {}


def _downloads(metric: Metric) -> tuple[Download, ...]:
    found = tuple(metric.downloads()) if hasattr(metric, "downloads") else ()
    for one in found:
        if not isinstance(one, Download):
            raise TypeError(f"downloads() gave a {type(one).__name__}, not a t2ikit.Download")
    return found


def fetch_missing(metrics: Mapping[str, SelectedMetric], *, asked: bool) -> dict[str, SelectedMetric]:
    """The metrics, with their files fetched if `asked`; else those that lack files are not measured.

    No request leaves unless `asked`. Servers are asked first whether they answer, all at once: where the
    network is down, each metric says so within seconds.
    """
    missing = {name: one for name, one in metrics.items() if one.downloads and one.error is None}
    if not asked:
        aside = {name: NotFetched(name, one.downloads) for name, one in missing.items()}
        return {name: replace(one, error=aside.get(name, one.error)) for name, one in metrics.items()}
    silent = unreachable({each.url for one in missing.values() for each in one.downloads if each.url})
    return {name: _fetched(one, silent) if name in missing else one for name, one in metrics.items()}


def _fetched(one: SelectedMetric, silent: Mapping[str, str]) -> SelectedMetric:
    try:
        with _guarded():
            metric: Any = one.metric
            if hasattr(metric, "fetch"):
                metric.fetch()
                return replace(one, dependencies=_dependencies(metric))
            for each in one.downloads:
                if each.url in silent:
                    raise NotMeasured(f"needs {each.name} ({size([each])}): {silent[each.url]}")
    except NotMeasured as error:
        return replace(one, error=error)
    return one
