"""Where in a TOML document each table and key is: the parser of Python does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["find_lines"]

Path = tuple[str, ...]

_KEY = re.compile(
    r"""\s*(?:(?P<bare>[A-Za-z0-9_-]+)|"(?P<basic>(?:[^"\\]|\\.)*)"|'(?P<raw>[^']*)')"""
)
_DOT = re.compile(r"[ \t]*\.")

#: One token of a value: a string of any kind, a comment, a bracket, the end of a line, or others.
_TOKEN = re.compile(
    r"""
      \"\"\"(?:[^\\]|\\.)*?\"\"\"\"{0,2}
    | '''.*?''''{0,2}
    | "(?:[^"\\\n]|\\.)*"
    | '[^'\n]*'
    | (?P<comment>\#[^\n]*)
    | (?P<open>[\[{])
    | (?P<close>[\]}])
    | (?P<end>\n)
    | [^"'\#\[\]{}\n]+
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


def find_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every table and key of a valid document by its path.

    Keys within an inline table are on the line of that table, and not listed.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    for path, position, header in _statements(text):
        line = text.count("\n", 0, position) + 1
        table, path = (path, path) if header else (table, table + path)
        for size in range(1, len(path) + 1):
            lines.setdefault(path[:size], line)
        if header:
            lines[path] = line
    return lines


def _statements(text: str) -> Iterator[tuple[Path, int, bool]]:
    """Yield path, position and whether it is a header, for each header and key of a document."""
    position = 0
    while position < len(text):
        if text[position] in " \t\r\n":
            position += 1
        elif text[position] == "#":
            position = _after_value(text, position)
        else:
            header = text[position] == "["
            start = position + len(text[position:]) - len(text[position:].lstrip("["))
            path, end = _path(text, start)
            if path:
                yield path, position, header
            position = _after_value(text, text.find("]", end) + 1 if header else end)
            if position <= start and not path:
                return  # not TOML: whoever parses it says what is wrong


def _path(text: str, position: int) -> tuple[Path, int]:
    parts: list[str] = []
    while match := _KEY.match(text, position):
        parts.append(match["bare"] or match["basic"] or match["raw"] or "")
        position = match.end()
        dot = _DOT.match(text, position)
        if dot is None:
            break
        position = dot.end()
    return tuple(parts), position


def _after_value(text: str, position: int) -> int:
    """Return where the line ends on which the value at `position` ends."""
    depth = 0
    for token in _TOKEN.finditer(text, position):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
        elif token["end"] and depth <= 0:
            return token.end()
    return len(text)
