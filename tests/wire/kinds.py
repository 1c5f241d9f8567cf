"""Types whose values the tests send."""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Colour(enum.Enum):
    RED = "red"
    GREEN = (0, 1)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Name(enum.StrEnum):
    FOO = "foo"


class Point(NamedTuple):
    x: Any
    y: Any = 0


@dataclass
class Reading:
    """Has a dict and a default that is made anew."""

    value: Any
    tags: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Has slots instead of a dict, and can be a key."""

    value: Any


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Raw(bytes):
    pass


class Row(list):  # type: ignore[type-arg]
    """A list with an attribute."""

    note = ""


class Table(dict):  # type: ignore[type-arg]
    pass


class Complaint(ValueError):  # noqa: N818 - a word a user might choose
    """An error whose constructor wants more than its text."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(what, code)
        self.code = code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Complaint) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)


SUBCLASSES = (Text, Whole, Real, Raw, Row, Table, OrderedDict)
