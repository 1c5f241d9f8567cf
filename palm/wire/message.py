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
accept   master -> client      these messages of a job are in the journal
outcome* master -> client      what became of a range of messages
ack      client -> master      outcomes up to this serial number are safe with me
resume   client -> master      give me what the journal has of this job, from here on
taken    client -> master      I have room for more of what the journal has
gone     master -> client      this job is not yours, or not here
close    client -> master      I want nothing more of this job
release  stage -> next stage   these outcomes are safe with who gave us the messages
ask      client -> master      which jobs are in the journal? tell me when workers are here
answer   master -> client      the answer
notice   master -> client      a sentence for the person who waits
task*    master -> worker      a lease: run these messages
result*  worker -> master      what became of a range of a lease
recall   master -> worker      give back what you have not begun
returned worker -> master      leases given back, not begun
revoke   master -> worker      nobody wants these leases any more
keep*    any -> master         set a value in the cache
fetch    any -> master         read (or delete) a value of the cache
swap*    any -> master         set (or delete) a value, if it is the one that I expect
browse   any -> master         which keys are in the cache?
clear    any -> master         delete all keys that begin so
kept*    master -> any         the answer to keep, fetch, swap, browse and clear
watch    observer -> any       I have room for so many more of what you see
seen*    any -> observer       messages that passed, or some of them
bye      any                   I leave on purpose
fault    any                   your last message broke the protocol
======== ===================== =====================================================

A stage connects to the one before it, which then hands messages over as a client does: submit and
close go to the stage, outcome and notice come from it, and release stands in the place of ack.

Every message after the greeting carries the ``link`` that WELCOME gave, so that frames of an
earlier connection are known for what they are.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from palm.errors import WireError

__all__ = [
    "VERSION",
    "Accept",
    "Ack",
    "Answer",
    "Ask",
    "Browse",
    "Bye",
    "Clear",
    "Close",
    "Fault",
    "Fetch",
    "Gone",
    "Hello",
    "Journaled",
    "Keep",
    "Kept",
    "Message",
    "Notice",
    "Outcome",
    "Recall",
    "Release",
    "Reset",
    "Result",
    "Resume",
    "Returned",
    "Revoke",
    "Route",
    "Seen",
    "Submit",
    "Swap",
    "Taken",
    "Task",
    "Terms",
    "Watch",
    "Welcome",
    "decode",
    "encode",
]

#: Version of the protocol; a listener refuses others with a fault that names both.
VERSION: Final = 1

#: Largest header accepted, bytes: a batch of 4,096 messages needs about 24 KiB.
MAX_HEADER: Final = 256 * 1024

#: Longest name of a function and longest key, characters: a header has room for some of them.
MAX_TEXT: Final = 16 * 1024

#: Most classes that `Terms.retry_on` names, and the longest name of one, characters.
MAX_CLASSES: Final = 32
MAX_CLASS: Final = 512

#: Most topics that a stage subscribes to, and the longest name of one, characters.
MAX_TOPICS: Final = 64
MAX_TOPIC: Final = 256

#: Longest identifier of a session, a job or an epoch, bytes.
MAX_ID: Final = 64

# What one message may carry on to the next is bounded, so that the next has room for it: nobody
# can be made to send a header that its receiver refuses.
_Id = Annotated[bytes, msgspec.Meta(max_length=MAX_ID)]
_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Class = Annotated[str, msgspec.Meta(max_length=MAX_CLASS)]
_Classes = Annotated[list[_Class], msgspec.Meta(max_length=MAX_CLASSES)]
_Topic = Annotated[str, msgspec.Meta(max_length=MAX_TOPIC)]
_Topics = Annotated[list[_Topic], msgspec.Meta(max_length=MAX_TOPICS)]


class Message(msgspec.Struct, array_like=True):
    """Base of every message; ``link`` is 0 only before WELCOME."""

    link: int


class Hello(Message, tag="hello"):
    """``server`` is the name by which the connector knows the listener.

    ``holds`` are leases of the listener's life ``epoch``: the next one numbers its own anew.
    ``topics`` are those whose messages a stage wants. Who is ``named`` knows that no other process
    has its name now. Leases of a worker should hold work for ``lease_seconds`` (0: as usual).
    Sessions of one ``process`` end together.
    """

    version: int
    role: str
    name: str
    session: _Id
    server: _Text
    functions: list[_Text]
    holds: list[int]
    epoch: _Id = b""
    topics: _Topics = []
    named: bool = False
    lease_seconds: float = 0.0
    process: _Id = b""


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
    anything). Of a ``durable`` job everything is on disk before it counts; of one to ``detach``
    it is written as well, and nobody waits for the disk.
    """

    timeout: float = 0.0
    deadline: float = 0.0
    remaining: float = 0.0
    retries: int = 0
    retry_on: _Classes = []
    priority: int = 0
    at_most_once: bool = False
    durable: bool = False
    detach: bool = False

    @property
    def journaled(self) -> bool:
        """Whether the job is in the master's journal and outlives its client."""
        return self.durable or self.detach


class Route(msgspec.Struct, array_like=True):
    """How far the messages of a job have come; those that nothing special was said of have none.

    ``stage`` counts the components that they passed, each of which picks its own entry in the
    job's function. ``client`` is the name of who began the job, ``cache`` what that said with it.
    Only the stage that listens at ``only`` answers the client, if that is not empty. ``function``
    is set within a component: all that the client has named. ``job`` is the same at all stages.
    """

    stage: int = 0
    client: _Text = ""
    cache: _Text = ""
    only: _Text = ""
    function: _Text = ""
    job: _Id = b""


class Submit(Message, tag="submit"):
    """Messages ``first .. first+n-1`` of a job; ``last`` says that no more will come.

    ``terms`` are the same each time, but for what remains. ``partitions`` has a byte for each
    message, or none at all: the messages of one are dispatched one after the other. Messages
    that ``may_have_begun`` were given to a master that may have leased them and does not know
    them any more; the client has ``waited`` since then (seconds), for how many masters ever.
    With ``kinds``, one byte for each, they have failed at the client, and their payloads are the
    failures: so a journal has an outcome for them, too.
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
    kinds: bytes = b""
    waited: float = 0.0
    route: Route | None = None


class Accept(Message, tag="accept"):
    """Messages before ``upto`` of a job are in the journal: nobody else has to keep them.

    ``closed``: so is that no more will come.
    """

    job: _Id
    upto: int
    closed: bool = False


class Outcome(Message, tag="outcome"):
    """``serial`` counts the outcomes of a session; for the other fields see `Result`.

    Those of a job in the journal have a ``position`` there, from 0, in place of a serial: they
    come in this order, and are acknowledged by `Taken`.
    """

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
    position: int = -1

    def cut(self, a: int, b: int) -> Outcome:
        """Return those of its messages from position ``a`` to before ``b``."""
        if a == 0 and b == self.n:
            return self
        before = sum(memoryview(self.durations).cast("f")[:a]) if a else 0.0
        return msgspec.structs.replace(
            self,
            first=self.first + a,
            n=b - a,
            started=self.started + before,
            durations=self.durations[4 * a : 4 * b],
            kinds=self.kinds[a:b],
        )


class Ack(Message, tag="ack"):
    """Cumulative."""

    serial: int


class Resume(Message, tag="resume"):
    """The outcomes of a job in the journal are wanted from ``position`` on.

    ``accepted`` is how many of its messages are known to be in the journal: a master that knows
    nothing of a job with any has lost them. A client that is ``full`` takes none before it says
    so. Another client may have taken the job meanwhile, see `Ask`. ``number`` counts these
    messages of a session.
    """

    job: _Id
    position: int
    accepted: int
    full: bool = False
    number: int = 0


class Taken(Message, tag="taken"):
    """There is room for more than the outcomes before ``position``."""

    job: _Id
    position: int


class Gone(Message, tag="gone"):
    """Nothing more will come of a job over this link; ``text`` says why.

    ``number`` is that of the `Resume` by which its client had, or wanted, the job; 0: of any.
    """

    job: _Id
    text: str
    number: int = 0


class Journaled(msgspec.Struct, array_like=True):
    """A job in the journal.

    ``accepted`` counts its messages, ``done`` those with an outcome, ``outcomes`` the entries
    that hold these. ``closed``: no more will come. ``age`` is the time since it began (seconds),
    ``client`` who has its outcomes now, or began it.
    """

    job: _Id
    function: _Text
    terms: Terms
    accepted: int
    done: int
    failed: int
    closed: bool
    age: float
    client: str
    attached: bool


class Ask(Message, tag="ask"):
    """``op`` numbers the questions of a session.

    With ``workers`` the answer comes as soon as so many are here; else it lists the jobs in the
    journal, or the one that is named. Who asks to ``take`` that one has it from then on: nothing
    that another client sends of it counts any more.
    """

    op: int
    workers: int = 0
    job: _Id = b""
    take: bool = False


class Answer(Message, tag="answer"):
    """``workers`` counts those that are here; ``left_out`` the jobs that had no room."""

    op: int
    workers: int
    jobs: list[Journaled] = []
    left_out: int = 0


class Close(Message, tag="close"):
    """What is queued of the job is dropped, what runs is revoked.

    An empty ``job`` means all those of which nothing was submitted over this link. Where it is to
    ``confirm``, a `Gone` follows: so a job in the journal does not live on.
    """

    job: _Id
    confirm: bool = False


class Release(Message, tag="release"):
    """Outcomes of messages ``first .. first+n-1`` of a job need not be kept any more."""

    job: _Id
    first: int
    n: int


class Notice(Message, tag="notice"):
    """``text`` is one sentence; ``job`` may be empty."""

    job: _Id
    text: str


class Task(Message, tag="task"):
    """``attempt`` counts the starts of these messages, this one included.

    ``timeout`` is the time that the call for one of them may take (seconds, 0: any). They may run
    ``at_most_once``: a worker that has others run them must not ask twice. One that is ``alone``
    was in a batch whose worker was lost: nothing else may run in the process that runs it.
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
    route: Route | None = None
    at_most_once: bool = False
    alone: bool = False


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
    """``op`` numbers the operations of a session: a repeat gets the first answer.

    The value is gone after ``ttl`` seconds (0: it stays). Without a value nothing is set, and it
    is only asked whether the key is there.
    """

    op: int
    key: _Text
    codec: int
    ttl: float = 0.0


class Fetch(Message, tag="fetch"):
    """With ``delete`` the value is removed and only its existence reported."""

    op: int
    key: _Text
    delete: bool


class Swap(Message, tag="swap"):
    """The new value follows, then the expected one, each where its codec is not -1.

    Without an expected value the key must not be there; without a new one it is deleted.
    """

    op: int
    key: _Text
    codec: int
    expected: int
    ttl: float = 0.0


class Browse(Message, tag="browse"):
    """The keys that begin with ``prefix`` and come ``after`` one (empty: all), in order.

    Their number comes, and, unless it is wanted ``only``, a list in place of a value: as many as
    one message should carry.
    """

    op: int
    prefix: _Text
    after: _Text = ""
    only: bool = False


class Clear(Message, tag="clear"):
    """All keys that begin with ``prefix`` are deleted, and counted."""

    op: int
    prefix: _Text


class Kept(Message, tag="kept"):
    """``found`` says whether the key was there; the value follows where one was asked for.

    Of a `Swap` it says whether the value was the expected one. ``count`` is the number of keys
    that a `Browse` found, those included that had no room, or that a `Clear` deleted.

    Where ``kinds`` is not empty the operation failed: it is one byte, as in `Result`, and the
    failure follows in place of a value.
    """

    op: int
    key: _Text
    found: bool
    codec: int
    kinds: bytes = b""
    count: int = 0


class Watch(Message, tag="watch"):
    """There is ``room`` for so many more `Seen`; of ``edges`` only, if there are any."""

    room: int
    edges: _Topics = []


class Seen(Message, tag="seen"):
    """Messages ``first .. first+n-1`` of a job, as they went from ``source`` to ``target``.

    ``kinds`` are those of outcomes, empty for messages that are to be run. So many were
    ``skipped`` before, for want of room: it holds up nobody.
    """

    source: _Topic
    target: _Topic
    function: _Text
    job: _Id
    first: int
    n: int
    codec: int
    kinds: bytes = b""
    skipped: int = 0


class Bye(Message, tag="bye"):
    """Leases that were not begun go back without blame.

    ``begun`` are those of which a message was begun and has no answer; None: not said. With
    ``lost`` the process that ran them has ended, maybe because of it.
    """

    reason: str
    begun: list[int] | None = None
    lost: bool = False


class Fault(Message, tag="fault"):
    """``code`` is one word for programs, ``text`` a sentence for people."""

    code: str
    text: str


_AnyMessage = (
    Hello
    | Welcome
    | Reset
    | Submit
    | Accept
    | Outcome
    | Ack
    | Resume
    | Taken
    | Gone
    | Close
    | Release
    | Ask
    | Answer
    | Notice
    | Task
    | Result
    | Recall
    | Returned
    | Revoke
    | Keep
    | Fetch
    | Swap
    | Browse
    | Clear
    | Kept
    | Watch
    | Seen
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
