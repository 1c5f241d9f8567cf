"""Who may begin while others run: what must run alone waits for all, and all wait for it."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["Turns"]

_Who = TypeVar("_Who")


class Turns(Generic[_Who]):
    """The turns of those who share one fate: when one of them ends its process, all are lost.

    They begin in the order in which they ask.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[_Who, bool]] = deque()
        self._running: set[_Who] = set()
        self._alone = False

    def ask(self, who: _Who, *, alone: bool) -> list[_Who]:
        """Note that one wants to begin, ``alone`` or not; return who may begin now."""
        self._waiting.append((who, alone))
        return self._begin()

    def leave(self, who: _Who) -> list[_Who]:
        """Note that one runs no more, or does not want to; return who may begin now."""
        if who in self._running:
            self._running.remove(who)
            self._alone = False
        else:
            self._waiting = deque(pair for pair in self._waiting if pair[0] != who)
        return self._begin()

    def _begin(self) -> list[_Who]:
        begun = []
        while self._waiting and not self._alone:
            who, alone = self._waiting[0]
            if alone and self._running:
                break
            self._waiting.popleft()
            self._running.add(who)
            self._alone = alone
            begun.append(who)
        return begun
