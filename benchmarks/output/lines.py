"""The lines that are written, and how those who read them see that none is missing."""

from __future__ import annotations

from collections import defaultdict

__all__ = ["LINE", "LINES", "Ledger", "batch"]

#: Lines of a batch, and bytes of a line: a time, a name, a level and a few words.
LINES, LINE = 1000, 64


def batch(number: int, first: int) -> bytes:
    """Return a batch of lines of one writer, each with its own number."""
    head = f"2026-11-28 12:00:00,000 - writer-{number} - INFO - message "
    return b"".join(
        f"{head}{at:0{LINE - 1 - len(head)}d}\n".encode() for at in range(first, first + LINES)
    )


class Ledger:
    """How far somebody has read each stream; any gap or double is an error."""

    def __init__(self) -> None:
        self.ends: dict[tuple[str, str], int] = defaultdict(int)
        self.bytes = 0

    def take(self, instance: str, stream: str, offset: int, size: int) -> None:
        """Take a piece."""
        key = (instance, stream)
        if self.ends[key] != offset:
            raise ValueError(f"{key}: {offset} follows {self.ends[key]}")
        self.ends[key] = offset + size
        self.bytes += size
