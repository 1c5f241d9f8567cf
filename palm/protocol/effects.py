"""What a machine wants done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from palm.errors import PalmError
from palm.protocol.entries import Entry, Joined
from palm.wire.batch import Batch
from palm.wire.message import Answer, Message, Outcome, Task

__all__ = [
    "Accepted",
    "Answered",
    "DeadLetter",
    "Deliver",
    "Effect",
    "Expired",
    "Fail",
    "ForgetJoined",
    "Invoke",
    "KeepJoined",
    "LoadInputs",
    "LoadOutcomes",
    "Log",
    "Note",
    "Probe",
    "Ready",
    "Reconnect",
    "Remember",
    "Reply",
    "Send",
    "Stopped",
    "Write",
]


class Send(msgspec.Struct):
    """Send a message and its batch to a peer; a peer that is gone is no error."""

    peer: bytes
    message: Message
    batch: Batch | None = None


class Probe(msgspec.Struct):
    """Find out whether a peer is still there; `PeerLost` follows if not."""

    peer: bytes


class Reconnect(msgspec.Struct):
    """Look the server's name up again and connect to what is found; `LookedUp` follows."""

    peer: bytes = b""


class Invoke(msgspec.Struct):
    """Run messages ``start .. stop-1`` of a lease's batch, or fewer; `Completed` follows.

    The machine lowers ``stop`` while they run when nobody wants the rest any more.
    """

    task: Task
    batch: Batch
    start: int
    stop: int


class Deliver(msgspec.Struct):
    """Outcomes for a client's caller: each message of a job is delivered once.

    ``inputs`` are those of the messages when some of them failed: (first, codec, batch).
    """

    job: bytes
    outcome: Outcome
    batch: Batch
    inputs: list[tuple[int, int, Batch]] = []


class Expired(msgspec.Struct):
    """The time of ``job`` is over; what is submitted from now on has its outcome at once."""

    job: bytes


class DeadLetter(msgspec.Struct):
    """Keep a message that ended every worker that ran it: ``index`` of ``job`` of a client."""

    function: str
    job: bytes
    index: int
    attempts: int
    codec: int
    batch: Batch
    client: str
    text: str


class Write(msgspec.Struct):
    """Write an entry into the journal; `Written` follows, in the order of the tickets.

    With ``sync`` that is when the disk has it, else when the end of this process cannot undo it.
    """

    ticket: int
    entry: Entry
    sync: bool


class LoadInputs(msgspec.Struct):
    """Read some messages of a job back, from ``first`` on; `InputsLoaded` follows."""

    job: bytes
    first: int


class LoadOutcomes(msgspec.Struct):
    """Read some outcomes of a job back, from ``position`` on; `OutcomesLoaded` follows."""

    job: bytes
    position: int


class Accepted(msgspec.Struct):
    """Messages before ``upto`` of a job are in the master's journal; ``closed``: that is all."""

    job: bytes
    upto: int
    closed: bool = False


class Answered(msgspec.Struct):
    """The answer to a question, or the ``error`` that it ended with."""

    call: Callable[[Answer | None, PalmError | None], None]
    answer: Answer | None
    error: PalmError | None = None


class Fail(msgspec.Struct):
    """No message of ``job`` will have another outcome, because of ``error``.

    Machines name the job; None stands for all there is, when nothing is left that could answer.
    """

    job: bytes | None
    error: PalmError


class Note(msgspec.Struct):
    """A sentence for the person who waits for ``job`` (None: for anything)."""

    job: bytes | None
    text: str


class Reply(msgspec.Struct):
    """The answer to a cache operation, or the ``error`` that it ended with.

    For ``count`` see `palm.wire.message.Kept`.
    """

    call: Callable[..., Any]
    found: bool
    key: str
    codec: int
    batch: Batch | None
    error: PalmError | None = None
    count: int = 0


class Ready(msgspec.Struct):
    """The link stands: ``name`` is the server's own name, ``endpoints`` where it listens."""

    name: str
    endpoints: dict[str, str]
    peer: bytes = b""


class Remember(msgspec.Struct):
    """Keep the names and topics of the stages that subscribe, for the next start to expect them."""

    stages: list[tuple[str, list[str]]]


class KeepJoined(msgspec.Struct):
    """Keep what was joined, beyond the end of this process, before anything else is done."""

    joined: Joined


class ForgetJoined(msgspec.Struct):
    """Nobody will ask for what was joined under this ``id``."""

    id: int


class Log(msgspec.Struct):
    """A line for the component's log; ``level`` as in `logging`."""

    level: int
    text: str


class Stopped(msgspec.Struct):
    """The machine is done; ``error`` says why if it was not asked to stop."""

    error: PalmError | None = None


Effect = (
    Accepted
    | Answered
    | LoadInputs
    | LoadOutcomes
    | Write
    | Send
    | Probe
    | Reconnect
    | Invoke
    | DeadLetter
    | Deliver
    | Expired
    | Fail
    | Note
    | Reply
    | Ready
    | Remember
    | KeepJoined
    | ForgetJoined
    | Log
    | Stopped
)
