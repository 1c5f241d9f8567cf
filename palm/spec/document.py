"""The text of a cluster file as values, and errors of TOML that name the place."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from palm.errors import ConfigError
from palm.spec.lines import Repeated, find_repeated

__all__ = ["MAX_FILE", "read_document"]

#: Characters of a cluster file; one of a thousand components has far less.
MAX_FILE = 1024 * 1024

#: What a message of the parser begins with, and what is most likely meant.
_HINTS = {
    "Invalid value": 'a text is in quotes, as in role = "worker"',
    "Expected '=' after a key": "a line is [TABLE] or KEY = VALUE",
    "Invalid statement": "a line is [TABLE] or KEY = VALUE",
    "Illegal character '\\n'": "a text ends on its line; three quotes begin one of several lines",
    "Unescaped '\\' in a string": "write \\\\ for a backslash, or put the text in '...'",
    "Expected newline or end of document": "a text with quotes in it can be put in '...'",
}


def read_document(text: str, file: str) -> dict[str, Any]:
    """Return the values of a TOML document.

    Raises
    ------
    ConfigError
        It is too large, or not TOML.
    """
    if len(text) > MAX_FILE:
        hint = f"at most {MAX_FILE} characters"
        raise ConfigError("the file is too large", file=file, line=1, hint=hint)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _told(error, text, file) from error
    except RecursionError:
        raise ConfigError("this is nested too deeply", file=file, line=1) from None


def _told(error: tomllib.TOMLDecodeError, text: str, file: str) -> ConfigError:
    found = re.search(r"at line (\d+)", str(error))
    line = int(found[1]) if found else text.count("\n") + 1
    repeated = _repeated(text)
    if repeated is not None and repeated.line <= line:
        what = "table" if repeated.table else "key"
        return ConfigError(
            f"this {what} is given twice, first on line {repeated.first}",
            file=file, line=repeated.line, key=".".join(repeated.path),
            hint="take one of them out",
        )  # fmt: skip
    said = re.sub(r" \(at .*\)$", "", str(error))
    hint = next((hint for begin, hint in _HINTS.items() if said.startswith(begin)), None)
    return ConfigError(f"this is not TOML: {said}", file=file, line=line, hint=hint)


def _repeated(text: str) -> Repeated | None:
    try:
        return find_repeated(text)
    except RecursionError:
        return None
