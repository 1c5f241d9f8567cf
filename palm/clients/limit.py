"""After how many results a job ends, whatever was sent."""

from __future__ import annotations

from typing import Any

from palm.clients.outcomes import Chunk, Failed

__all__ = ["Limit"]


class Limit:
    """Counts results and failures of a job that ends after ``most`` of them.

    With ``ordered`` results some wait for others: all that there are decide about what else is
    needed, those that its caller may have about the end.
    """

    __slots__ = ("_found", "_in_turn", "_left", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._found = 0
        self._in_turn = 0
        self._left = most

    @property
    def is_reached(self) -> bool:
        """Whether its caller may have all there will be."""
        return self._in_turn >= self.most

    def found(self, chunk: Chunk) -> None:
        """Note that outcomes came."""
        self._found += chunk.count + chunk.failed

    def in_turn(self, chunk: Chunk) -> None:
        """Note that its caller may have outcomes."""
        self._in_turn += chunk.count + chunk.failed

    def needs(self, number: int, answered: int) -> bool:
        """Whether item ``number`` (from 0) is needed when so many messages were answered.

        As many items are as results may come; more are where some have none.
        """
        return number < self.most + max(0, answered - self._found)

    def take(self, segment: list[Any] | Failed) -> list[Any] | Failed | None:
        """Return what its caller may still have of a run of results, or of an error."""
        if not self._left:
            return None
        if not isinstance(segment, list):
            self._left -= 1
            return segment
        segment = segment[: self._left]
        self._left -= len(segment)
        return segment
