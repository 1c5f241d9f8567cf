"""Sizes as people write them: ``500M``, ``10G``, ``1.5T``, ``none``; units are powers of 1,024."""

from __future__ import annotations

from palm.errors import ConfigError

__all__ = ["format_size", "parse_size", "readable_size"]

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_READABLE = ("bytes", "KB", "MB", "GB", "TB")


def parse_size(text: str) -> int | None:
    """Return bytes; None for "none": no limit.

    Raises
    ------
    ConfigError
        It is no size.
    """
    number, unit = text.strip().upper().removesuffix("B").removesuffix("I"), 1
    if number == "NONE":
        return None
    if number[-1:] in _UNITS:
        number, unit = number[:-1], _UNITS[number[-1]]
    try:
        size = float(number) * unit
    except ValueError:
        size = 0.0
    if not 1 <= size < float("inf"):
        raise ConfigError(f"{text!r} is not a size", hint="as in 500M, 10G; none: no limit")
    return int(size)


def format_size(size: int | None) -> str:
    """Return the shortest text that `parse_size` reads as the same."""
    if size is None:
        return "none"
    for unit, count in reversed(_UNITS.items()):
        if size >= count and size % count == 0:
            return f"{size // count}{unit}"
    return str(size)


def readable_size(count: float) -> str:
    """Return bytes as a person reads them: ``12 bytes``, ``3.4 MB``."""
    step = 0
    while count >= 1024 and step < len(_READABLE) - 1:
        count, step = count / 1024, step + 1
    digits = 1 if step and count < 10 else 0
    return f"{count:.{digits}f} {_READABLE[step]}"
