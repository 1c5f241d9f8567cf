"""The way of messages through a component: its hooks, its function, and the stages behind it.

A plain master leases a message and sends what comes of it. Here a message takes several steps,
each a queue for those who serve its function, and then goes to the stages that subscribe to its
topic, or back to where it came from. Its outcome is there when all that it became has one: the
client's message is open until then, whatever dies in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

from msgspec.structs import replace

from palm.errors import WireError
from palm.protocol.dispatch import Dispatcher
from palm.protocol.jobs import JobState, Piece
from palm.protocol.joining import Joiner
from palm.protocol.passage import Passage, merged, route_of, together, wire_id
from palm.protocol.publishing import Publisher
from palm.protocol.settlement import Settlement
from palm.wire.batch import Batch, Buffer
from palm.wire.codec import Codec
from palm.wire.message import Outcome
from palm.wire.outcome import Failure, Kind, encode_failure
from palm.wire.results import NOTHING, Item, pack_results, unpack_results

__all__ = ["GATHER", "JOIN", "SCATTER", "THE_FUNCTION", "Flow", "Way"]

#: Names of the hooks among the functions; nobody can call them, since no function is called so.
SCATTER: Final = "%scatter"
GATHER: Final = "%gather"
JOIN: Final = "%join"

#: The step that is the function which the job names.
THE_FUNCTION: Final = ""


class Way(NamedTuple):
    """What a component does with messages.

    ``steps`` name the functions through which they go, one after the other. Results go to the
    stages behind it if it is ``pipelined``, those with a topic of their own in any case.
    ``listens(address)`` tells whether an address is one of its own. Parts of one message are
    waited for for ``join_within`` seconds (None: for ever).
    """

    steps: Sequence[str] = (THE_FUNCTION,)
    pipelined: bool = False
    listens: Callable[[str], bool] = lambda address: False
    join_within: float | None = None


class Flow:
    """The steps of one component; ``topic`` is that of results that have none of their own."""

    def __init__(
        self,
        topic: str,
        way: Way,
        dispatcher: Dispatcher,
        settlement: Settlement,
        publisher: Publisher,
        joiner: Joiner,
    ) -> None:
        self._topic = topic
        self._way = way
        self._steps = way.steps
        self._joiner = joiner
        self._dispatcher = dispatcher
        self._settlement = settlement
        self._publisher = publisher
        #: Messages that have taken a step.
        self._passed: deque[tuple[Passage, int, Outcome, Batch]] = deque()
        #: Messages that have an outcome now.
        self._concluded: dict[JobState, list[tuple[Outcome, Batch]]] = {}

    # Messages

    def run(self, now: float) -> None:
        """Let all go on that have taken a step."""
        self._joiner.run(now)
        while self._passed:
            passage, step, outcome, batch = self._passed.popleft()
            if not passage.root.dropped:
                self._pass(passage, step, outcome, batch, now)
        concluded, self._concluded = self._concluded, {}
        for root, outcomes in concluded.items():
            for outcome, batch in together(outcomes):
                self._settlement.conclude(root, outcome, batch)

    def enter(self, root: JobState, piece: Piece, now: float) -> None:
        """Let messages of a client's, or an earlier stage's, job begin their way."""
        if root.passage is None:
            root.route = route_of(root)
            root.passage = Passage(root, wire_id(root.home.id, root.id))
        self._queue(root.passage, 0, piece, now)

    def _pass(
        self, passage: Passage, step: int, outcome: Outcome, batch: Batch, now: float
    ) -> None:
        if self._steps[step] == JOIN:
            self._join(passage, step, outcome, batch, now)
        elif outcome.kinds:
            self._pass_apart(passage, step, outcome, batch, now)
        else:
            self._go_on(passage, step + 1, outcome, batch, "", now)

    def _pass_apart(
        self, passage: Passage, step: int, outcome: Outcome, batch: Batch, now: float
    ) -> None:
        for kind, run in groupby(range(outcome.n), outcome.kinds.__getitem__):
            numbers = list(run)
            a, b = numbers[0], numbers[-1] + 1
            part, payloads = outcome.cut(a, b), batch.cut(a, b)
            if kind == Kind.RESULT:
                part.kinds = b""
                self._go_on(passage, step + 1, part, payloads, "", now)
            elif kind == Kind.MANY:
                self._go_on_as_many(passage, step + 1, part, payloads, now)
            else:
                self.finish(passage, part, payloads, now)

    def _join(
        self, passage: Passage, step: int, outcome: Outcome, batch: Batch, now: float
    ) -> None:
        """Let messages wait for the others that they belong to, and go on as one."""
        kinds = outcome.kinds or bytes(outcome.n)
        whole: list[tuple[int, Item]] = []
        for at, (kind, payload) in enumerate(zip(kinds, batch.payloads(), strict=True)):
            one = outcome.cut(at, at + 1)
            if kind != Kind.MANY:
                self.finish(passage, one, batch.cut(at, at + 1), now)
                continue
            joined = self._joiner.add(passage, one, payload, now)
            if joined is not None:
                whole.append((one.first, Item(Codec.RAW, joined)))
        self._go_on_apart(passage, step + 1, outcome, whole, now)

    def finish(self, passage: Passage, outcome: Outcome, batch: Batch, now: float) -> None:
        """Give messages the outcome that they will have."""
        self._finish_parts(passage, outcome, now)
        while passage.parent is not None:
            if not passage.collect(outcome, batch):
                return
            found = merged([passage.collected[number] for number in range(passage.n)])
            self._leave_steps(passage)
            outcome = _outcome_of(passage.number, found.codec, found.kind, outcome)
            batch = Batch.pack([found.payload])
            n, passage = passage.n, passage.parent
            passage.child_is_done(n)
            if passage.is_low:
                self._unblock(passage, now)
            self._finish_parts(passage, outcome, now)
        self._concluded.setdefault(passage.root, []).append((outcome, batch))

    def _finish_parts(self, passage: Passage, outcome: Outcome, now: float) -> None:
        """Give messages their outcome that were joined to those which have one now."""
        for other, part, none in self._joiner.concluded(passage, outcome):
            self.finish(other, part, none, now)

    def _queue(self, passage: Passage, step: int, piece: Piece, now: float) -> None:
        job = self._step(passage, step)
        if job.known.add(piece.first, piece.first + piece.n):
            job.put(piece)
            self._settlement.unpark(job, now)
            if job.waiting:
                self._dispatcher.enqueue(job, now)

    def _step(self, passage: Passage, step: int) -> JobState:
        job = passage.steps.get(step)
        if job is None:
            root = passage.root
            function = self._steps[step] or root.function
            id_ = passage.id + bytes([step])
            route = replace(route_of(root), function=root.chain)
            job = JobState(root.session, id_, function, root.terms, route)
            job.home = root.home
            job.closed = passage.parent is not None
            job.then = partial(self._take, passage, step)
            passage.steps[step] = root.home.jobs[job.id] = job
        return job

    def _take(self, passage: Passage, step: int, outcome: Outcome, batch: Batch) -> None:
        self._passed.append((passage, step, outcome, batch))

    def _go_on(
        self, passage: Passage, step: int, outcome: Outcome, batch: Batch, topic: str, now: float
    ) -> None:
        """Let results take the next step, or leave."""
        if step < len(self._steps):
            self._queue(passage, step, Piece(outcome.first, batch, outcome.codec), now)
            return
        route = route_of(passage.root)
        if topic != route.client and (topic or self._way.pipelined):
            self._publisher.publish(
                passage, outcome.first, batch, outcome.codec, topic or self._topic, now
            )
        elif route.stage and not self._is_asked(route.only):
            none = Batch.pack([pack_results([], left_out=1)] * batch.n)
            outcome.kinds = bytes([Kind.MANY]) * batch.n
            self.finish(passage, outcome, none, now)
        else:
            self.finish(passage, outcome, batch, now)

    def _go_on_as_many(
        self, passage: Passage, step: int, outcome: Outcome, batch: Batch, now: float
    ) -> None:
        """Let the results of messages that have any number of them go on."""
        single: list[tuple[int, Item]] = []
        payloads = batch.payloads()
        for is_nothing, run in groupby(range(batch.n), lambda at: payloads[at] == NOTHING):
            numbers = list(run)
            a, b = numbers[0], numbers[-1] + 1
            if is_nothing:
                self.finish(passage, outcome.cut(a, b), batch.cut(a, b), now)
                continue
            for at in numbers:
                one = outcome.cut(at, at + 1)
                single += self._spread(passage, step, one, payloads[at], now)
        self._go_on_apart(passage, step, outcome, single, now)
        before = passage.steps.get(step - 1)
        if before is not None and passage.is_full:
            before.blocked = True

    def _spread(
        self, passage: Passage, step: int, outcome: Outcome, payload: Buffer, now: float
    ) -> list[tuple[int, Item]]:
        """Let the results of a message go on that are several; return the only one, if it is."""
        try:
            items = unpack_results(payload).items
        except WireError as error:
            self._fail(passage, outcome, error, now)
            return []
        if len(items) == 1:
            return [(outcome.first, items[0])]
        if items:
            child = passage.child(outcome.first, len(items), len(payload))
            self._go_on_apart(child, step, outcome, list(enumerate(items)), now)
        else:
            self.finish(passage, outcome, Batch.pack([payload]), now)
        return []

    def _unblock(self, passage: Passage, now: float) -> None:
        """Let messages become more again, now that others of the job are done."""
        for job in passage.steps.values():
            if job.blocked:
                job.blocked = False
                if job.waiting:
                    self._dispatcher.enqueue(job, now)

    def _go_on_apart(
        self,
        passage: Passage,
        step: int,
        outcome: Outcome,
        items: list[tuple[int, Item]],
        now: float,
    ) -> None:
        """Let results go on in batches of one codec and topic, with neighbouring numbers."""
        for _, run in groupby(enumerate(items), _alike):
            entries = [entry for _, entry in run]
            first, item = entries[0]
            batch = Batch.pack([each.payload for _, each in entries])
            part = _outcome_of(first, item.codec, Kind.RESULT, outcome, len(entries))
            self._go_on(passage, step, part, batch, item.topic, now)

    def _fail(self, passage: Passage, outcome: Outcome, error: WireError, now: float) -> None:
        failure = encode_failure(Failure("WireError", str(error)))
        outcome.kinds = bytes([Kind.TASK_ERROR])
        self.finish(passage, outcome, Batch.pack([failure]), now)

    def _is_asked(self, only: str) -> bool:
        return not only or self._way.listens(only)

    def numbers(self, passage: Passage) -> set[int]:
        """Return the messages of a passage that are in a step, or became several; for tests."""
        found = set(passage.children) | set(passage.shares)
        for job in passage.steps.values():
            found |= {n for start, stop in job.open_ranges() for n in range(start, stop)}
        for each, _, outcome, _ in self._passed:
            if each is passage:
                found |= set(range(outcome.first, outcome.first + outcome.n))
        for outcome, _ in self._concluded.get(passage.root, ()):
            found |= set(range(outcome.first, outcome.first + outcome.n))
        return found

    # What is over

    def release(self, root: JobState, first: int, n: int) -> None:
        """Note that outcomes are safe with who gave us the messages: nobody needs to keep them."""
        passage = root.passage
        if passage is not None:
            self._publisher.release(passage, first, n)
            self._joiner.release(passage.id, first, n)
            for child in passage.take_out(first, first + n):
                self._leave(child)

    def leave(self, root: JobState) -> None:
        """Let go of all that a job left on its way: it is over, or nobody wants it."""
        passage, root.passage = root.passage, None
        if passage is not None:
            self._leave(passage)

    def _leave(self, passage: Passage) -> None:
        for each in passage.family():
            self._joiner.leave(each)
            self._leave_steps(each)
            self._publisher.close(each)

    def _leave_steps(self, passage: Passage) -> None:
        for job in passage.steps.values():
            self._dispatcher.close(job)
        passage.steps.clear()


def _alike(entry: tuple[int, tuple[int, Item]]) -> tuple[int, int, str]:
    position, (number, item) = entry
    return number - position, item.codec, item.topic


def _outcome_of(first: int, codec: int, kind: int, like: Outcome, n: int = 1) -> Outcome:
    """Return the outcome of messages, with what is known of the one that led to it."""
    kinds = b"" if kind == Kind.RESULT else bytes([kind]) * n
    durations = like.durations[:4] * n
    return Outcome(
        0, 0, like.job, first, n, like.attempt, codec, like.worker, like.started, durations, kinds
    )
