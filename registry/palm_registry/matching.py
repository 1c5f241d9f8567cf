"""Which lines somebody looks for: those with a text, or those that a regular expression finds.

The expressions are RE2's: whatever somebody asks for, the time it takes grows with the output
only, and others are not held up meanwhile. What RE2 lacks (looking around, back references) is
refused.
"""

from __future__ import annotations

from typing import Any

import re2

from palm_registry.failures import Invalid

__all__ = ["MAX_PATTERN", "Matcher"]

#: Characters of what is looked for.
MAX_PATTERN = 1000
#: Bytes that RE2 may use for one expression.
_MEMORY = 16 * 1024 * 1024
#: What may mean something else for many lines at once than for one.
_OF_ONE_LINE = ("\\A", "\\z", "(?-", "(?^")


class Matcher:
    """Finds lines with `text`, and those that `regex` finds; without either, all.

    Raises
    ------
    Invalid
        `regex` is no regular expression of RE2's.
    """

    def __init__(self, text: str = "", regex: str = "") -> None:
        self._text = text.encode("utf-8", "surrogateescape")
        self._regex = _compiled(regex) if regex else None
        self._one_by_one = any(each in regex for each in _OF_ONE_LINE)

    def line(self, line: bytes) -> bool:
        """Say whether a line, with or without its newline, is wanted."""
        if self._text not in line:
            return False
        return self._regex is None or self._regex.search(line.removesuffix(b"\n")) is not None

    def lines(self, lines: bytes) -> bool:
        """Say whether there may be one among whole lines: quickly, and a no is certain."""
        if self._text not in lines:
            return False
        if self._regex is None or self._one_by_one:
            return True
        return self._regex.search(lines) is not None


def _compiled(regex: str) -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    try:
        return re2.compile(f"(?m:{regex})".encode(), options)
    except (re2.error, UnicodeEncodeError) as error:
        why = error.args[0]
        shown = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(error)
        raise Invalid(
            "regex",
            f"{regex!r} is not a regular expression here: {shown}",
            "the syntax is RE2's, which looks neither ahead nor behind",
        ) from error
