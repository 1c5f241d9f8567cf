"""The messages of palm's protocol: one header frame each, some followed by a batch.

On the wire a message is (the batch only where the message is marked *)::

    [routing id] | header | lengths | body | large payload ...

``header`` is a MessagePack array that begins with the message's tag. The routing id exists only
at a listener. One protocol serves every pair of roles:

======== ===================== =====================================================
message  direction             meaning
======== ===================== =====================================================
hello    connector -> listener who I am, what I serve, what I still hold
welcome  listener -> connector your link, my epoch, which of your leases still count
reset    listener -> connector I don't know this link: greet me again
submit*  client -> master      messages of one job, in order
outcome* master -> client      what became of a range of messages
ack      client -> master      outcomes up to this serial number are safe with me
close    client -> master      I want nothing more of this job
notice   master -> client      a sentence for the person who waits
task*    master -> worker      a lease: run these messages
result*  worker -> master      what became of a range of a lease
recall   master -> worker      give back what you have not begun
returned worker -> master      leases given back, not begun
revoke   master -> worker      nobody wants these leases any more
keep*    any -> master         set a value in the cache
fetch    any -> master         read (or delete) a value of the cache
kept*    master -> any         the answer to keep and fetch
bye      any                   I leave on purpose
fault    any                   your last message broke the protocol
======== ===================== =====================================================

Every message after the greeting carries the ``link`` that WELCOME gave, so that frames of an
earlier connection are known for what they are.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from palm.errors import WireError

__all__ = [
    "VERSION",
    "Ack",
    "Bye",
    "Close",
    "Fault",
    "Fetch",
    "Hello",
    "Keep",
    "Kept",
    "Message",
    "Notice",
    "Outcome",
    "Recall",
    "Reset",
    "Result",
    "Returned",
    "Revoke",
    "Submit",
    "Task",
    "Terms",
    "Welcome",
    "decode",
    "encode",
]

#: Version of the protocol; a listener refuses others with a fault that names both.
VERSION: Final = 1

#: Largest header accepted, bytes: a batch of 1,024 messages needs about 6 KiB.
MAX_HEADER: Final = 256 * 1024

#: Longest name of a function and longest key, characters: a header has room for some of them.
MAX_TEXT: Final = 16 * 1024

#: Most classes that `Terms.retry_on` names, and the longest name of one, characters.
MAX_CLASSES: Final = 32
MAX_CLASS: Final = 512

#: Longest identifier of a session, a job or an epoch, bytes.
MAX_ID: Final = 64

# What one message may carry on to the next is bounded, so that the next has room for it: nobody
# can be made to send a header that its receiver refuses.
_Id = Annotated[bytes, msgspec.Meta(max_length=MAX_ID)]
_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Class = Annotated[str, msgspec.Meta(max_length=MAX_CLASS)]
_Classes = Annotated[list[_Class], msgspec.Meta(max_length=MAX_CLASSES)]


class Message(msgspec.Struct, array_like=True):
    """Base of every message; ``link`` is 0 only before WELCOME."""

    link: int


class Hello(Message, tag="hello"):
    """``server`` is the name by which the connector knows the listener.

    ``holds`` are leases of the listener's life ``epoch``: the next one numbers its own anew.
    """

    version: int
    role: str
    name: str
    session: _Id
    server: _Text
    functions: list[_Text]
    holds: list[int]
    epoch: _Id = b""


class Welcome(Message, tag="welcome"):
    """``keep`` are those of the connector's leases that still count in this ``epoch``.

    ``birth`` is the first link of the connector's session: another one than before means that
    the listener had forgotten the session and what it held.
    """

    version: int
    epoch: _Id
    name: str
    endpoints: dict[str, str]
    keep: list[int]
    birth: int = 0


class Reset(Message, tag="reset"):
    """``link`` is the one that was not known."""


class Terms(msgspec.Struct, array_like=True):
    """How a job wants its messages treated; jobs that want nothing special have none.

    ``timeout`` is the time that one call may take, ``deadline`` what the job may take (seconds,
    0: any) and ``remaining`` what is left of that when this is sent. ``retries`` counts the
    further tries of a message whose function raised one of ``retry_on`` (names of classes; none:
    anything).
    """

    timeout: float = 0.0
    deadline: float = 0.0
    remaining: float = 0.0
    retries: int = 0
    retry_on: _Classes = []
    priority: int = 0
    at_most_once: bool = False


class Submit(Message, tag="submit"):
    """Messages ``first .. first+n-1`` of a job; ``last`` says that no more will come.

    ``terms`` are the same each time, but for what remains. ``partitions`` has a byte for each
    message, or none at all: the messages of one are dispatched one after the other. Messages
    that ``may_have_begun`` were given to a master that may have leased them and does not know
    them any more.
    """

    job: _Id
    first: int
    n: int
    function: _Text
    codec: int
    last: bool
    terms: Terms | None = None
    partitions: bytes = b""
    may_have_begun: bool = False


class Outcome(Message, tag="outcome"):
    """``serial`` counts the outcomes of a session; for the other fields see `Result`."""

    serial: int
    job: _Id
    first: int
    n: int
    attempt: int
    codec: int
    worker: str
    started: float
    durations: bytes
    kinds: bytes


class Ack(Message, tag="ack"):
    """Cumulative."""

    serial: int


class Close(Message, tag="close"):
    """What is queued of the job is dropped, what runs is revoked.

    An empty ``job`` means all those of which nothing was submitted over this link.
    """

    job: _Id


class Notice(Message, tag="notice"):
    """``text`` is one sentence; ``job`` may be empty."""

    job: _Id
    text: str


class Task(Message, tag="task"):
    """``attempt`` counts the starts of these messages, this one included.

    ``timeout`` is the time that the call for one of them may take (seconds, 0: any).
    """

    lease: int
    session: _Id
    job: _Id
    first: int
    n: int
    attempt: int
    function: _Text
    codec: int
    timeout: float = 0.0


class Result(Message, tag="result"):
    """Outcomes of messages ``first .. first+n-1``, a range of a lease, in order.

    ``started`` is the wall time (seconds, UTC) at which the first of them began, ``durations``
    one little-endian float32 (seconds) each, ``kinds`` one byte each (`palm.wire.outcome`) or
    empty when all are results.
    """

    lease: int
    session: _Id
    job: _Id
    first: int
    n: int
    attempt: int
    codec: int
    started: float
    durations: bytes
    kinds: bytes


class Recall(Message, tag="recall"):
    """Leases that an idle worker could run at once."""

    leases: list[int]


class Returned(Message, tag="returned"):
    """Leases given back; not one of their messages was begun."""

    leases: list[int]


class Revoke(Message, tag="revoke"):
    """Leases whose job was closed."""

    leases: list[int]


class Keep(Message, tag="keep"):
    """``op`` numbers the operations of a session: a repeat gets the first answer."""

    op: int
    key: _Text
    codec: int


class Fetch(Message, tag="fetch"):
    """With ``delete`` the value is removed and only its existence reported."""

    op: int
    key: _Text
    delete: bool


class Kept(Message, tag="kept"):
    """``found`` says whether the key was there; the value follows where one was asked for.

    Where ``kinds`` is not empty the operation failed: it is one byte, as in `Result`, and the
    failure follows in place of a value.
    """

    op: int
    key: _Text
    found: bool
    codec: int
    kinds: bytes = b""


class Bye(Message, tag="bye"):
    """Leases that were not begun go back without blame.

    ``begun`` are those of which a message was begun and has no answer; None: not said.
    """

    reason: str
    begun: list[int] | None = None


class Fault(Message, tag="fault"):
    """``code`` is one word for programs, ``text`` a sentence for people."""

    code: str
    text: str


_AnyMessage = (
    Hello
    | Welcome
    | Reset
    | Submit
    | Outcome
    | Ack
    | Close
    | Notice
    | Task
    | Result
    | Recall
    | Returned
    | Revoke
    | Keep
    | Fetch
    | Kept
    | Bye
    | Fault
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_AnyMessage)


def encode(message: Message) -> bytes:
    """Return the header frame of ``message``."""
    return _encoder.encode(message)


def decode(header: bytes | memoryview) -> Message:
    """Return the message of a header frame.

    Raises
    ------
    WireError
        The frame is too long or is not a header.
    """
    if len(header) > MAX_HEADER:
        raise WireError(f"a header of {len(header)} bytes, more than {MAX_HEADER}")
    try:
        message: Message = _decoder.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a header: {error}") from error
    return message
