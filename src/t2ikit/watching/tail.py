"""A log that grows: each read gives the lines that were added since."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

MARK = 512
"""Bytes before the offset that must still be there, or the log is another one now."""

Record = dict[str, Any]


class LogTail:
    """Reads what was appended to a log.jsonl.

    A last line without its line end is still being written, and is left for the next read. `train --resume`
    cuts the log at the checkpoint and writes on: then all of it is read again.

    Args:
        path: of the log, which need not exist yet.

    Attributes:
        offset: bytes read so far.
        damaged: lines that are no record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self.offset, self.damaged, self._mark = 0, 0, b""

    def read(self) -> tuple[bool, list[Record]]:
        """The records added since the last read, and whether they replace all before them.

        Raises:
            OSError: the log is there, but cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                replaced = self._is_replaced(file)
                if replaced:
                    self._begin()
                file.seek(self.offset)
                content = file.read()
        except FileNotFoundError:
            replaced, content = self.offset > 0, b""
            if replaced:
                self._begin()
        whole = content[: content.rfind(b"\n") + 1]
        self.offset += len(whole)
        self._mark = (self._mark + whole)[-MARK:]
        records = [parsed(line) for line in whole.split(b"\n")[:-1]]
        self.damaged += records.count(None)
        return replaced, [record for record in records if record is not None]

    def _is_replaced(self, file: BinaryIO) -> bool:
        file.seek(self.offset - len(self._mark))
        return file.read(len(self._mark)) != self._mark


def parsed(line: bytes) -> Record | None:
    """One line of a log: a JSON object with a finite `step`; None: it is not."""
    try:
        record = json.loads(line)
        step = record["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if is_number(step) and finite(step) is not None else None


def is_number(value: object) -> bool:
    """Whether a value of a log stands for a number; null stands for one that was not finite."""
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def finite(value: float | None) -> float | None:
    """A number as it is, or None where it is not finite."""
    try:
        return value if value is not None and math.isfinite(value) else None
    except OverflowError:  # an integer beyond all floats
        return None
