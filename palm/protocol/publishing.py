"""Messages for the stages behind a component: handed over as a client does, kept until answered.

A stage subscribes to topics. Each message of a topic goes to all stages that subscribe to it, and
its outcome is made of theirs. A stage that is away keeps its claim for a while: what is for it
waits, and goes to the process that comes in its place. What nobody subscribes to waits as well.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from msgspec.structs import replace

from palm.protocol.effects import Effect, Log, Remember, Send
from palm.protocol.jobs import PLAIN, JobState
from palm.protocol.meter import EdgeCounts
from palm.protocol.passage import Collected, Passage, Share, merged, route_of
from palm.protocol.shown import LINE, shown
from palm.protocol.submissions import Sent, Submissions
from palm.protocol.taps import Taps
from palm.protocol.timers import Timer, Timers
from palm.wire.batch import MAX_MESSAGES, Batch
from palm.wire.codec import Codec
from palm.wire.message import Close, Hello, Kept, Notice, Outcome, Release, Route, Submit, Terms
from palm.wire.outcome import Failure, Kind, encode_failure

__all__ = ["CLAIM_FOR", "Publisher", "StageSession"]

#: Seconds for which a stage may be away, or a topic without one, before messages fail of it.
CLAIM_FOR: Final = 30.0

#: Seconds after which somebody is told that messages wait.
NOTICE_AFTER: Final = 2.0

#: The outcome of messages, with the passage that they are of: (passage, outcome, batch, now).
Finish = Callable[[Passage, Outcome, Batch, float], None]


@dataclass(slots=True, eq=False)
class StageSession:
    """A stage behind this component; its ``claim`` outlives its process."""

    id: bytes
    name: str
    claim: Claim
    peer: bytes | None = None
    link: int = 0
    birth: int = 0
    expiry: Timer | None = None
    replies: dict[int, tuple[Kept, Batch | None]] = field(default_factory=dict)
    role: str = "stage"


class _Given(NamedTuple):
    """Messages of one passage that were given to a stage."""

    passage: Passage
    submissions: Submissions


class Claim:
    """What a stage of a name and topics is given, whatever process it is."""

    __slots__ = ("edge", "expiry", "given", "is_named", "name", "number", "session", "topics")

    def __init__(self, number: int, name: str, topics: tuple[str, ...]) -> None:
        #: The order in which results of several stages stand.
        self.number = number
        self.name = name
        self.topics = topics
        self.edge = EdgeCounts()
        #: Who has it knows that no other process has its name.
        self.is_named = False
        self.session: StageSession | None = None
        self.given: dict[bytes, _Given] = {}
        #: Runs while it is away.
        self.expiry: Timer | None = None

    @property
    def open(self) -> int:
        """Messages that it has not answered."""
        return sum(
            each.submissions.submitted.total - each.submissions.answered.total
            for each in self.given.values()
        )


class _Held(NamedTuple):
    """Messages for a topic that nobody subscribes to."""

    passage: Passage
    first: int
    batch: Batch
    codec: int
    due: float


class Publisher:
    """The stages behind a component; effects are added to the list of the machine it serves.

    ``expected`` are names and topics of those that were there before a restart: what is for them
    waits for them as for any that is away. Who is not ``pipelined`` has nothing for its own topic.
    """

    def __init__(
        self,
        name: str,
        timers: Timers,
        effects: list[Effect],
        taps: Taps,
        expected: Iterable[tuple[str, list[str]]] = (),
        *,
        pipelined: bool = True,
    ) -> None:
        self._name = name
        self._pipelined = pipelined
        self._timers = timers
        self._effects = effects
        self._taps = taps
        self._expected = tuple(expected)
        self._claims: list[Claim] = []
        self._next = 0
        self._held: dict[str, deque[_Held]] = {}
        #: Topics of which somebody was told that nobody subscribes to them.
        self._told: set[str] = set()
        self.finish: Finish = _drop

    @property
    def open(self) -> int:
        """Messages that stages have, or that wait for one."""
        held = sum(each.batch.n for line in self._held.values() for each in line)
        return held + sum(claim.open for claim in self._claims)

    def edges(self) -> list[EdgeCounts]:
        """Return what was counted of each stage, and what waits for one."""
        found = [
            replace(each.edge, source=self._name, target=each.name, role="stage", open=each.open)
            for each in self._claims
        ]
        for topic, line in self._held.items():
            n = sum(each.batch.n for each in line)
            target = f"(nobody for {shown(topic)})"
            found.append(EdgeCounts(self._name, target, "nobody", open=n))
        return found

    def start(self, now: float) -> None:
        """Begin to wait for those that were there before."""
        for name, topics in self._expected:
            self._miss(self._new_claim(name, tuple(topics)), now)

    # Stages

    def subscribe(self, hello: Hello, now: float) -> StageSession:
        """Return the session of a stage that greets for the first time."""
        name, wanted = hello.name, tuple(dict.fromkeys(hello.topics))
        claim = self._free_claim(hello, wanted) or self._new_claim(name, wanted)
        claim.is_named = hello.named
        claim.session = session = StageSession(hello.session, name, claim)
        self._log(logging.INFO, f"stage {name} joined, takes {shown(', '.join(wanted), LINE)}")
        if self._name in wanted and not self._pipelined:
            text = f"'{self._name}' is not pipelined: stage {name} gets what handle_stream sends it"
            self._log(logging.WARNING, f"{text}, and nothing else")
        return session

    def connected(self, session: StageSession, now: float) -> None:
        """Hand over, over its new link, what a stage has not answered, and what waits for it."""
        claim = session.claim
        if claim.expiry is not None:
            claim.expiry.cancel()
            claim.expiry = None
        if claim not in self._claims:  # it was away for too long
            self._claims.append(claim)
            self._remember()
        claim.session = session
        for given in claim.given.values():
            self._resend(session, given, now)
        if session.peer is not None and session.link != session.birth:
            # What ended meanwhile, it may not know of. One that is new to us may have something
            # of an earlier life of ours, which those who gave it to us are about to send again.
            self._effects.append(Send(session.peer, Close(session.link, b"")))
        for topic in claim.topics:
            self._told.discard(topic)
            for held in self._held.pop(topic, ()):
                self.publish(held.passage, held.first, held.batch, held.codec, topic, now)

    def lost(self, session: StageSession, now: float, *, leaves: bool) -> None:
        """Note that a stage is away; ``leaves``: on purpose."""
        if session.claim.session is session:
            level, what = (logging.INFO, "left") if leaves else (logging.WARNING, "is away")
            self._log(level, f"stage {session.name} {what}; waiting for it")
            self._miss(session.claim, now)

    def _miss(self, claim: Claim, now: float) -> None:
        if claim.expiry is None:
            claim.expiry = self._timers.at(now + CLAIM_FOR, self._give_up, claim)

    def _free_claim(self, hello: Hello, topics: tuple[str, ...]) -> Claim | None:
        """Return the claim of a stage of this name that is away, or must be dead by now."""
        for claim in self._claims:
            is_free = claim.expiry is not None or (hello.named and claim.is_named)
            if claim.name == hello.name and claim.topics == topics and is_free:
                return claim
        return None

    def _new_claim(self, name: str, topics: tuple[str, ...]) -> Claim:
        claim = Claim(self._next, name, topics)
        self._next += 1
        self._claims.append(claim)
        self._remember()
        return claim

    def _remember(self) -> None:
        stages = [(claim.name, list(claim.topics)) for claim in self._claims]
        self._effects.append(Remember(stages))

    def _give_up(self, claim: Claim, now: float) -> None:
        """Fail what a stage has not answered, since it did not come back."""
        claim.expiry = None
        self._claims.remove(claim)
        self._remember()
        self._log(logging.WARNING, f"stage {claim.name} did not come back")
        text = f"stage '{claim.name}' was lost and did not come back within {CLAIM_FOR:g} s"
        for given in list(claim.given.values()):
            submitted, answered = given.submissions.submitted, given.submissions.answered
            for first, stop in submitted.ranges():
                for a, b in answered.missing(first, stop):
                    self._fail(claim, given, a, b, Kind.STAGE_LOST, Failure("StageLost", text), now)
        claim.given.clear()

    # Messages

    def publish(
        self, passage: Passage, first: int, batch: Batch, codec: int, topic: str, now: float
    ) -> None:
        """Give messages to all stages that subscribe to a topic."""
        claims = [claim for claim in self._claims if topic in claim.topics]
        if not claims:
            self._hold(passage, first, batch, codec, topic, now)
            return
        passage.published = True
        if len(claims) > 1:
            for number in range(first, first + batch.n):
                passage.shares.setdefault(number, Share(len(claims)))
        for claim in claims:
            self._give(claim, passage, first, batch, codec, now)

    def _give(
        self, claim: Claim, passage: Passage, first: int, batch: Batch, codec: int, now: float
    ) -> None:
        root = passage.root
        given = claim.given.get(passage.id)
        if given is None:
            submissions = Submissions(passage.id, root.chain, None)
            given = claim.given[passage.id] = _Given(passage, submissions)
        submit = Submit(
            0,
            passage.id,
            first,
            batch.n,
            root.chain,
            codec,
            False,
            _terms_of(root),
            route=_next(root),
        )
        if self._taps.observers:
            self._taps.outgoing(claim.name, root.chain, passage.id, first, batch, codec)
        sent = given.submissions.add(submit, batch)
        claim.edge.messages += batch.n
        claim.edge.size += batch.size
        if claim.session is not None and claim.session.peer is not None:
            self._send(claim.session, root, sent, now)

    def _send(self, session: StageSession, root: JobState, sent: Sent, now: float) -> None:
        submit = sent.submit
        submit.link = session.link
        sent.birth = session.birth
        if root.deadline is not None and submit.terms is not None:
            left = max(root.deadline.when - now, 0.0)
            submit.terms = replace(submit.terms, remaining=left)
        if session.peer is not None:
            self._effects.append(Send(session.peer, submit, sent.batch))

    def _resend(self, session: StageSession, given: _Given, now: float) -> None:
        root, submissions = given.passage.root, given.submissions
        if root.terms.at_most_once:
            self._forsake(session, given, now)
        for sent in submissions.open():
            self._send(session, root, sent, now)
        if not submissions.sent:  # so it is known that we want it
            end = Submit(0, submissions.id, 0, 0, root.chain, 0, False, route=_next(root))
            self._send(session, root, Sent(end, Batch.pack([]), 0), now)

    def _forsake(self, session: StageSession, given: _Given, now: float) -> None:
        """Fail what an earlier process of a stage may have begun: it may not run twice."""
        text = f"stage '{session.name}' was lost and may have run it, and it may not run twice"
        failure = Failure("StageLost", text)
        begun = [
            (sent.submit.first, sent.submit.first + sent.batch.n)
            for sent in given.submissions.sent.values()
            if sent.birth not in (0, session.birth)
        ]
        for first, stop in begun:
            for a, b in given.submissions.answered.missing(first, stop):
                self._fail(session.claim, given, a, b, Kind.STAGE_LOST, failure, now)

    def outcome(self, session: StageSession, outcome: Outcome, batch: Batch, now: float) -> None:
        """Take what a stage made of messages."""
        given = session.claim.given.get(outcome.job)
        if given is None:  # nobody wants it any more, or those who do are not back yet
            return
        first, n = outcome.first, outcome.n
        submissions = given.submissions
        if submissions.submitted.missing(first, first + n):
            return
        if self._taps.observers:
            self._taps.incoming(
                session.name, given.passage.root.chain, outcome.job, first, batch, outcome.codec,
                outcome.kinds or bytes(n),
            )  # fmt: skip
        for start, stop in submissions.answered.add(first, first + n):
            submissions.settle(start, stop, keep=False)
            a, b = start - first, stop - first
            part, payloads = outcome.cut(a, b), batch.cut(a, b)
            self._answered(session.claim, given.passage, part, payloads, now)

    def _answered(
        self, claim: Claim, passage: Passage, outcome: Outcome, batch: Batch, now: float
    ) -> None:
        claim.edge.answered(outcome.n, outcome.kinds)
        if not passage.shares:
            self.finish(passage, outcome, batch, now)
            return
        kinds = outcome.kinds or bytes(outcome.n)
        for at, (kind, payload) in enumerate(zip(kinds, batch.payloads(), strict=True)):
            number = outcome.first + at
            share = passage.shares.get(number)
            if share is None:
                self.finish(passage, outcome.cut(at, at + 1), batch.cut(at, at + 1), now)
            elif share.add(claim.number, Collected(kind, outcome.codec, payload)):
                del passage.shares[number]
                whole = merged([share.parts[place] for place in sorted(share.parts)])
                part = outcome.cut(at, at + 1)
                part.kinds, part.codec = bytes([whole.kind]), whole.codec
                self.finish(passage, part, Batch.pack([whole.payload]), now)

    def _fail(
        self,
        claim: Claim,
        given: _Given,
        start: int,
        stop: int,
        kind: Kind,
        failure: Failure,
        now: float,
    ) -> None:
        given.submissions.answered.add(start, stop)
        given.submissions.settle(start, stop, keep=False)
        for outcome, batch in _failed(start, stop, kind, failure):
            self._answered(claim, given.passage, outcome, batch, now)

    # Topics that nobody subscribes to

    def _hold(
        self, passage: Passage, first: int, batch: Batch, codec: int, topic: str, now: float
    ) -> None:
        line = self._held.get(topic)
        if line is None:
            line = self._held[topic] = deque()
            self._timers.at(now + NOTICE_AFTER, self._tell, topic)
        if not line:
            self._timers.at(now + CLAIM_FOR, self._look, topic)
        line.append(_Held(passage, first, batch, codec, now + CLAIM_FOR))

    def _tell(self, topic: str, now: float) -> None:
        line = self._held.get(topic)
        if not line or topic in self._told:
            return
        self._told.add(topic)
        text = f"'{self._name}' is waiting for a subscriber of '{shown(topic)}'"
        self._log(logging.WARNING, text)
        for root in {id(held.passage.root): held.passage.root for held in line}.values():
            self._notify(root, text)

    def notice(self, session: StageSession, notice: Notice) -> None:
        """Pass on what a stage says to who waits for a job."""
        given = session.claim.given.get(notice.job)
        if given is not None:
            self._notify(given.passage.root, notice.text)

    def _notify(self, root: JobState, text: str) -> None:
        client = root.session
        if client.peer is not None:
            self._effects.append(Send(client.peer, Notice(client.link, root.id, text)))

    def _look(self, topic: str, now: float) -> None:
        """Fail what has waited for too long for a subscriber."""
        line = self._held.get(topic)
        if line is None:
            return
        text = f"no stage subscribes to '{shown(topic)}' of '{self._name}'"
        failure = Failure("Unroutable", text)
        while line and line[0].due <= now:
            held = line.popleft()
            stop = held.first + held.batch.n
            for outcome, batch in _failed(held.first, stop, Kind.UNROUTABLE, failure):
                self.finish(held.passage, outcome, batch, now)
        if line:
            self._timers.at(line[0].due, self._look, topic)
        else:
            del self._held[topic]
            self._told.discard(topic)

    def numbers(self, passage: Passage) -> set[int]:
        """Return the messages of a passage that stages have, or that wait for one; for tests."""
        found = set()
        for line in self._held.values():
            for held in line:
                if held.passage is passage:
                    found |= set(range(held.first, held.first + held.batch.n))
        for claim in self._claims:
            given = claim.given.get(passage.id)
            if given is not None:
                for start, stop in given.submissions.submitted.ranges():
                    for a, b in given.submissions.answered.missing(start, stop):
                        found |= set(range(a, b))
        return found

    def check(self) -> None:
        """Raise `PalmError` where something is lost that stages have not answered; for tests."""
        for claim in self._claims:
            for given in claim.given.values():
                given.submissions.check()

    # What is over

    def release(self, passage: Passage, first: int, n: int) -> None:
        """Tell stages that nobody needs what became of messages from them any more."""
        if not passage.published:
            return
        for claim in self._claims:
            session = claim.session
            if passage.id in claim.given and session is not None and session.peer is not None:
                release = Release(session.link, passage.id, first, n)
                self._effects.append(Send(session.peer, release))

    def close(self, passage: Passage) -> None:
        """Tell stages that nobody wants anything of a passage any more."""
        for topic, line in self._held.items():
            if any(held.passage is passage for held in line):
                self._held[topic] = deque(held for held in line if held.passage is not passage)
        if not passage.published:
            return
        for claim in self._claims:
            if claim.given.pop(passage.id, None) is not None and claim.session is not None:
                self._close(claim.session, passage.id)

    def _close(self, session: StageSession, job: bytes) -> None:
        if session.peer is not None:
            self._effects.append(Send(session.peer, Close(session.link, job)))

    def _log(self, level: int, text: str) -> None:
        self._effects.append(Log(level, text))


def _drop(passage: Passage, outcome: Outcome, batch: Batch, now: float) -> None:
    """Do nothing: nobody has said where outcomes go."""


def _next(root: JobState) -> Route:
    """Return the route of a job at the next stage."""
    route = route_of(root)
    return replace(route, stage=route.stage + 1)


def _terms_of(root: JobState) -> Terms | None:
    """Return how messages of a job are to be treated by a stage: its master has the journal."""
    terms = root.terms
    if terms.journaled:
        terms = replace(terms, durable=False, detach=False)
    return None if terms == PLAIN else terms


def _failed(start: int, stop: int, kind: Kind, failure: Failure) -> Iterator[tuple[Outcome, Batch]]:
    payload = encode_failure(failure)
    for first in range(start, stop, MAX_MESSAGES):
        n = min(stop - first, MAX_MESSAGES)
        kinds, durations = bytes([kind]) * n, bytes(4 * n)
        outcome = Outcome(0, 0, b"", first, n, 0, Codec.MSGPACK, "", 0.0, durations, kinds)
        yield outcome, Batch.pack([payload] * n)
