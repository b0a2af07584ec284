"""Results as JSON, written after every figure, so that a measurement that is cut loses nothing."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any


def file_name(device: str) -> str:
    """The file of a device's results: gpu-h100-80gb-hbm3.json."""
    name = re.sub(r"[^a-z0-9]+", "-", device.lower().replace("nvidia", "")).strip("-")
    return f"gpu-{name}.json"


class Results:
    """Figures by part. Other parts of an earlier measurement in the same file stay.

    Args:
        path: the file.
        versions: device, versions, commits and date; each part keeps those it was measured with.
    """

    def __init__(self, path: Path, versions: dict[str, Any]) -> None:
        self.path, self.versions = path, versions
        found = json.loads(path.read_text()) if path.exists() else {}
        self.parts: dict[str, Any] = found.get("parts", {})

    def begin(self, part: str) -> None:
        """Forget what there was of a part."""
        self.parts[part] = {"measured_with": self.versions, "rows": [], "left_out": []}
        self.write()

    def add(self, part: str, name: str, checkout: str, figures: dict[str, float | None], note: str) -> None:
        """Add one repeat of a row's figures; those that are None are left out."""
        rows = self.parts[part]["rows"]
        row = next((one for one in rows if (one["name"], one["checkout"]) == (name, checkout)), None)
        if row is None:
            row = {"name": name, "checkout": checkout, "note": note, "figures": {}}
            rows.append(row)
        for figure, value in figures.items():
            if value is not None:
                row["figures"].setdefault(figure, []).append(float(f"{value:.5g}"))
        self.write()

    def leave_out(self, part: str, name: str, why: str) -> None:
        """Say what was not measured."""
        self.parts[part]["left_out"].append({"name": name, "why": why})
        self.write()

    def row(self, part: str, name: str, checkout: str = "this") -> dict[str, list[float]] | None:
        """The figures of a row that was measured with the same commit and device."""
        there = self.parts.get(part, {})
        if any(there.get("measured_with", {}).get(key) != self.versions[key] for key in ("device", "this")):
            return None
        rows = (one for one in there["rows"] if (one["name"], one["checkout"]) == (name, checkout))
        return next((one["figures"] for one in rows), None)

    def write(self) -> None:
        """Write the file, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"parts": self.parts}, indent=1) + "\n")
        os.replace(new, self.path)
