"""The problems of a set of captioned images, collected so that one message can report them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from t2ikit.errors import UserError, UserErrors
from t2ikit.utils.quoting import visible

SHOWN = 10
"""Places that a message names; the others are counted."""


@dataclass(frozen=True)
class Problem:
    """A kind of problem; one object for all places that have it.

    Attributes:
        what: the problem, as a noun with its article.
        expected: what would have been accepted.
        fix: what to do, as an instruction.
    """

    what: str
    expected: str
    fix: str


UNREADABLE_IMAGE = Problem(
    "an image that cannot be read",
    "whole image files that Pillow opens",
    "save the image again or take it out, with its caption",
)


@dataclass
class Problems:
    """The places that have problems, by kind.

    Attributes:
        label: the name of the set in messages.
        found: the places, each the name of an image, file or line with a few words in brackets.
    """

    label: str
    found: dict[Problem, list[str]] = field(default_factory=dict)

    def add(self, where: str, kind: Problem) -> None:
        """Note one place."""
        self.found.setdefault(kind, []).append(visible(where))

    def __len__(self) -> int:
        return sum(len(places) for places in self.found.values())

    def errors(self) -> list[UserError]:
        """An error for each kind, which names the first places and counts the rest."""
        return [self._error(kind, places) for kind, places in self.found.items()]

    def raise_all(self, what: str, more: Sequence[UserError] = ()) -> None:
        """Raise everything that was noted, and `more`, under the heading `what` if there are several kinds.

        Raises:
            UserError, UserErrors: there is something.
        """
        errors = [*self.errors(), *more]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise UserErrors(f"{self.label}: {what}", errors)

    def summary(self) -> str:
        """A line for each kind: how many, what, and the first few places."""
        return "\n".join(
            f"  {len(places)} x {kind.what}: {shorten(places, 3)}" for kind, places in self.found.items()
        )

    def _error(self, kind: Problem, places: list[str]) -> UserError:
        count = f" ({len(places)} of them)" if len(places) > 1 else ""
        return UserError(
            f"{self.label}: {kind.what}{count}",
            expected=kind.expected,
            got=shorten(places, SHOWN),
            fix=kind.fix,
        )


def shorten(places: list[str], shown: int) -> str:
    """The first places, and how many more there are."""
    rest = f"; and {len(places) - shown} more" if len(places) > shown else ""
    return "; ".join(places[:shown]) + rest
