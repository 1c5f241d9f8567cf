"""The rules of a component whose messages take more than one step: hooks, or stages around it.

What a master does with messages is done here at each step (`palm.protocol.flow`). Stages behind
this one connect as workers do (`palm.protocol.publishing`); to those before it, it connects itself
(`palm.protocol.upstream`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from palm.errors import PalmError
from palm.protocol.effects import Effect, Send, Stopped
from palm.protocol.entries import Joined
from palm.protocol.events import Event, Received
from palm.protocol.flow import Flow, Way
from palm.protocol.jobs import ClientSession, JobState, Piece
from palm.protocol.joining import Joiner
from palm.protocol.master import HANDLERS, MasterMachine
from palm.protocol.meter import Counts, EdgeCounts
from palm.protocol.passage import Passage, wire_id
from palm.protocol.publishing import Publisher, StageSession
from palm.protocol.sessions import SESSION_TTL
from palm.protocol.store import Store
from palm.protocol.upstream import Upstream, Upstreams
from palm.wire.batch import Batch
from palm.wire.message import Bye, Close, Message, Notice, Outcome, Release, Submit
from palm.wire.outcome import Failure, Kind

__all__ = ["StageMachine"]

#: Separates the functions of stages, and those of several components that are one stage.
STAGES: Final = " "
BRANCHES: Final = "|"


class StageMachine(MasterMachine):
    """One component with steps, or stages around it; see `handle`.

    Parameters
    ----------
    way
        What it does with messages.
    upstreams
        Makes the links to the stages before it, given the machine's timers.
    expected
        Names and topics of the stages behind it when it ran last.
    joined
        Messages that it had joined then, and of which not all outcomes are safe.
    topic
        Of its results; its name if None.

    The others are those of `MasterMachine`.
    """

    def __init__(
        self,
        name: str,
        epoch: bytes,
        endpoints: dict[str, str],
        new_link: Callable[[], int],
        values: Store,
        *,
        way: Way,
        upstreams: Callable[[Any], Sequence[Upstream]] = lambda timers: (),
        expected: Iterable[tuple[str, list[str]]] = (),
        joined: Iterable[Joined] = (),
        **options: Any,
    ) -> None:
        self._way = way
        self._expected = tuple(expected)
        super().__init__(name, epoch, endpoints, new_link, values, **options)
        self._joiner = Joiner(self._timers, self._effects, way.join_within, self._place_of, joined)
        self._flow = Flow(
            name, way, self._dispatcher, self._settlement, self._publisher, self._joiner
        )
        self._joiner.finish = self._flow.finish
        self._publisher.finish = self._flow.finish
        self._dispatcher.leave = self._flow.leave
        self._upstreams = Upstreams(
            upstreams(self._timers), self._timers, self._effects, self._forget_given
        )
        self._places = {each.id: at for at, each in enumerate(self._upstreams.sessions)}
        for session in self._upstreams.sessions:
            self._clients[session.id] = session
            session.edge = EdgeCounts()
        self._handlers = HANDLERS | _HANDLERS

    def _new_publisher(self) -> Publisher:
        self._publisher = Publisher(
            self.name,
            self._timers,
            self._effects,
            self._taps,
            self._expected,
            pipelined=self._way.pipelined,
        )
        return self._publisher

    def handle(self, event: Event, now: float) -> list[Effect]:
        """React to an event that happened at ``now`` (seconds on a monotonic clock)."""
        if not self._upstreams.is_of(event):
            return super().handle(event, now)
        self._start(now)
        found = self._upstreams.handle(event, now)
        if found is not None and isinstance(event, Received):
            session, message = found
            handler = self._handlers.get((session.role, type(message)))
            if handler is not None:
                handler(self, session, message, event.batch, now)
        return self._take_effects(now)

    def counts(self) -> Counts:
        """Return what was counted, with the stages behind it."""
        found = super().counts()
        found.edges += self._publisher.edges()
        return found

    def _start(self, now: float) -> None:
        started = self._started
        super()._start(now)
        if not started:
            self._publisher.start(now)
            self._upstreams.start(now)
            self._timers.at(now + SESSION_TTL, self._forget_joined)

    def _take_effects(self, now: float) -> list[Effect]:
        self._flow.run(now)
        self._upstreams.take_effects()
        if self._upstreams.error is not None and not self._stopped:
            self._stopped = True
            self._effects.append(Stopped(self._upstreams.error))
        return super()._take_effects(now)

    # Messages on their way

    def _put(self, job: JobState, piece: Piece, now: float) -> None:
        if job.function:
            self._flow.enter(job, piece, now)
        else:
            text = f"'{self.name}' is {_place(job)}, and the job says nothing for it: {job.chain}"
            failure = Failure("FunctionNotFound", text)
            self._settlement.fail(job, piece, Kind.FUNCTION_NOT_FOUND, failure)

    def _function(self, client: ClientSession, submit: Submit) -> str:
        """Return the name of the function that a job has for this stage; empty: none."""
        stages = submit.function.split(STAGES)
        stage = submit.route.stage if submit.route is not None else 0
        if not 0 <= stage < len(stages):
            return ""
        bare = ""
        for branch in stages[stage].split(BRANCHES):
            server, dot, name = branch.rpartition(".")
            if name.startswith("%"):  # a hook: nobody calls it from outside
                return ""
            if not dot:
                bare = bare or name
            elif server in (self.name, client.alias):
                return name
        return bare or (stages[stage] if BRANCHES not in stages[stage] else "")

    def _place_of(self, passage: Passage) -> int:
        """Return where the parts of a job stand among those that are joined."""
        return self._places.get(passage.root.home.id, -1)

    def _released(self, job: JobState, first: int, n: int) -> None:
        self._flow.release(job, first, n)

    # What stages before this one send

    def _given(
        self, session: ClientSession, message: Submit, batch: Batch | None, now: float
    ) -> None:
        job = session.jobs.get(message.job)
        if job is not None and job.known.found(message.first, message.first + message.n):
            self._settlement.answer_again(job, message.first, message.n)
        self._submit(session, message, batch, now)

    def _release(
        self, session: ClientSession, message: Release, batch: Batch | None, now: float
    ) -> None:
        job = session.jobs.get(message.job)
        if job is None:
            return
        first, stop = message.first, message.first + message.n
        for start, end in job.done.found(first, stop):
            job.released.add(start, end)
        kept, left = job.kept, message.n
        while kept and _is_in(kept[0][0], first, stop):  # most often the first ones
            left -= kept.popleft()[0].n
        if left:
            job.kept = deque(each for each in kept if not _is_in(each[0], first, stop))
        self._flow.release(job, message.first, message.n)

    def _close_given(
        self, session: ClientSession, message: Close, batch: Batch | None, now: float
    ) -> None:
        if message.job:
            self._close(session, message, batch, now)
            # What was joined in a life before this one is known by what stages know.
            self._joiner.forget(wire_id(session.id, message.job))
            return
        for job in list(session.jobs.values()):
            # What only an earlier life of that stage gave to us, its next one may give again.
            if job.then is None and job.link != session.link and job.link in session.links:
                self._dispatcher.close(job)

    def _forget_given(self, session: ClientSession, links: Collection[int]) -> None:
        """Let go of the jobs of a stage that did not come over ``links``."""
        for job in list(session.jobs.values()):
            if job.then is None and job.link not in links:
                self._dispatcher.close(job)

    def _forget_joined(self, now: float) -> None:
        """Forget what a life before this one had joined, but for what has come again."""
        if not self._upstreams.are_up:
            self._timers.at(now + SESSION_TTL, self._forget_joined)
            return
        known = [
            job.passage.id
            for session in self._clients.values()
            for job in session.jobs.values()
            if job.passage is not None
        ]
        self._joiner.forget_all_but(set(known))

    # What stages behind this one send

    def _outcome(
        self, stage: StageSession, message: Outcome, batch: Batch | None, now: float
    ) -> None:
        if batch is not None:
            self._publisher.outcome(stage, message, batch, now)

    def _notice(
        self, stage: StageSession, message: Notice, batch: Batch | None, now: float
    ) -> None:
        self._publisher.notice(stage, message)

    def _stage_bye(
        self, stage: StageSession, message: Bye, batch: Batch | None, now: float
    ) -> None:
        self._sessions.dismiss_stage(stage, now)

    # Its end

    def _is_busy(self) -> bool:
        return super()._is_busy() or self._publisher.open > 0

    def _finish(self, now: float) -> None:
        for session in self._upstreams.sessions:
            if session.peer is not None:
                self._effects.append(Send(session.peer, Bye(session.link, f"'{self.name}' stops")))
        super()._finish(now)

    def check_invariants(self) -> None:
        """See `MasterMachine.check_invariants`."""
        super().check_invariants()
        self._publisher.check()

    def _check_job(self, job: JobState, leased: list[tuple[int, int]]) -> None:
        if job.passage is None:
            super()._check_job(job, leased)
            return
        held = self._flow.numbers(job.passage) | self._publisher.numbers(job.passage)
        held |= self._joiner.numbers(job.passage)
        held |= {n for start, stop in self._durability.spans(job) for n in range(start, stop)}
        held |= {piece.first + at for piece in job.astray for at in range(piece.n)}
        open_ = {seq for start, stop in job.open_ranges() for seq in range(start, stop)}
        if not open_ <= held:
            raise PalmError(f"lost on its way: {sorted(open_ - held)} of job {job.id!r}")


def _is_in(outcome: Outcome, first: int, stop: int) -> bool:
    return first <= outcome.first and outcome.first + outcome.n <= stop


def _place(job: JobState) -> str:
    stage = job.route.stage if job.route is not None else 0
    return f"stage {stage + 1}"


_HANDLERS: dict[tuple[str, type[Message]], Callable[..., None]] = {
    ("upstream", Submit): StageMachine._given,
    ("upstream", Release): StageMachine._release,
    ("upstream", Close): StageMachine._close_given,
    ("stage", Outcome): StageMachine._outcome,
    ("stage", Notice): StageMachine._notice,
    ("stage", Bye): StageMachine._stage_bye,
}
