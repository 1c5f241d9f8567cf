"""What can happen to a machine.

``peer`` is the routing id that the transport gave to a connection; who connects to one server has
one peer, b"".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from palm.errors import PalmError
from palm.protocol.cache import Operation, check_key, name_of
from palm.protocol.entries import Inputs, Outcomes
from palm.wire.batch import Batch
from palm.wire.message import Answer, Message, Route, Terms

__all__ = [
    "Asked",
    "Cancelled",
    "Completed",
    "Connected",
    "Disconnected",
    "Event",
    "Garbled",
    "InputsLoaded",
    "JournalFailed",
    "LookedUp",
    "Opened",
    "OutcomesLoaded",
    "PeerLost",
    "Received",
    "Refused",
    "Resumed",
    "RoomMade",
    "StopRequested",
    "Submitted",
    "Tick",
    "TurnedAway",
    "Wanted",
    "Written",
]


class Received(msgspec.Struct):
    """A message, with its batch where its kind has one.

    ``roles`` are those that the peer's key may claim, ``local`` says whether it is on this host.
    """

    peer: bytes
    message: Message
    batch: Batch | None = None
    roles: frozenset[str] = frozenset()
    local: bool = True


class Garbled(msgspec.Struct):
    """Frames that are no message."""

    peer: bytes
    reason: str


class PeerLost(msgspec.Struct):
    """The connection of a listener's peer is gone for good."""

    peer: bytes


class Connected(msgspec.Struct):
    """A connector's connection stands, handshake included: greet."""

    peer: bytes = b""


class Disconnected(msgspec.Struct):
    """A connector's connection broke; the transport goes on trying."""

    peer: bytes = b""


class Refused(msgspec.Struct):
    """The listener refused our key, or its key is not the one we know."""

    reason: str
    peer: bytes = b""


class TurnedAway(msgspec.Struct):
    """The listener has no room for us, for a ``reason``; the transport tries again."""

    reason: str
    peer: bytes = b""


class LookedUp(msgspec.Struct):
    """What a look-up of the server's name found: who runs, when nobody of that name does."""

    found: bool
    known: tuple[str, ...] = ()
    peer: bytes = b""


class Tick(msgspec.Struct):
    """Time has passed."""


class StopRequested(msgspec.Struct):
    """Stop taking work, finish or return what is held within ``grace`` seconds."""

    grace: float


class Submitted(msgspec.Struct):
    """A client's caller hands over messages ``first .. first+batch.n-1`` of a job.

    ``partitions`` has a byte for each message of a job with keys, ``kinds`` one for each that
    could not be packed; see `Submit`.
    """

    job: bytes
    first: int
    batch: Batch
    function: str
    codec: int
    last: bool
    terms: Terms | None = None
    partitions: bytes = b""
    kinds: bytes = b""
    route: Route | None = None


class Opened(msgspec.Struct):
    """A client's caller begins a job whose time is limited from now on."""

    job: bytes
    function: str
    terms: Terms


class Resumed(msgspec.Struct):
    """A client's caller wants the outcomes of a job that is in the master's journal.

    Of its messages ``accepted`` are there; with ``closed`` no more will come. It asked to take
    the job before; ``remaining`` is what is left of its deadline then (seconds).
    """

    job: bytes
    function: str
    terms: Terms
    accepted: int
    closed: bool
    remaining: float = 0.0


class RoomMade(msgspec.Struct):
    """A client's caller has room for more than the outcomes before ``position`` of a job."""

    job: bytes
    position: int


class Asked(msgspec.Struct):
    """A client's caller has a question; `Answered` with ``call`` follows, once.

    See `palm.wire.message.Ask`.
    """

    call: Callable[[Answer | None, PalmError | None], None]
    workers: int = 0
    job: bytes = b""
    take: bool = False


class Written(msgspec.Struct):
    """All that was to be written up to this ticket is in the journal, which has ``size`` bytes."""

    ticket: int
    size: int = 0


class InputsLoaded(msgspec.Struct):
    """Messages of a job, read back, in order."""

    job: bytes
    entries: list[Inputs]


class OutcomesLoaded(msgspec.Struct):
    """Outcomes of a job, read back, in the order of their positions."""

    job: bytes
    entries: list[Outcomes]


class JournalFailed(msgspec.Struct):
    """The journal cannot be written for now; it is tried again."""

    text: str


class Cancelled(msgspec.Struct):
    """A client's caller wants nothing more of a job, nor of what the journal has of it."""

    job: bytes
    journaled: bool = False


class Wanted(msgspec.Struct):
    """Somebody wants a cache operation done; a `Reply` with ``reply`` follows, once.

    The link and the number of the ``request`` are the machine's to set; ``batch`` holds what
    belongs to it.
    """

    request: Operation
    reply: Callable[..., Any]
    batch: Batch | None = None

    def __post_init__(self) -> None:
        """Refuse a bad key where it is used: in a machine it would be nobody's."""
        check_key(name_of(self.request))


class Completed(msgspec.Struct):
    """A worker ran the next ``n`` messages of a lease; see `palm.wire.message.Result`.

    Unless it is ``over``, the run goes on: another event of this kind will follow.
    """

    lease: int
    n: int
    codec: int
    batch: Batch
    started: float
    durations: bytes
    kinds: bytes
    over: bool = True


Event = (
    Received
    | Garbled
    | PeerLost
    | Connected
    | Disconnected
    | Refused
    | TurnedAway
    | LookedUp
    | Tick
    | StopRequested
    | Submitted
    | Opened
    | Resumed
    | RoomMade
    | Asked
    | Cancelled
    | Wanted
    | Completed
    | Written
    | InputsLoaded
    | OutcomesLoaded
    | JournalFailed
)
