"""Cursors: how far somebody has read."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Cursor", "Place"]

_CURSOR = re.compile(r"e(\d{1,18})\.o(\d{1,18})\.([0-9a-f]{1,32})")
_PLACE = re.compile(r"b(\d{1,18})\.(\d{1,19})\.([0-9a-f]{1,32})")


@dataclass(frozen=True)
class Cursor:
    """How far somebody has read; it is good for one database only. Opaque outside."""

    event: int
    output: int
    database: str

    def __str__(self) -> str:
        return f"e{self.event}.o{self.output}.{self.database}"

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Read a cursor, None if it is none."""
        match = _CURSOR.fullmatch(text)
        return cls(int(match[1]), int(match[2]), match[3]) if match else None


@dataclass(frozen=True, order=True)
class Place:
    """Where a line is, for those who read backwards: its last segment, and its offset there."""

    segment: int
    offset: int
    database: str

    def __str__(self) -> str:
        return f"b{self.segment}.{self.offset}.{self.database}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """Read a place, None if it is none."""
        match = _PLACE.fullmatch(text)
        return cls(int(match[1]), int(match[2]), match[3]) if match else None
