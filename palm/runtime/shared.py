"""The values that a master keeps, from the side of those who use them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from palm.errors import PalmError, PayloadTooLarge
from palm.protocol.cache import Operation
from palm.protocol.effects import Reply
from palm.protocol.events import Event, Wanted
from palm.wire.batch import MAX_PAYLOAD, Batch, Buffer
from palm.wire.codec import decode_value, encode_value
from palm.wire.message import Fetch, Keep

__all__ = ["SharedValues", "encoded", "value_of"]


class _Answer:
    """Takes the reply of one operation to the thread that waits for it."""

    __slots__ = ("done", "error", "reply")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: PalmError | None = None
        self.reply: Reply | None = None

    def __call__(self, reply: Reply) -> None:
        self.reply, self.error = reply, reply.error
        self.done.set()

    def fail(self, error: PalmError) -> None:
        self.error = error
        self.done.set()


class SharedValues:
    """`set`, `get`, `delete`; ``wait_for(event, done)`` lets an event happen and waits."""

    def __init__(self, wait_for: Callable[[Event, threading.Event], None]) -> None:
        self._wait_for = wait_for
        self._open: set[_Answer] = set()
        self._closed: PalmError | None = None

    def set(self, value: Any, key: str | None = None) -> str:
        """Keep a value; return its key, a new one if none is given."""
        key = uuid4().hex if key is None else key
        codec, payload = encoded(value)
        self.ask(Keep(0, 0, key, codec), Batch.pack([payload]))
        return key

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or ``default``."""
        return value_of(self.ask(Fetch(0, 0, key, delete=False)), default)

    def delete(self, key: str) -> bool:
        """Delete a key; return whether it was there."""
        return self.ask(Fetch(0, 0, key, delete=True)).found

    def close(self, error: PalmError) -> None:
        """Let all that wait fail, and all that will be asked: nobody answers any more."""
        self._closed = error  # in this order: see `ask`
        for answer in list(self._open):
            answer.fail(error)

    @staticmethod
    def perform(effect: Reply) -> None:
        """Hand a reply over."""
        effect.call(effect)

    def ask(self, request: Operation, batch: Batch | None = None) -> Reply:
        """Have an operation done and wait for the reply; raises its error."""
        answer = _Answer()
        self._open.add(answer)
        try:
            if self._closed is not None:  # looked at after the answer can be found by `close`
                raise self._closed
            self._wait_for(Wanted(request, answer, batch), answer.done)
        finally:
            self._open.discard(answer)
        if answer.error is not None:
            raise answer.error
        if answer.reply is None:
            raise PalmError("nobody answered")
        return answer.reply


def encoded(value: Any) -> tuple[int, Buffer]:
    """Return codec and payload of a value; raises `PayloadTooLarge` where no message has room."""
    codec, payload = encode_value(value)
    if len(payload) > MAX_PAYLOAD:  # the master would refuse it, each time it comes
        text = f"a value of {len(payload):,} bytes is more than the limit of {MAX_PAYLOAD:,}"
        raise PayloadTooLarge(text, limit=MAX_PAYLOAD)
    return codec, payload


def value_of(reply: Reply, default: Any = None) -> Any:
    """Return the value in a reply, or ``default``."""
    if not reply.found or reply.batch is None:
        return default
    return decode_value(reply.codec, reply.batch.payloads()[0])
