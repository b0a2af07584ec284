"""log.jsonl: one JSON object a line, means over the steps since the line before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from t2ikit.errors import UserError
from t2ikit.utils.files import write_text

TIMED = ("seconds", "minutes", "images_per_second", "mfu", "data_wait", "memory_mb")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last line that was cut short is left out.

    Raises:
        UserError: another line is damaged.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            _ = record["step"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: line {number} is damaged",
                expected="one JSON object with a step a line",
                got=line[:60].decode("utf-8", "replace"),
                fix="delete the line",
            ) from error
        records.append(record)
    return records


def append(path: Path, record: dict[str, Any]) -> None:
    """Add one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def cut_after(path: Path, step: int) -> None:
    """Drop what was logged after `step`, so that a resumed run writes it again."""
    kept = [record for record in read_log(path) if record["step"] <= step]
    write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
