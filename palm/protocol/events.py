"""What can happen to a machine.

``peer`` is the routing id that the transport gave to a connection; connectors have one peer, b"".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from palm.protocol.cache import check_key
from palm.wire.batch import Batch
from palm.wire.message import Message, Terms

__all__ = [
    "Cancelled",
    "Completed",
    "Connected",
    "Disconnected",
    "Event",
    "Garbled",
    "LookedUp",
    "Opened",
    "PeerLost",
    "Received",
    "Refused",
    "StopRequested",
    "Submitted",
    "Tick",
    "Wanted",
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


class Disconnected(msgspec.Struct):
    """A connector's connection broke; the transport goes on trying."""


class Refused(msgspec.Struct):
    """The listener refused our key, or its key is not the one we know."""

    reason: str


class LookedUp(msgspec.Struct):
    """What a look-up of the server's name found: who runs, when nobody of that name does."""

    found: bool
    known: tuple[str, ...] = ()


class Tick(msgspec.Struct):
    """Time has passed."""


class StopRequested(msgspec.Struct):
    """Stop taking work, finish or return what is held within ``grace`` seconds."""

    grace: float


class Submitted(msgspec.Struct):
    """A client's caller hands over messages ``first .. first+batch.n-1`` of a job.

    ``partitions`` has a byte for each message of a job with keys; see `Submit`.
    """

    job: bytes
    first: int
    batch: Batch
    function: str
    codec: int
    last: bool
    terms: Terms | None = None
    partitions: bytes = b""


class Opened(msgspec.Struct):
    """A client's caller begins a job whose time is limited from now on."""

    job: bytes
    function: str
    terms: Terms


class Cancelled(msgspec.Struct):
    """A client's caller wants nothing more of a job."""

    job: bytes


class Wanted(msgspec.Struct):
    """Somebody wants a cache operation done; a `Reply` with ``reply`` follows, once.

    ``batch`` holds the value to keep; without it ``key`` is fetched, or deleted.
    """

    key: str
    reply: Callable[..., Any]
    codec: int = 0
    batch: Batch | None = None
    delete: bool = False

    def __post_init__(self) -> None:
        """Refuse a bad key where it is used: in a machine it would be nobody's."""
        check_key(self.key)


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
    | LookedUp
    | Tick
    | StopRequested
    | Submitted
    | Opened
    | Cancelled
    | Wanted
    | Completed
)
