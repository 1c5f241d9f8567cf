"""What a machine wants done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from palm.errors import PalmError
from palm.wire.batch import Batch
from palm.wire.message import Message, Outcome, Task

__all__ = [
    "Deliver",
    "Effect",
    "Fail",
    "Invoke",
    "Log",
    "Note",
    "Probe",
    "Ready",
    "Reconnect",
    "Reply",
    "Send",
    "Stopped",
]


@dataclass(slots=True)
class Send:
    """Send a message and its batch to a peer; a peer that is gone is no error."""

    peer: bytes
    message: Message
    batch: Batch | None = None


@dataclass(slots=True)
class Probe:
    """Find out whether a peer is still there; `PeerLost` follows if not."""

    peer: bytes


@dataclass(slots=True)
class Reconnect:
    """Look the server's name up again and connect to what is found; `LookedUp` follows."""


@dataclass(slots=True)
class Invoke:
    """Run messages ``start .. stop-1`` of a lease's batch, or fewer; `Completed` follows.

    The machine lowers ``stop`` while they run when nobody wants the rest any more.
    """

    task: Task
    batch: Batch
    start: int
    stop: int


@dataclass(slots=True)
class Deliver:
    """Outcomes for a client's caller: each message of a job is delivered once.

    ``inputs`` are those of the messages when some of them failed: (first, codec, batch).
    """

    job: bytes
    outcome: Outcome
    batch: Batch
    inputs: list[tuple[int, int, Batch]] = field(default_factory=list)


@dataclass(slots=True)
class Fail:
    """No message of ``job`` (None: of any job) will have another outcome, because of ``error``."""

    job: bytes | None
    error: PalmError


@dataclass(slots=True)
class Note:
    """A sentence for the person who waits for ``job`` (None: for anything)."""

    job: bytes | None
    text: str


@dataclass(slots=True)
class Reply:
    """The answer to a cache operation."""

    call: Callable[..., Any]
    found: bool
    key: str
    codec: int
    batch: Batch | None


@dataclass(slots=True)
class Ready:
    """The link stands: ``name`` is the server's own name, ``endpoints`` where it listens."""

    name: str
    endpoints: dict[str, str]


@dataclass(slots=True)
class Log:
    """A line for the component's log; ``level`` as in `logging`."""

    level: int
    text: str


@dataclass(slots=True)
class Stopped:
    """The machine is done; ``error`` says why if it was not asked to stop."""

    error: PalmError | None = None


Effect = Send | Probe | Reconnect | Invoke | Deliver | Fail | Note | Reply | Ready | Log | Stopped
