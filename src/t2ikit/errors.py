"""Errors that are the user's to mend: what was expected, what was found, what to do."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path


class UserError(Exception):
    """A mistake in what the user gave: shown without a traceback, exit status 2.

    Args:
        what: one sentence that names the file, key or option and says what is wrong.
        expected: what would have been accepted.
        got: what was found.
        fix: what to do, as an instruction.
    """

    def __init__(
        self, what: str, *, expected: object = None, got: object = None, fix: str | None = None
    ) -> None:
        self.what, self.expected, self.got, self.fix = what, expected, got, fix
        super().__init__(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        # What was expected or found may be anything; from another process its words are enough.
        words = tuple(None if value is None else str(value) for value in (self.expected, self.got, self.fix))
        return _revive, (self.what, *words)

    def __str__(self) -> str:
        parts = [self.what]
        for label, value in (("expected", self.expected), ("got", self.got), ("fix", self.fix)):
            if value is not None:
                parts.append(f"  {label + ':':<9} {value}")
        return "\n".join(parts)


class T2ikitWarning(UserWarning):
    """A warning of ours: the command line shows it in one line, and none of a library's."""


class UserErrors(UserError):
    """Several mistakes found in one reading, reported together.

    Where there is one alone, `what`, `expected`, `got` and `fix` are that mistake's.

    Args:
        header: the sentence that heads the list.
        errors: the mistakes, in the order they were found.
    """

    def __init__(self, header: str, errors: Sequence[UserError]) -> None:
        self.header, self.errors = header, tuple(errors)
        if len(self.errors) == 1:
            one = self.errors[0]
            super().__init__(one.what, expected=one.expected, got=one.got, fix=one.fix)
        else:
            each = f"see `errors`: one for each of {len(self.errors)} mistakes"
            super().__init__(header, expected=each, got=each, fix=each)

    def __reduce__(self) -> tuple[object, ...]:
        return UserErrors, (self.header, self.errors)

    def __str__(self) -> str:
        return "\n".join([self.header, *(f"- {error}" for error in self.errors)])


def each_of(error: UserError) -> tuple[UserError, ...]:
    """The mistakes that an error reports, one or several."""
    return error.errors if isinstance(error, UserErrors) else (error,)


def raise_together(errors: Sequence[UserError], header: str) -> None:
    """Raise all mistakes as one error: a single one as it is, several under a header.

    Raises:
        UserError, UserErrors: there is one, or there are several.
    """
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UserErrors(header, errors)


def add_note(error: BaseException, note: str) -> None:
    """Say more of an error that passes by, as Python 3.11's `add_note` does."""
    error.__notes__ = [*notes(error), note]  # type: ignore[attr-defined]


def notes(error: BaseException) -> list[str]:
    """What was added to an error."""
    return list(getattr(error, "__notes__", []))


def reworded(error: UserError, old: str, new: str, path: str = "") -> UserError:
    """The error with another name for what it speaks of, as the user knows it; `path` stays as it is."""
    kept = rf"{re.escape(path)}(?!\.?[\w-])|" if path else ""
    name = re.compile(rf"(?<![\w./-])(?:{kept}{re.escape(old)})")

    def said(value: object) -> str | None:
        if value is None:
            return None
        return name.sub(lambda found: found[0] if found[0] == path else new, str(value))

    if isinstance(error, UserErrors):
        return UserErrors(str(said(error.header)), [reworded(one, old, new, path) for one in error.errors])
    rest = {"expected": said(error.expected), "got": said(error.got), "fix": said(error.fix)}
    return UserError(str(said(error.what)), **rest)


def _revive(what: str, expected: str | None, got: str | None, fix: str | None) -> UserError:
    return UserError(what, expected=expected, got=got, fix=fix)


def command(*words: object) -> str:
    """A command line to be copied into a shell, quoted so that every word arrives as it is.

    Args:
        *words: the program and its arguments; a path that begins with a dash is written so that it is not
            taken for an option.
    """
    return shlex.join(as_word(word) if isinstance(word, Path) else str(word) for word in words)


def as_word(path: Path) -> str:
    """A path as a word of a command: `./-o` for `-o`, which would be an option."""
    return f".{os.sep}{path}" if str(path).startswith("-") else str(path)


TYPED = {"mask_image": "mask", "negative_prompt": "negative"}
"""Arguments that have diffusers' names in Python and shorter ones at the command line."""
_typed: ContextVar[bool] = ContextVar("typed", default=False)


@contextmanager
def command_line() -> Iterator[None]:
    """Meanwhile messages name options as they are typed at the command line."""
    before = _typed.set(True)
    try:
        yield
    finally:
        _typed.reset(before)


def option(name: str) -> str:
    """What an argument is called in messages: `steps` in Python, `--steps` at the command line."""
    if not _typed.get():
        return name
    name = TYPED.get(name, name)
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"


def empty(what: str) -> UserError:
    """That nothing was given for a path or a name."""
    return UserError(
        f"{what} is empty",
        expected="a name or a path; . is the current folder",
        got="an empty text",
        fix="give one, or leave it out where it has a default; an unset variable of a shell is empty too",
    )


def close_to(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names that are about as close to `name` as the closest; none where none is close."""
    options = sorted(set(known))
    found = difflib.get_close_matches(name, options, n=3, cutoff=0.6)
    near = [difflib.SequenceMatcher(None, one, name).ratio() for one in found]
    return [one for one, ratio in zip(found, near) if ratio > near[0] - 0.15]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """One clause that names the closest known names, or all of them when none is close."""
    options = sorted(set(known))
    if close := close_to(name, options):
        return "did you mean " + " or ".join(repr(option) for option in close) + "?"
    if not options:
        return "there is none to choose from"
    return "choose one of " + ", ".join(options)
