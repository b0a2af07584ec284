"""Files that appear whole or not at all, and where those are kept that can be made again."""

from __future__ import annotations

import codecs
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from t2ikit.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

WINDOWS = sys.platform == "win32"
CACHE_VARIABLE = "T2IKIT_CACHE"
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


NUL = "a NUL byte"


def decoded(content: bytes) -> str:
    """A text file's content: UTF-8, or what its byte-order mark says; line ends become newlines.

    Raises:
        UnicodeDecodeError: it is neither, which its `start` tells the place of.
    """
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content:  # UTF-16 without a mark would pass for it
        at = content.index(b"\0")
        raise UnicodeDecodeError("utf-8", content, at, at + 1, NUL)
    return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def replace(source: Path, target: Path) -> None:
    """Rename a file over another, atomically.

    Windows refuses while another process has the target open, as one that watches a run for a moment does:
    then it is tried again for a second.
    """
    for _ in range(20 if WINDOWS else 0):
        try:
            os.replace(source, target)
        except PermissionError:
            time.sleep(0.05)
        else:
            return
    os.replace(source, target)


def write_text(path: Path, text: str) -> None:
    """Write a text file, the same bytes on every system, beside and rename it into place."""
    beside = path.with_name(f".{path.name}.writing")
    with beside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    replace(beside, path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, readable and with a final newline, beside and rename it into place."""
    write_text(path, json.dumps(value, indent=1) + "\n")


FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Of images by the endings of their files."""


def save_image(image: Image.Image, path: Path) -> None:
    """Write an image beside and rename it into place, making its folder; its format follows from its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.writing")
    try:
        image.save(beside, format=FORMATS[path.suffix.lower()], quality=95)
        replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def check_target(path: Path, option: str = "--json") -> None:
    """Refuse a file for an option's output that cannot be written, before anything is computed.

    Raises:
        UserError: its folder is missing, or it is a folder itself.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(
            f"{option} {path}: the file cannot be written",
            expected="a file in a folder that exists",
            got="a folder" if path.is_dir() else f"there is no folder {path.parent}",
            fix="choose another path, or make the folder",
        )


def check_image(path: Path, option: str, also: str = "") -> None:
    """Refuse a file for an option's image that cannot be written, before anything is computed.

    Args:
        path: to write.
        option: that names it.
        also: what else the option takes, for messages.

    Raises:
        UserError: its name does not say a format, its folder is missing, or it is a folder itself.
    """
    check_target(path, option)
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"{option} {path}: the name does not say what kind of image it is",
            expected="a name that ends in .png, .jpg or .webp" + f", or {also}" * bool(also),
            got=path.suffix or "no ending",
            fix=f"write {path.with_suffix('.png').name}",
        )


def check_report(path: Path) -> None:
    """Refuse a report that cannot be written, before anything is measured.

    Raises:
        UserError: its folder is missing or cannot be written, or it is a folder itself.
    """
    try:
        check_target(path, "--out")
        beside = path.with_name(f".{path.name}.writing")  # where it will be written
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise _file_error(path, "--out", error) from error


def write_numbers(table: object, path: Path) -> None:
    """Write numbers as JSON, for --json.

    Raises:
        UserError: the file cannot be written.
    """
    _write(json.dumps(table, indent=1) + "\n", path, "--json")


def write_report(html: str, path: Path) -> None:
    """Write a report, for --out.

    Raises:
        UserError: the file cannot be written.
    """
    _write(html, path, "--out")


def page_style() -> str:
    """What all reports have in common of their CSS."""
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def _write(text: str, path: Path, option: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise _file_error(path, option, error) from error


def _file_error(path: Path, option: str, error: OSError) -> UserError:
    what = f"{option} {path}: the file cannot be written"
    return unwritable(what, error, "choose another path, or make the folder writable")


def unwritable(what: str, error: object, fix: str) -> UserError:
    """The error of a folder or file that cannot be written.

    Args:
        what: names it and says what cannot be done, as "--out a: the images cannot be written".
        error: the reason.
        fix: what to do.
    """
    return UserError(
        what, expected="a folder in which files can be written, with room for them", got=error, fix=fix
    )


def check_folder(folder: Path) -> None:
    """Find out whether a folder can be made and written; leaves nothing behind.

    Raises:
        OSError: it cannot.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe-{os.getpid()}"
    probe.touch()
    probe.unlink()
    with suppress(OSError):  # another process may be using them by now
        for path in made:
            path.rmdir()


def cache_folder(chosen: str | None = None) -> Path:
    """The folder a user chose, or $T2IKIT_CACHE, or `t2ikit` in the system's folder for caches.

    It holds what would be slow to make again. Nothing there is needed to open a run.
    """
    named = chosen or os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else user_cache_path("t2ikit", appauthor=False)
