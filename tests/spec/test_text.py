from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.spec.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 漢字 🙂\tand\n", "plain äöü 漢字 🙂\tand\n"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hcleared", "cleared"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never closed\nnext line", "\nnext line"),
        ("\x1bPdevice\x1b\\control", "control"),
        ("\x9b31mC1\x9b0m", "C1"),
        ("\x1b(Bset", "set"),
        ("\x1bcreset", "reset"),
        ("cut\x1b", "cut"),
        ("cut\x1b[", "cut"),
        ("bell\x07 null\x00 delete\x7f", "bell null delete"),
        ("back\b\bspace", "backspace"),
        ("windows\r\nline", "windows\nline"),
        ("10%\r50%\r100%\n", "100%\n"),
        ("10%\r50%\r", "50%"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
    ],
)
def test_only_text_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_colours_stay_on_request_and_nothing_else_does() -> None:
    text = "\x1b[1;31mred\x1b[0m\x1b[2J\x1b]0;t\x07\x1b[38:2::1:2:3mx\x1b[?25l"
    assert printable(text, colours=True) == "\x1b[1;31mred\x1b[0m\x1b[38:2::1:2:3mx"


@given(st.text(alphabet=st.sampled_from("\x1b[]()\\;0m\x07\r\nPX\x9b\x9d\x9ca "), max_size=60))
def test_nothing_that_is_left_controls_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not any(c in shown for c in "\x1b\x07\r\x9b\x9c\x9d")
    assert printable(shown) == shown
    assert shown.count("\n") <= text.count("\n")


@pytest.mark.parametrize("part", ["\x1b", "\x1b[", "\x1b]", "\r", "\x1b[1;", "\x1bP\x1b"])
def test_hostile_text_takes_linear_time(part: str) -> None:
    start = time.process_time()
    printable(part * 200_000)
    assert time.process_time() - start < 5.0
