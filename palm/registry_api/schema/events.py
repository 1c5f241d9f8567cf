"""Events: what happened in a cluster, in order."""

from __future__ import annotations

from typing import Any

from palm.registry_api.schema.base import Value

__all__ = ["Event", "EventPage"]


class Event(Value):
    """Something that happened: ``kind`` is "component.ready", "node.lost", ..."""

    seq: int
    time: float
    kind: str
    text: str = ""
    component: str = ""
    replica: int | None = None
    node: str = ""
    data: dict[str, Any] = {}


class EventPage(Value):
    """Events in the order they happened; ``since=cursor`` goes on after them.

    Of the ``latest`` ones, which are looked for backwards: ``more`` are before the first of them.
    """

    events: list[Event]
    cursor: str
    more: bool = False
