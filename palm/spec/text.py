"""Text of other processes, made safe to show."""

from __future__ import annotations

import re

__all__ = ["printable"]

# One alternative per kind of sequence of ECMA-48, none of which can match in two ways, so the
# time is linear. Strings (OSC, DCS, ...) that are never closed end at the line's end: they
# cannot hide the lines after them.
_ESCAPE = re.compile(
    r"""
      (?P<colour>\x1b\[[0-9;:]*m)
    | (?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?
    | (?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?
    | \x1b[ -/]*[0-~]?
    """,
    re.VERBOSE,
)

# All control characters but newline, tab and escape, and those that reorder or hide text.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_OVERWRITTEN = re.compile(r"^.*\r(?=[^\r\n])", re.MULTILINE)


def printable(text: str, *, colours: bool = False) -> str:
    """Remove escape sequences and control characters; newlines and tabs stay.

    Of a line that was written over (a progress bar) only the last version stays. ``colours``
    keeps the sequences that set colours and weights (SGR), for a terminal.
    """
    text = text.replace("\r\n", "\n")
    text = _OVERWRITTEN.sub("", text)
    text = _ESCAPE.sub(_colour if colours else "", text)
    return _CONTROL.sub("", text)


def _colour(match: re.Match[str]) -> str:
    return match["colour"] or ""
