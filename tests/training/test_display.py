"""What a person sees while training, at any width, and where nothing can be replaced."""

from __future__ import annotations

import io
import os

import pytest
from rich.console import Console

from t2ikit.training import display
from t2ikit.training.display import Live, Plain, Silent, facts, make_display
from t2ikit.utils import console as messages
from t2ikit.utils import progress
from t2ikit.utils.console import Screen, Verbosity, can_move, set_verbosity
from t2ikit.utils.progress import progress_bar

pyte = pytest.importorskip("pyte")

from terminal import shown  # noqa: E402

SCALARS = {"images_per_second": 842.3, "memory_mb": 512.0, "loss/denoise": 0.12345}
MEASURED = {**SCALARS, "mfu": 0.224, "data_wait": 0.031}
GAN = {
    **SCALARS,
    **{f"loss/{name}": 0.5 for name in ("adversarial", "matching", "critic", "contrastive", "r1")},
}


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def make_console(columns: int = 80, **options) -> Console:
    options = {"force_terminal": True, "_environ": {"TERM": "xterm-256color"}, **options}
    return Console(file=Terminal(), width=columns, height=24, **options)


def seen(console: Console):
    """The terminal that shows what was printed to the console."""
    raw = console.file.getvalue().replace("\n", "\r\n").encode()
    return shown(0, raw, 24, console.width)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "MPLBACKEND", "RANK", *messages.NOTEBOOK):
        monkeypatch.delenv(name, raising=False)
    yield
    set_verbosity(Verbosity.normal)


# ---------------------------------------------------------------- the bar


def train(console: Console, scalars: dict[str, float], log: str = "") -> list[str]:
    """The lines that are left, after looking at the bar before the first step and on its way."""
    bar = Live(Screen(lambda: console))
    bar.screen.progress.refresh()
    assert "loading" in seen(console).text
    bar.update(3, 1000, scalars)
    bar.screen.progress.refresh()
    on_the_way = seen(console)
    assert on_the_way.broken == []
    assert "loading" not in on_the_way.text
    assert "step 3/1000" in on_the_way.text
    if log:
        bar.log(log)
    bar.update(1000, 1000, scalars)
    bar.close()
    print(*(end := seen(console)).lines, sep="\n")
    assert end.broken == []
    assert max(map(len, end.lines)) <= console.width
    return end.lines


def test_everything_is_on_one_line_where_there_is_room():
    [line] = train(make_console(200), GAN)
    for word in ("step 1000/1000", "━", "0:00:00", "842 images/s", "0.5 GiB", "denoise 0.1235", "r1 0.5000"):
        assert word in line


def test_at_80_columns_all_of_one_loss_is_shown():
    text = "\n".join(train(make_console(80), SCALARS))
    for word in ("step 1000/1000", "━━━━━━", "842 images/s", "0.5 GiB", "loss 0.1235"):
        assert word in text


def test_many_losses_go_below_the_bar_and_say_what_is_left_out():
    first, second = train(make_console(80), GAN)
    assert first.startswith("step 1000/1000  ━━━━━━")
    assert second.startswith("842 images/s  0.5 GiB  denoise 0.1235  adversarial 0.5000")
    assert second.endswith("...")


def test_at_80_columns_mfu_and_waiting_are_shown():
    text = "\n".join(train(make_console(80), MEASURED))
    assert "842 images/s  0.5 GiB  loss 0.1235  MFU 22 %  data 3 %" in text


def test_at_40_columns_the_rest_stands_below():
    assert train(make_console(40), SCALARS)[1:] == ["842 images/s  0.5 GiB  loss 0.1235"]


@pytest.mark.parametrize("columns", range(20, 130, 3))
def test_no_line_is_wider_than_the_terminal(columns):
    for scalars in (SCALARS, MEASURED, GAN, {}):
        train(make_console(columns), scalars)


def test_the_time_that_is_left_is_shown_on_the_way():
    console = make_console()
    bar = Live(Screen(lambda: console))
    for step in range(1, 5):
        bar.update(step, 1000, SCALARS)
    bar.screen.progress.refresh()
    assert "eta " in seen(console).text
    bar.close()
    assert "eta " not in seen(console).text  # there is none any more


def test_messages_stand_above_the_bar_whole():
    lines = train(make_console(40), SCALARS, log="[bold] is no markup, and " + "words " * 12)
    assert lines[0].startswith("[bold] is no markup")
    assert lines[-2].startswith("step 1000/1000")


def test_without_colours_there_are_none():
    console = make_console(no_color=True)
    train(console, SCALARS)
    assert "\x1b[3" not in console.file.getvalue()  # colours; bold and the like are no colours


def test_ascii_where_the_terminal_knows_nothing_else(monkeypatch):
    console = make_console()
    monkeypatch.setattr(Console, "encoding", "ascii")
    lines = train(console, SCALARS)
    assert lines[0].isascii()
    assert "---" in lines[0]


def test_a_bar_that_is_interrupted_stays_where_it_is():
    console = make_console()
    bar = Live(Screen(lambda: console))
    bar.update(5, 10, SCALARS)
    bar.close()
    bar.close()
    assert [line for line in seen(console).lines if "step 5/10" in line]
    assert console.file.getvalue().endswith("\n")
    assert "\x1b[?25h" in console.file.getvalue()  # the cursor is there again


# ---------------------------------------------------------------- which display


@pytest.mark.parametrize(
    "environment",
    [
        {"TERM": "dumb"},
        {"JPY_PARENT_PID": "1", "FORCE_COLOR": "1"},
        {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        {"COLAB_RELEASE_TAG": "release"},
    ],
)
def test_lines_where_nothing_can_be_replaced(monkeypatch, environment):
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    console = Console(file=Terminal())
    assert not can_move(console)
    monkeypatch.setattr(display.SCREEN, "make", lambda: console)
    assert isinstance(make_display(main=True), Plain)


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=Terminal())
    monkeypatch.setattr(display.SCREEN, "make", lambda: console)
    bar = make_display(main=True)
    assert isinstance(bar, Live)
    bar.close()
    assert isinstance(make_display(main=False), Silent)
    set_verbosity(Verbosity.quiet)
    assert isinstance(make_display(main=True), Silent)


def test_a_file_gets_no_control_sequence_whatever_force_color_says(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(display, "PLAIN_SECONDS", 0.0)
    console = Console(file=io.StringIO())
    assert console.is_terminal  # says rich
    monkeypatch.setattr(display.SCREEN, "make", lambda: console)
    lines = make_display(main=True)
    lines.log("a message of more than eighty characters " * 3)
    for step in (1, 2, 3):
        lines.update(step, 3, SCALARS)
    lines.close()
    text = console.file.getvalue()
    assert "\x1b" not in text
    assert len(text.splitlines()) == 4
    assert text.splitlines()[-1] == "step 3/3  eta 0:00:00  842 images/s  0.5 GiB  loss 0.1235"


def test_plain_lines_come_now_and_then(monkeypatch):
    console = Console(file=io.StringIO())
    lines = Plain(console)
    for step in range(1, 101):
        lines.update(step, 100, SCALARS)
    assert len(console.file.getvalue().splitlines()) == 1  # the last; ten seconds have not passed


def test_facts_name_the_losses_where_there_are_several():
    assert facts(MEASURED)[:2] == ["842 images/s", "0.5 GiB"]
    assert facts(MEASURED)[3:5] == ["MFU 22 %", "data 3 %"]
    assert facts(SCALARS) == ["842 images/s", "0.5 GiB", "loss 0.1235"]
    assert facts({"loss/a": 1.0, "loss/b": 2.0}) == ["a 1.0000", "b 2.0000"]
    assert facts({}) == []


# ---------------------------------------------------------------- other bars


def test_a_bar_of_other_work_leaves_nothing_behind(monkeypatch):
    console = make_console(40)
    screen = Screen(lambda: console)
    monkeypatch.setattr(progress, "SCREEN", screen)
    monkeypatch.setattr(messages, "SCREEN", screen)
    with progress_bar("sampling a title that is rather long") as update:
        update(3, 20)
        screen.progress.refresh()
        assert "sampling a title that is rather" in seen(console).text
        messages.log("above")
        with progress.phase("within"):
            screen.progress.refresh()
            assert "within" in seen(console).text
    assert seen(console).lines == ["above"]


def test_a_bar_shows_done_and_all(monkeypatch):
    console = make_console(80)
    screen = Screen(lambda: console)
    monkeypatch.setattr(progress, "SCREEN", screen)
    with progress_bar("sampling") as update:
        update(3, 20)
        screen.progress.refresh()
        [line] = seen(console).lines
    assert line.startswith("sampling 3/20  ━")
    assert "eta " in line


def test_the_spinner_gives_way_to_bars_and_comes_back(monkeypatch):
    console = make_console()
    screen = Screen(lambda: console)
    monkeypatch.setattr(progress, "SCREEN", screen)
    progress.spin("loading")
    with progress_bar("sampling") as update:
        update(1, 2)
        screen.progress.refresh()
        assert "loading" not in seen(console).text
    screen.progress.refresh()
    assert "loading" in seen(console).text
    screen.clear()
    assert seen(console).text == ""
    assert screen.progress is None


def test_long_work_says_something_now_and_then_in_a_file(monkeypatch):
    console = Console(file=io.StringIO())
    screen = Screen(lambda: console)
    monkeypatch.setattr(progress, "SCREEN", screen)
    monkeypatch.setattr(messages, "SCREEN", screen)
    for seconds, expected in ((30.0, ""), (0.0, "sampling 3/20\n")):
        monkeypatch.setattr(progress, "PLAIN_SECONDS", seconds)
        with progress_bar("sampling") as update:
            update(3, 20)
        assert console.file.getvalue() == expected


@pytest.mark.parametrize(
    ("level", "said"), [("quiet", ""), ("normal", "a\n"), ("verbose", "a\nb\nwork: 0.0 s\n")]
)
def test_how_much_is_said(monkeypatch, level, said):
    console = Console(file=io.StringIO())
    screen = Screen(lambda: console)
    monkeypatch.setattr(progress, "SCREEN", screen)
    monkeypatch.setattr(messages, "SCREEN", screen)
    set_verbosity(Verbosity[level])
    messages.log("a")
    messages.detail("b")
    with progress.phase("work"):
        pass
    assert console.file.getvalue() == said


def test_only_the_first_of_several_processes_speaks(monkeypatch):
    console = Console(file=io.StringIO())
    monkeypatch.setattr(messages, "SCREEN", Screen(lambda: console))
    monkeypatch.setenv("RANK", "1")
    messages.log("a")
    assert console.file.getvalue() == ""
    assert not messages.SCREEN.can_show()


def test_a_dumb_terminal_is_as_wide_as_it_is(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "40")
    assert messages.make_console().width == 40
    assert os.environ["COLUMNS"] == "40"
