"""What a person sees while training."""

from __future__ import annotations

import io

from rich.console import Console

from t2ikit.display import Live


def test_the_bar_shows_before_the_first_step():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    display = Live(console)
    display.say("a message")
    display.update(3, 10, {"images_per_second": 12.0, "loss/denoise": 0.5})
    display.close()
    shown = console.file.getvalue()
    assert "a message" in shown
    assert "3/10" in shown
    assert "12 images/s" in shown
