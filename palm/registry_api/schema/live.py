"""The live feed: frames of what one asks to watch."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from palm.registry_api.schema.base import Value
from palm.registry_api.schema.clusters import ClusterStatus
from palm.registry_api.schema.events import Event
from palm.registry_api.schema.metrics import ClusterMetrics
from palm.registry_api.schema.output import OutputRecord

__all__ = ["Frame", "Skipped", "TOPICS", "Topic", "USUAL_TOPICS", "read_frame"]

Topic = Literal["status", "metrics", "events", "output", "skipped"]
#: What one may ask for; "skipped" comes by itself.
TOPICS: tuple[Topic, ...] = ("status", "metrics", "events", "output")
#: What one gets who does not say: samples would be sent even if nothing happens.
USUAL_TOPICS: tuple[Topic, ...] = ("status", "events", "output")


class Skipped(Value):
    """Data of a frame "skipped": what was left out.

    Either the reader was too far behind ("backlog"), or it came too late: what it would have read
    was "dropped" for its age or for want of room, and nobody knows how much that was.
    """

    topic: Topic
    count: int
    size: int = 0
    reason: Literal["backlog", "dropped"] = "backlog"


class Frame(Value):
    """One frame of the live feed; ``since=cursor`` goes on after it.

    ``data`` is a ClusterStatus, a ClusterMetrics, an Event, a list of OutputRecord or a Skipped.
    """

    topic: Topic
    cursor: str
    data: Any


_FRAME_DATA: dict[str, Any] = {
    "status": ClusterStatus,
    "metrics": ClusterMetrics,
    "events": Event,
    "output": list[OutputRecord],
    "skipped": Skipped,
}


def read_frame(text: str | bytes) -> Frame:
    """Return a frame of the live feed, its data of the type that its topic says.

    Raises
    ------
    msgspec.DecodeError
        The text is not a frame.
    """
    frame = msgspec.json.decode(text, type=Frame)
    frame.data = msgspec.convert(frame.data, _FRAME_DATA[frame.topic])
    return frame
