"""Durations as people write them: ``90``, ``2m``, ``1h30m``, ``forever``."""

from __future__ import annotations

import re

from palm.errors import ConfigError

__all__ = ["format_duration", "parse_duration"]

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def parse_duration(text: str) -> float | None:
    """Return seconds; None for "forever".

    Raises
    ------
    ConfigError
        It is no duration.
    """
    text = text.strip().lower()
    if text in ("forever", "inf"):
        return None
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if re.fullmatch(rf"({_PART.pattern})+", text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    raise ConfigError(
        f"{text!r} is not a duration", hint="seconds, or as in 90s, 2m, 1h30m; forever"
    )


def format_duration(seconds: float | None) -> str:
    """Return the shortest text that `parse_duration` reads as the same."""
    if seconds is None:
        return "forever"
    left, parts = seconds, []
    for unit, size in _UNITS.items():
        count = int(left // size) if unit != "s" else left
        left -= count * size
        if count:
            parts.append(f"{count:g}{unit}")
    return "".join(parts) or "0s"
