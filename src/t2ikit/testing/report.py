"""Checks by name: run one after another, the first failure is raised, or each gives a line of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from t2ikit.core.metric import NotMeasured
from t2ikit.testing.support import Unbuildable, explained

Status = Literal["passed", "failed", "skipped", "note"]


@dataclass(frozen=True)
class Check:
    """One thing that must hold of a part.

    Attributes:
        name: what it is called in a report.
        expected: what holds of a good part.
        fix: what to do where it does not.
        run: raises AssertionError where it does not hold; its argument is a trial, the part and what it is
            tried on.
        vital: the checks that follow make no sense where it fails.
        after: an earlier check; where that fails, this one may fail for the same mistake, which is said once.
    """

    name: str
    expected: str
    fix: str
    run: Callable[[Any], None]
    vital: bool = False
    after: str = ""


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
        part: what was checked, such as "loss mine/huber".
        check: the name of the check, such as "gradient".
        status: "passed", "failed", "skipped" (it could not be checked here) or "note" (worth knowing, and no
            mistake).
        expected, found, fix: in words; `found` and `fix` are empty where it passed.
    """

    part: str
    check: str
    status: Status
    expected: str
    found: str = ""
    fix: str = ""


class Trial:
    """A part under test. What a kind of part is tried on is made by its subclasses.

    Attributes:
        title: what the part is called in messages.
        fails: what is said where its own code raises something.
    """

    title: str

    @property
    def fails(self) -> str:
        """A sentence that a colon and the exception follow."""
        return f"{self.title} fails"


def require_all(checks: Sequence[Check], trial: Trial) -> None:
    """Run the checks in order.

    Raises:
        AssertionError: of the first that does not hold.
    """
    for check in checks:
        with explained(trial.fails):
            check.run(trial)


def results(part: str, checks: Sequence[Check], trial: Trial) -> Iterator[CheckResult]:
    """Run the checks in order; one result each, up to a vital one that fails.

    A failure that may follow from an earlier one is a note.
    """
    failed: set[str] = set()
    for check in checks:
        result = result_of(part, check, trial)
        if result.status == "failed":
            failed.add(check.name)
            result = _once(result, check.after) if check.after in failed else result
        yield result
        if result.status == "skipped" or (check.vital and result.status == "failed"):
            return


def _once(result: CheckResult, after: str) -> CheckResult:
    """A failure as what may follow from that of an earlier check."""
    found = f'it fails too, as it may where "{after}" fails'
    return replace(result, status="note", found=found, fix=f'mend "{after}", then check again')


def result_of(part: str, check: Check, trial: Trial) -> CheckResult:
    """Run one check."""
    try:
        with explained(trial.fails):
            check.run(trial)
    except AssertionError as error:
        found = " ".join(str(error).removeprefix(trial.title).lstrip(" :").split())
        if isinstance(error, Unbuildable) or isinstance(error.__cause__, NotMeasured):
            return CheckResult(part, check.name, "skipped", check.expected, found)
        return CheckResult(part, check.name, "failed", check.expected, found, check.fix)
    return CheckResult(part, check.name, "passed", check.expected)
