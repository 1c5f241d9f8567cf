"""What a master writes into its journal, entry by entry, and what it reads back at a start."""

from __future__ import annotations

import msgspec

from palm.wire.batch import Batch
from palm.wire.message import Outcome, Route, Terms

__all__ = [
    "Begun",
    "Entry",
    "Inputs",
    "JobBegun",
    "JobEnded",
    "Joined",
    "Outcomes",
    "Owned",
    "PartOf",
    "Recovered",
]


class JobBegun(msgspec.Struct):
    """A job of ``client`` (a name for people), whose session is its ``owner``.

    ``chain`` are the functions of all stages, as the client named them.
    """

    job: bytes
    function: str
    client: str
    terms: Terms
    owner: bytes = b""
    chain: str = ""
    route: Route | None = None


class Owned(msgspec.Struct):
    """Another session has the job from now on."""

    job: bytes
    owner: bytes


class Inputs(msgspec.Struct):
    """Messages from ``first`` on; see `palm.wire.message.Submit`. With ``last`` it may be none."""

    job: bytes
    first: int
    batch: Batch
    codec: int
    last: bool
    partitions: bytes = b""
    kinds: bytes = b""


class Begun(msgspec.Struct):
    """Of a job whose messages run at most once, those before ``upto`` may have begun."""

    job: bytes
    upto: int


class Outcomes(msgspec.Struct):
    """What became of a range of messages."""

    job: bytes
    outcome: Outcome
    batch: Batch


class JobEnded(msgspec.Struct):
    """Nobody wants a job any more: all of it may be forgotten, but that it has ended."""

    job: bytes


Entry = JobBegun | Owned | Inputs | Begun | Outcomes | JobEnded


class Recovered(msgspec.Struct):
    """What the journal has of a job when a master starts.

    ``accepted`` counts its messages, ``outcomes`` the entries with outcomes, ``done`` are the
    ranges that those cover, ``failed`` how many of them are no results; see `Begun` for
    ``begun``. ``age`` is the time since the job began (seconds). Of a job that has ``ended``
    nothing else is left.
    """

    job: bytes
    function: str
    client: str
    terms: Terms
    accepted: int
    closed: bool
    begun: int
    outcomes: int
    failed: int
    done: list[tuple[int, int]]
    age: float
    ended: bool = False
    owner: bytes = b""
    chain: str = ""
    route: Route | None = None


class PartOf(msgspec.Struct, array_like=True):
    """A message that was joined with others: ``number`` of ``job``, as stages know it."""

    job: bytes
    number: int


class Joined(msgspec.Struct, array_like=True):
    """Messages that were joined to ``whole``; the first of them carries what is made of it."""

    id: int
    parts: list[PartOf]
    whole: bytes
