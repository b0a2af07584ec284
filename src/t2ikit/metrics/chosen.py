"""The metrics of an evaluation: found, checked and built, and kept from taking each other down."""

from __future__ import annotations

import contextlib
import textwrap
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2ikit.config import validate
from t2ikit.errors import UserError
from t2ikit.interfaces import Drawn, Measure, Metric, NotMeasured
from t2ikit.registry import Entry, Registry

LONGEST = 300
"""Letters of a reason."""


class Failed(NotMeasured):
    """A metric raised what it should not have."""


@dataclass(frozen=True)
class Chosen:
    """A metric that was asked for.

    Attributes:
        use: its name with its plugin's.
        options: all of them, as JSON can hold them.
        source: the plugin file's hash, or the distribution and its version.
        metric: None where it could not be built.
        stands_on: what its numbers depend on beside its options: versions, digests of files.
        error: why it cannot measure.
    """

    use: str
    options: dict[str, Any]
    source: str
    metric: Metric | None
    stands_on: dict[str, str]
    error: NotMeasured | None = None

    @property
    def wants_again(self) -> bool:
        """Whether it looks at several pictures of a prompt."""
        return bool(getattr(self.metric, "wants_again", False))

    def table(self) -> dict[str, Any]:
        """What its numbers depend on, as JSON can hold it."""
        return {
            "use": self.use,
            "source": self.source,
            "options": self.options,
            "stands_on": self.stands_on,
        }

    def measure(self, drawn: Drawn) -> dict[str, Measure]:
        """What the metric makes of the pictures.

        Raises:
            NotMeasured: something is missing.
            Failed: it raised anything else, or gave something else than measures.
        """
        if self.error is not None:
            raise self.error
        assert self.metric is not None
        with _guarded():
            found = self.metric(drawn)
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
        text = textwrap.shorten(str(error), LONGEST)
        place = f"{Path(last.filename).name}:{last.lineno}"
        raise Failed(f"failed: {type(error).__name__}: {text} ({place})") from error


def choose_metrics(
    registry: Registry, names: Sequence[str], options: Mapping[str, dict[str, Any]]
) -> dict[str, Chosen]:
    """The metrics called so, all where no name is given, by their short names while those are unique.

    Args:
        registry: where they are looked up.
        names: short ones or `plugin/name`.
        options: by a metric's name, either one.

    Raises:
        UserError: an unknown metric, or options that it does not have, or of none of them.
    """
    entries = {
        _key(registry, entry): entry
        for entry in (
            [registry.find("metrics", name) for name in names] if names else registry.entries("metrics")
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
        key: _choose(registry, entry, key, {**options.get(entry.canonical, {}), **options.get(key, {})})
        for key, entry in entries.items()
    }


def _key(registry: Registry, entry: Entry) -> str:
    name: str = entry.spec.name
    shared = [other for other in registry.entries("metrics") if other.spec.name == name]
    return name if len(shared) == 1 else entry.canonical


def _choose(registry: Registry, entry: Entry, key: str, table: dict[str, Any]) -> Chosen:
    config = validate(entry.spec.config, table, where="--set", key=f"metrics.{key}")
    metric: Metric | None = None
    stands_on: dict[str, str] = {}
    problem: NotMeasured | None = None
    try:
        with _guarded(UserError):
            metric = entry.spec.build(config, None)
            stands_on = dict(metric.stands_on()) if hasattr(metric, "stands_on") else {}
    except NotMeasured as error:
        problem = error
    sha256 = registry.plugins[entry.plugin].sha256
    source = f"sha256 {sha256}" if sha256 else entry.origin
    return Chosen(entry.canonical, config.model_dump(mode="json"), source, metric, stands_on, problem)
