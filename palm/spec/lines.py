"""Where in a TOML document each table, key and element is: the parser of Python does not say."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Path", "Repeated", "find_lines", "find_repeated"]

#: Keys from the outside in; of an element of an array its number, from 0, as text.
Path = tuple[str, ...]

_SPACE = re.compile(r"[ \t]*")
#: All between two statements, and between two elements of an array.
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""(?P<bare>[A-Za-z0-9_-]+)|(?P<basic>"(?:[^"\\\n]|\\.)*")|'(?P<raw>[^'\n]*)'""")
_STRING = re.compile(
    r"""
      \"\"\"(?:[^\\]|\\.)*?\"\"\"\"{0,2}
    | '''.*?''''{0,2}
    | "(?:[^"\\\n]|\\.)*"
    | '[^'\n]*'
    """,
    re.VERBOSE | re.DOTALL,
)
#: Numbers, dates and the like.
_PLAIN = re.compile(r"[^,\[\]{}#\"'\n]+")


class Repeated(NamedTuple):
    """A key or a table that is given twice: where, and where it was given first."""

    path: Path
    line: int
    first: int
    table: bool


def find_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every table, key and element of a valid document by its path.

    A table that is opened more than once, as tables of an array are, is where it is opened first.
    """
    lines: dict[Path, int] = {}
    headers: dict[Path, int] = {}
    for path, line, table in _Scanner(text).document():
        for size in range(1, len(path)):
            lines.setdefault(path[:size], line)
        (headers if table else lines).setdefault(path, line)
    # A table's own header counts more than one of a table in it that came before.
    return lines | headers


def find_repeated(text: str) -> Repeated | None:
    """Return the first key or table that a document gives twice, which TOML does not allow."""
    seen: dict[Path, tuple[int, bool]] = {}
    for path, line, table in _Scanner(text).document(whole=False):
        if path in seen:
            first, was_table = seen[path]
            return Repeated(path, line, first, table and was_table)
        seen[path] = line, table
    return None


class _Lost(Exception):  # noqa: N818 - not an error: whoever parses it says what is wrong
    """The document goes on as no TOML does."""


class _Scanner:
    """One reading of a document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line = 1
        self._counted = 0

    def document(self, *, whole: bool = True) -> Iterator[tuple[Path, int, bool]]:
        """Yield path, line and whether it is a header, as far as the text is TOML.

        Without `whole` it leaves out what is in tables of arrays, whose paths come again.
        """
        table: Path = ()
        arrays: set[Path] = set()
        try:
            while self._skip(_GAP) < len(self._text):
                line = self._here()
                if self._next() == "[":
                    array, table = self._header()
                    if array:
                        arrays.add(table)
                    if whole or not self._is_in(table, arrays):
                        yield table, line, True
                else:
                    for path, at in self._statement():
                        if whole or not self._is_in(table, arrays):
                            yield (*table, *path), at, False
        except _Lost:
            return

    @staticmethod
    def _is_in(table: Path, arrays: set[Path]) -> bool:
        return any(table[: len(array)] == array for array in arrays)

    def _header(self) -> tuple[bool, Path]:
        self._take("[")
        array = self._next() == "["
        if array:
            self._take("[")
        path = self._path()
        self._take("]]" if array else "]")
        return array, path

    def _statement(self) -> Iterator[tuple[Path, int]]:
        line = self._here()
        path = self._path()
        yield path, line
        self._take("=")
        yield from self._value(path)

    def _path(self) -> Path:
        parts = [self._key()]
        while self._next() == ".":
            self._take(".")
            parts.append(self._key())
        return tuple(parts)

    def _key(self) -> str:
        self._skip(_SPACE)
        match = _KEY.match(self._text, self._position)
        if match is None:
            raise _Lost
        self._position = match.end()
        if match["basic"] is None:
            return match["raw"] if match["bare"] is None else match["bare"]
        try:
            return str(tomllib.loads(f"key = {match['basic']}")["key"])
        except tomllib.TOMLDecodeError:
            raise _Lost from None

    def _value(self, path: Path) -> Iterator[tuple[Path, int]]:
        kind = self._next()
        if kind == "[":
            yield from self._array(path)
        elif kind == "{":
            yield from self._inline(path)
        else:
            pattern = _STRING if kind in ('"', "'") else _PLAIN
            match = pattern.match(self._text, self._position)
            if match is None:
                raise _Lost
            self._position = match.end()

    def _array(self, path: Path) -> Iterator[tuple[Path, int]]:
        self._take("[")
        number = 0
        while self._skip(_GAP) < len(self._text) and self._next() != "]":
            inner = (*path, str(number))
            yield inner, self._here()
            yield from self._value(inner)
            number += 1
            self._skip(_GAP)
            if self._next() == ",":
                self._take(",")
        self._take("]")

    def _inline(self, path: Path) -> Iterator[tuple[Path, int]]:
        self._take("{")
        while self._skip(_GAP) < len(self._text) and self._next() != "}":
            for inner, line in self._statement():
                yield (*path, *inner), line
            self._skip(_GAP)
            if self._next() == ",":
                self._take(",")
        self._take("}")

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._position)
        self._position = match.end() if match else self._position
        return self._position

    def _next(self) -> str:
        """Return the next character on this line."""
        position = self._skip(_SPACE)
        return self._text[position : position + 1]

    def _take(self, token: str) -> None:
        self._skip(_SPACE)
        if not self._text.startswith(token, self._position):
            raise _Lost
        self._position += len(token)

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._position)
        self._counted = self._position
        return self._line
