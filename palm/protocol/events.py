"""What can happen to a machine.

``peer`` is the routing id that the transport gave to a connection; connectors have one peer, b"".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from palm.wire.batch import Batch
from palm.wire.message import Message

__all__ = [
    "Cancelled",
    "Completed",
    "Connected",
    "Disconnected",
    "Event",
    "Garbled",
    "LookedUp",
    "PeerLost",
    "Received",
    "Refused",
    "StopRequested",
    "Submitted",
    "Tick",
    "Wanted",
]


@dataclass(slots=True)
class Received:
    """A message, with its batch where its kind has one.

    ``roles`` are those that the peer's key may claim, ``local`` says whether it is on this host.
    """

    peer: bytes
    message: Message
    batch: Batch | None = None
    roles: frozenset[str] = frozenset()
    local: bool = True


@dataclass(slots=True)
class Garbled:
    """Frames that are no message."""

    peer: bytes
    reason: str


@dataclass(slots=True)
class PeerLost:
    """The connection of a listener's peer is gone for good."""

    peer: bytes


@dataclass(slots=True)
class Connected:
    """A connector's connection stands, handshake included: greet."""


@dataclass(slots=True)
class Disconnected:
    """A connector's connection broke; the transport goes on trying."""


@dataclass(slots=True)
class Refused:
    """The listener refused our key, or its key is not the one we know."""

    reason: str


@dataclass(slots=True)
class LookedUp:
    """What a look-up of the server's name found: who runs, when nobody of that name does."""

    found: bool
    known: tuple[str, ...] = ()


@dataclass(slots=True)
class Tick:
    """Time has passed."""


@dataclass(slots=True)
class StopRequested:
    """Stop taking work, finish or return what is held within ``grace`` seconds."""

    grace: float


@dataclass(slots=True)
class Submitted:
    """A client's caller hands over messages ``first .. first+batch.n-1`` of a job."""

    job: bytes
    first: int
    batch: Batch
    function: str
    codec: int
    last: bool


@dataclass(slots=True)
class Cancelled:
    """A client's caller wants nothing more of a job."""

    job: bytes


@dataclass(slots=True)
class Wanted:
    """Somebody wants a cache operation done; ``reply(found, key, codec, batch)`` is called once.

    ``batch`` holds the value to keep; without it ``key`` is fetched, or deleted.
    """

    key: str
    reply: Callable[..., Any]
    codec: int = 0
    batch: Batch | None = None
    delete: bool = False


@dataclass(slots=True)
class Completed:
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
    | Cancelled
    | Wanted
    | Completed
)
