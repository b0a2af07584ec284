"""Data that `train` cannot use."""

from __future__ import annotations

import io

from PIL import Image

from mistakes.case import files, mistake
from mistakes.recipes import IMAGEN


def png() -> bytes:
    """An image file."""
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (200, 30, 30)).save(file, format="PNG")
    return file.getvalue()


ENTRIES = (
    '{"file_name": "a.png", "text": "a"}\n{"file_name": "gone.png", "text": "b"}\n{"file_name": "a.png"}\n'
)

CASES = [
    mistake(
        f"{IMAGEN} --data creaturs",
        "--data creaturs: there is no such dataset or folder",
        expected="a folder of captioned images",
        got="creaturs",
        fix="did you mean 'creatures'",
    ),
    *(
        mistake(
            f"{command} ./table.{kind}",
            "no column of images",
            expected="one of image, file_name",
            got="link_url, text",
            fix="links are not followed",
            before=files({f"table.{kind}": "link_url,text\nhttps://a.b/c.png,a cat\n"}),
        )
        for command, kind in (("data", "csv"), (f"{IMAGEN} --data", "tsv"))
    ),
    mistake(
        "data notes.md",
        "--data notes.md: the file is there, but no such kind is read",
        expected=".jsonl",
        got="a .md file",
        fix="give the folder",
        before=files({"notes.md": ""}),
    ),
    mistake(
        "data ./pics/metadata.csv",
        "no column of captions",
        expected="one of text, caption",
        got="file_name, says",
        fix="--set data.caption_column=NAME",
        before=files({"pics/metadata.csv": "file_name,says\n"}),
    ),
    *(
        mistake(command, f"{what} is empty", expected="a name or a path", got="an empty text", fix="give one")
        for command, what in {
            "data ''": "SPEC",
            f"{IMAGEN} --data ''": "--data",
            f"{IMAGEN} --out ''": "--out",
            "data creatures --out ''": "--out",
            "train --resume ''": "--resume",
            "sample '' cat": "RUN",
            "sample imagen cat --upscale ''": "--upscale",
            "runs ''": "FOLDER",
            f"{IMAGEN} --set data.spec=\"''\"": "--data",
        }.items()
    ),
    mistake(
        "data creatures --out sheet.txt",
        "--out sheet.txt: the name does not say what kind of image",
        expected=".png, .jpg or .webp",
        got=".txt",
        fix="sheet.png",
    ),
    mistake(
        f"{IMAGEN} --data ./gone/cats", "gone/cats: there is no such folder", expected="a folder", fix="path"
    ),
    mistake(
        f"{IMAGEN} --data ./pics",
        "pics: no captioned image",
        expected="metadata.jsonl",
        got="1 files (.md)",
        fix="cat.txt",
        before=files({"pics/readme.md": ""}),
    ),
    mistake(
        f"{IMAGEN} --data ./pics",
        "pics: an image without a caption",
        expected="a .txt file of the same name",
        got="b.png",
        fix="write the .txt file",
        before=files({"pics/a.png": png(), "pics/a.txt": "a", "pics/b.png": png()}),
    ),
    mistake(
        f"{IMAGEN} --data ./pics",
        "metadata names a file that is not there",
        "a line without text or caption",
        expected="every file_name to be an image",
        got="gone.png (metadata.jsonl:2)",
        fix="remove their lines",
        before=files({"pics/a.png": png(), "pics/metadata.jsonl": ENTRIES}),
    ),
    mistake(
        f"{IMAGEN} --data ./pics",
        "pics: an image that cannot be read",
        expected="whole image files",
        got="b.png",
        fix="save the image again",
        before=files(
            {"pics/a.png": png(), "pics/a.txt": "a", "pics/b.png": png()[:60], "pics/b.txt": "b"},
        ),
    ),
    mistake(
        f"{IMAGEN} --data ./pics",
        "pics: too few captioned images",
        expected="at least 2",
        got="1",
        fix="--set data.validation=0",
        before=files({"pics/a.png": png(), "pics/a.txt": "a"}),
    ),
    mistake(
        f"{IMAGEN} --data ./pics --set data.count=5",
        "data.count is not a known option",
        got="count",
        fix="choose one of",
        before=files({"pics/a.png": png(), "pics/a.txt": "a"}),
    ),
]
