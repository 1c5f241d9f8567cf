"""Names of signals."""

from __future__ import annotations

import signal

import pytest

from palm.errors import ConfigError
from palm.spec.signals import SIGNALS, parse_signal


@pytest.mark.parametrize("text", ["HUP", "hup", "SIGHUP", " SigHup "])
def test_signal_has_one_name(text: str) -> None:
    assert parse_signal(text) == "SIGHUP"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("SIGHPU", "did you mean HUP?"),
        ("USR3", "did you mean USR"),
        ("1", "as HUP"),
        ("", "as HUP"),
    ],
)
def test_unknown_signal_is_refused_with_what_there_is(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_signal(text)
    assert hint in (caught.value.hint or "")


def test_system_has_all_of_them() -> None:
    assert all(hasattr(signal, name) for name in SIGNALS)
