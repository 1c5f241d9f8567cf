"""The way of one job's messages through a component: where they are, and what they became.

A message that became several is a passage of its own: these are numbered from 0, and its outcome
is put together of theirs. So each result has an id that is the same when it is made again: the job,
the number of the message, and the number at each place where it became several.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from msgspec.structs import replace

from palm.errors import WireError
from palm.protocol.jobs import JobState
from palm.wire.batch import Batch, Buffer
from palm.wire.message import Outcome, Route
from palm.wire.outcome import Failure, Kind, encode_failure
from palm.wire.results import Item, pack_results, unpack_results

__all__ = ["Collected", "Passage", "Share", "merged", "route_of", "wire_id"]

#: Bytes of the ids of jobs between stages. Those of who gave them are unique in their session only:
#: two stages that take the same messages hand what they make of them to a third one.
ID_SIZE: Final = 16

#: Messages, and bytes of them, that those of one job may have become at one component before the
#: next ones have to wait.
MAX_SPREAD: Final = 32_768
MAX_SIZE: Final = 64 << 20

#: Messages whose outcomes are put together, if they came one by one; more are not copied for it.
MAX_TOGETHER: Final = 256


def wire_id(*parts: bytes) -> bytes:
    """Return an id that stands for several; it is always the same for the same."""
    digest = blake2b(digest_size=ID_SIZE)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def route_of(root: JobState) -> Route:
    """Return how far a job has come, with the name of who began it, and its id at all stages."""
    route = root.route or Route()
    if route.job:
        return route
    name = route.client or root.session.name
    return replace(route, client=name, job=wire_id(root.home.id, root.id))


class Collected:
    """What became of one message: ``kind`` and ``payload`` as in an outcome."""

    __slots__ = ("codec", "kind", "payload")

    def __init__(self, kind: int, codec: int, payload: Buffer) -> None:
        self.kind = kind
        self.codec = codec
        self.payload = payload


class Passage:
    """Of the messages of ``root``, or of those that message ``number`` of ``parent`` became."""

    __slots__ = (
        "children",
        "collected",
        "id",
        "n",
        "number",
        "parent",
        "published",
        "root",
        "shares",
        "size",
        "spread",
        "steps",
    )

    def __init__(
        self, root: JobState, id_: bytes, parent: Passage | None = None, number: int = 0, n: int = 0
    ) -> None:
        self.root = root
        #: By which stages know it.
        self.id = id_
        self.parent = parent
        self.number = number
        #: How many messages it has, if that is known: those of a parent.
        self.n = n
        #: What waits for each step.
        self.steps: dict[int, JobState] = {}
        #: What became of the messages of a parent so far.
        self.collected: dict[int, Collected] = {}
        #: Messages of this that became several.
        self.children: dict[int, Passage] = {}
        #: Messages that went to several stages, of which some have not answered.
        self.shares: dict[int, Share] = {}
        #: Messages, and bytes of them, that its own became and that have no outcome yet.
        self.spread = 0
        self.size = 0
        #: Something of it went to a stage.
        self.published = False

    @property
    def is_full(self) -> bool:
        """Whether its messages became so many that no more should."""
        return self.spread > MAX_SPREAD or self.size > MAX_SIZE

    @property
    def is_low(self) -> bool:
        """Whether its messages may become more again."""
        return self.spread <= MAX_SPREAD // 2 and self.size <= MAX_SIZE // 2

    def child(self, number: int, n: int, size: int) -> Passage:
        """Return the passage of the ``n`` messages that message ``number`` became."""
        id_ = wire_id(self.id, number.to_bytes(8, "big"))
        child = self.children[number] = Passage(self.root, id_, self, number, n)
        self.spread += n
        self.size += size
        return child

    def child_is_done(self, n: int) -> None:
        """Note that a message which became ``n`` has its outcome."""
        self.size -= self.size * n // max(self.spread, n)
        self.spread -= n

    def take_out(self, first: int, stop: int) -> Iterator[Passage]:
        """Take out the passages of messages ``first .. stop-1``."""
        if stop - first < len(self.children):
            numbers = [number for number in range(first, stop) if number in self.children]
        else:
            numbers = [number for number in self.children if first <= number < stop]
        for number in numbers:
            yield self.children.pop(number)

    def family(self) -> Iterator[Passage]:
        """Yield this and all passages that came of it."""
        yield self
        for child in self.children.values():
            yield from child.family()

    def collect(self, outcome: Outcome, batch: Batch) -> bool:
        """Take outcomes of the messages of a parent; return whether that was the last one."""
        kinds = outcome.kinds or bytes(outcome.n)
        for at, (kind, payload) in enumerate(zip(kinds, batch.payloads(), strict=True)):
            found = Collected(kind, outcome.codec, payload)
            self.collected.setdefault(outcome.first + at, found)
        return len(self.collected) == self.n


class Share:
    """What the stages made of one message that went to several of them."""

    __slots__ = ("parts", "wanted")

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.parts: dict[int, Collected] = {}

    def add(self, place: int, part: Collected) -> bool:
        """Take what one of them made of it; return whether it was the last."""
        self.parts.setdefault(place, part)
        return len(self.parts) == self.wanted


def merged(parts: list[Collected]) -> Collected:
    """Return the outcome of a message that is made of several: their results, or a failure."""
    items: list[Item] = []
    left_out = 0
    for part in parts:
        if part.kind == Kind.RESULT:
            items.append(Item(part.codec, bytes(part.payload)))
        elif part.kind == Kind.MANY:
            try:
                results = unpack_results(part.payload)
            except WireError as error:
                return _unreadable(error)
            items += results.items
            left_out += results.left_out
        else:
            return part
    return Collected(Kind.MANY, 0, pack_results(items, left_out))


def together(
    outcomes: list[tuple[Outcome, Batch]],
) -> Iterator[tuple[Outcome, Batch]]:
    """Yield outcomes of one job, small ones of neighbouring messages as one."""
    run: list[tuple[Outcome, Batch]] = []
    for outcome, batch in sorted(outcomes, key=_first):
        if run and not _follows(outcome, run[-1][0], sum(each.n for each, _ in run)):
            yield _as_one(run)
            run = []
        run.append((outcome, batch))
    if run:
        yield _as_one(run)


def _first(entry: tuple[Outcome, Batch]) -> int:
    return entry[0].first


def _follows(outcome: Outcome, before: Outcome, n: int) -> bool:
    """Whether outcomes may be sent as one that has ``n`` messages so far."""
    return (
        outcome.first == before.first + before.n
        and n + outcome.n <= MAX_TOGETHER
        and outcome.codec == before.codec
        and outcome.worker == before.worker
        and outcome.attempt == before.attempt
    )


def _as_one(run: list[tuple[Outcome, Batch]]) -> tuple[Outcome, Batch]:
    if len(run) == 1:
        return run[0]
    first = run[0][0]
    kinds = b"".join(outcome.kinds or bytes(outcome.n) for outcome, _ in run)
    whole = replace(
        first,
        n=sum(outcome.n for outcome, _ in run),
        durations=b"".join(outcome.durations for outcome, _ in run),
        kinds=kinds if any(kinds) else b"",
    )
    return whole, Batch.pack([payload for _, batch in run for payload in batch.payloads()])


def _unreadable(error: WireError) -> Collected:
    failure = Failure("WireError", f"what a stage sent cannot be read: {error}")
    return Collected(Kind.TASK_ERROR, 0, encode_failure(failure))
