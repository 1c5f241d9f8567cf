"""Values and comments as TOML writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from palm.spec.text import printable

__all__ = ["comment", "item"]

#: Characters of a list that still stands on one line.
_WIDTH = 72


def item(key: str, value: str | int | Sequence[str]) -> str:
    """Return a line ``key = value``, or several for a long list."""
    if isinstance(value, int):
        return f"{key} = {value}"
    if isinstance(value, str):
        return f"{key} = {_text(value)}"
    parts = [_text(each) for each in value]
    line = f"{key} = [{', '.join(parts)}]"
    if len(line) <= _WIDTH:
        return line
    # An option and its value belong together.
    rows = [parts[:1]]
    for before, part in zip(value, parts[1:], strict=False):
        together = before.startswith("-") and len(rows[-1]) == 1 and not part.startswith('"-')
        rows[-1].append(part) if together else rows.append([part])
    return f"{key} = [\n" + "".join(f"    {', '.join(row)},\n" for row in rows) + "]"


def comment(text: str) -> str:
    """Return a text as a line of comment."""
    return f"# {' '.join(printable(text).split())}"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
