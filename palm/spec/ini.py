"""INI files as Python's ``configparser`` reads them, with the line of each option.

Nothing is interpolated and names keep their case. A line without a value is an option, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from palm.errors import ConfigError

__all__ = ["Option", "Section", "read_ini"]

_HEADER = re.compile(r"\[(.+)\]")
_OPTION = re.compile(r"(?P<name>.*?)\s*(?:[=:]\s*(?P<value>.*))?")


@dataclass(frozen=True, slots=True)
class Option:
    """A key and its value, None if the line has no more than the key."""

    name: str
    value: str | None
    line: int


@dataclass(slots=True)
class Section:
    """A section and its own options, in their order."""

    name: str
    line: int
    options: list[Option] = field(default_factory=list)


def read_ini(text: str, file: str) -> tuple[list[Section], list[ConfigError]]:
    """Return the sections of a file, and all that is wrong with it.

    Values of several lines have newlines between. A name that comes again, in whatever case,
    is an error, and counts as it was given first.
    """
    reader = _Reader(file)
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        reader.take(number, line.rstrip())
    reader.end_option()
    return reader.sections, reader.errors


class _Reader:
    """One reading of a file, line by line."""

    def __init__(self, file: str) -> None:
        self.sections: list[Section] = []
        self.errors: list[ConfigError] = []
        self._file = file
        self._indent = 0
        self._section: Section | None = None
        self._option: tuple[str, int] | None = None
        self._value: list[str] | None = None

    def take(self, number: int, line: str) -> None:
        """Read the next line."""
        bare = line.strip()
        if not bare or bare[0] in "#;":
            return
        indent = len(line) - len(line.lstrip())
        if self._value is not None and indent > self._indent:
            self._value.append(bare)
            return
        self.end_option()
        self._indent = indent
        if header := _HEADER.match(bare):
            self._begin(number, header[1])
        elif self._section is None:
            self._add(number, None, "it stands before the first section", "begin with [NAME]")
        else:
            self._begin_option(number, bare)

    def end_option(self) -> None:
        """Note the option that was being read."""
        if self._option is None or self._section is None:
            return
        (name, line), section = self._option, self._section
        value = None if self._value is None else "\n".join(self._value).strip()
        self._option = self._value = None
        first = next((o for o in section.options if o.name.lower() == name.lower()), None)
        if first is None:
            section.options.append(Option(name, value, line))
        else:
            text = f"it is given twice, first on line {first.line}"
            self._add(line, f"[{section.name}] {name}", text, "take one of them out")

    def _begin(self, number: int, name: str) -> None:
        found = next((each for each in self.sections if each.name == name), None)
        if found is None:
            self._section = Section(name, number)
            self.sections.append(self._section)
            return
        self._section = found
        if name != "DEFAULT":
            text = f"this section is given twice, first on line {found.line}"
            self._add(number, f"[{name}]", text, "give them different names")

    def _begin_option(self, number: int, line: str) -> None:
        match = _OPTION.fullmatch(line)
        if match is None or not match["name"]:
            self._add(number, None, f"{line!r} is no option", "KEY = VALUE")
            return
        self._option = (match["name"], number)
        self._value = None if match["value"] is None else [match["value"]]

    def _add(self, line: int, key: str | None, text: str, hint: str) -> None:
        self.errors.append(ConfigError(text, file=self._file, line=line, key=key, hint=hint))
