"""CSV and TSV tables: what parts and quotes their cells, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_folder import everything, load, save

from t2ikit.data.captioned import Captioned
from t2ikit.data.configs import TableConfig
from t2ikit.data.formats.delimited import Delimited
from t2ikit.data.formats.table import open_table
from t2ikit.data.problems import Problems
from t2ikit.errors import UserError

WANTED = {"a.png": ("a cat, sitting",), "sub/b.png": ('a "big" dog; brown',)}
TABLES = {
    "commas.csv": 'file_name,text\na.png,"a cat, sitting"\nsub/b.png,"a ""big"" dog; brown"\n',
    "spaces after them.csv": 'image, caption\na.png, "a cat, sitting"\nsub/b.png, "a ""big"" dog; brown"\n',
    "semicolons.csv": 'id;image;caption\n1;a.png;a cat, sitting\n2;sub/b.png;"a ""big"" dog; brown"\n',
    "tabs.tsv": 'image\ttext\na.png\ta cat, sitting\nsub/b.png\t"a ""big"" dog; brown"\n',
    "tabs.csv": 'image\ttext\na.png\ta cat, sitting\nsub\\b.png\t"a ""big"" dog; brown"\n',
    "bars.csv": 'text|file_name\na cat, sitting|a.png\na "big" dog; brown|sub/b.png\n',
    "single quotes.csv": "file_name,text\n'a.png','a cat, sitting'\n'sub/b.png','a \"big\" dog; brown'\n",
    "backslashes.csv": 'file_name,text\na.png,"a cat, sitting"\nsub/b.png,"a \\"big\\" dog; brown"\n',
    "excel.csv": 'sep=;\nimage;text\na.png;a cat, sitting\nsub/b.png;"a ""big"" dog; brown"\n',
    "lines in cells.csv": '\nfile_name,text\na.png,"a cat,\nsitting"\n\nsub/b.png,"a ""big"" dog; brown"\n',
    "commas in most captions.csv": 'file_name;text\na.png;a cat, sitting\nsub/b.png;"a ""big"" dog; brown"\n',
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save(tmp_path / "a.png", size=(9, 9))
    save(tmp_path / "sub" / "b.png", size=(10, 9))
    return tmp_path


def open_rows(path: Path, **options: object) -> Captioned:
    return open_table(TableConfig(spec=str(path), **{"size": 8, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TABLES)
def test_delimiters_and_quotes_are_found(root: Path, name: str) -> None:
    (root / name).write_text(TABLES[name])
    dataset = open_rows(root / name)
    assert everything(dataset) == WANTED
    assert not dataset.warnings
    metadata = root / f"metadata.{name[-3:]}"
    metadata.write_text(TABLES[name])
    assert everything(load(root)) == WANTED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_line_ends(root: Path, encoding: str) -> None:
    text = "image;text\r\na.png;ein Bär\r\nsub/b.png;猫\r\n"
    (root / "t.csv").write_bytes(text.encode(encoding))
    assert everything(open_rows(root / "t.csv")) == {"a.png": ("ein Bär",), "sub/b.png": ("猫",)}


def test_rows_of_one_image_are_several_captions_and_columns_can_be_named(root: Path) -> None:
    (root / "t.tsv").write_text("photo\tsays\ttext\na.png\tone\tx\na.png\ttwo\tx\nsub/b.png\tb\tx\n")
    dataset = open_rows(root / "t.tsv", image_column="photo", caption_column="says")
    assert everything(dataset) == {"a.png": ("one", "two"), "sub/b.png": ("b",)}


def test_an_apostrophe_is_no_quote_mark(root: Path) -> None:
    (root / "t.csv").write_text("file_name,text\na.png,'tis a cat's tail\nsub/b.png,dogs'\n")
    assert everything(open_rows(root / "t.csv")) == {"a.png": ("'tis a cat's tail",), "sub/b.png": ("dogs'",)}


BAD = {
    "image,text\nhttps://a.b/c.png,a\na.png,b\nsub/b.png,c\n": (
        "a link in place",
        "t.csv:2 (https://a.b/c.png)",
    ),
    "image,text\n../out.png,a\na.png,b\n": ("leads out of the folder", "t.csv:2 (../out.png)"),
    "image,text\n/etc/x.png,a\na.png,b\n": ("leads out of the folder", "t.csv:2 (/etc/x.png)"),
    "image,text\ngone.png,a\na.png,b\n": ("not there", "gone.png (t.csv:2)"),
    "image,text\na.png,a cat, sitting\nsub/b.png,b\n": ("more cells than", "t.csv:2", "quote marks"),
    'image,text\na.png,"a cat\nsub/b.png,b\n': ("quote marks do not match", "t.csv:2 to 3"),
    "image,text\na.png,a\nsub/b.png,\n": ("an empty caption", "t.csv:3"),
    "image,text\n": ("there are no rows",),
    "": ("there are no rows",),
    "a.png,a cat\nsub/b.png,a dog\n": ("no column of images", "a.png, a cat", "the first row names"),
    "URL,TEXT\nhttp://a.b/c.png,a\n": ("no column of images", "URL, TEXT", "links are not followed"),
    "image,words\na.png,a\n": ("no column of captions", "image, words", "data.caption_column"),
}


@pytest.mark.parametrize("content", BAD)
def test_tables_that_are_wrong(root: Path, content: str) -> None:
    (root / "t.csv").write_text(content)
    with pytest.raises(UserError) as caught:
        open_rows(root / "t.csv", max_bad=0)
    for words in BAD[content]:
        assert words in str(caught.value)


def test_reading_goes_on_after_a_bad_row() -> None:
    problems = Problems("t.csv")
    table = Delimited('sep=,\nimage,text\n"a"b,x\nc,d\n', "t.csv")
    assert list(table.rows(problems)) == [("t.csv:4", {"image": "c", "text": "d"})]
    assert "t.csv:3" in str(problems.errors()[0])
