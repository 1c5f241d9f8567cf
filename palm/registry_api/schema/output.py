"""What components write, as it is sent, stored and read."""

from __future__ import annotations

from typing import Literal

import msgspec

from palm.registry_api.schema.base import Value

__all__ = ["OutputAck", "OutputPage", "OutputPiece", "OutputRecord", "Stream"]

Stream = Literal["stdout", "stderr"]


class OutputPiece(Value):
    """Part of what an instance wrote; ``offset`` counts bytes from the start of its stream.

    A *gap record* has no bytes: ``lost`` says how many were written there and are nowhere any more,
    ``reason`` why ("quota", "disk", "freed"), and ``time`` since when.
    """

    instance: str
    stream: Stream
    offset: int
    data: bytes = msgspec.field(name="bytes")
    time: float = 0.0
    component: str = ""
    replica: int = 0
    name: str = ""
    lost: int = 0
    reason: str = ""


class OutputAck(Value):
    """All bytes of the stream below ``durable_offset`` are stored: go on from there."""

    instance: str
    stream: Stream
    durable_offset: int


class OutputRecord(Value):
    """A stored piece: ``text`` if it is UTF-8 by itself, else its ``bytes`` (field ``data``).

    A character may be cut in two by the end of a piece, so who shows output decodes the `raw`
    bytes of a stream one after another, and takes `palm.spec.text.printable` of the result.

    A *gap record* stands for ``lost`` bytes that nobody has any more, for a ``reason``; its
    ``text`` says so, as a line of its own.
    """

    component: str
    replica: int
    name: str
    instance: str
    stream: Stream
    offset: int
    time: float
    cursor: str
    text: str | None = None
    data: bytes | None = msgspec.field(name="bytes", default=None)
    lost: int = 0
    reason: str = ""

    @property
    def raw(self) -> bytes:
        """What the component wrote; nothing of what is lost."""
        if self.lost:
            return b""
        return self.data if self.data is not None else (self.text or "").encode()

    @property
    def end(self) -> int:
        """The offset of what the component wrote next."""
        return self.offset + self.lost + len(self.raw)


class OutputPage(Value):
    """Records in the order they were stored; ``more``: ask again from ``cursor``.

    Of lines, which are looked for backwards: ``more`` are before the place ``first``. ``dropped``:
    some output after the cursor that was given is gone, for its age or for want of room.
    """

    records: list[OutputRecord]
    cursor: str
    more: bool = False
    first: str = ""
    dropped: bool = False
