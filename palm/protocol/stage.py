"""The rules of a component whose messages take more than one step: hooks, or stages around it.

What a master does with messages is done here at each step (`palm.protocol.flow`). Stages behind
this one connect as workers do (`palm.protocol.publishing`); to those before it, it connects itself
(`palm.protocol.upstream`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from palm.errors import PalmError
from palm.protocol.effects import Effect, Send, Stopped
from palm.protocol.events import Event, Received
from palm.protocol.flow import Flow, Way
from palm.protocol.jobs import ClientSession, JobState, Piece
from palm.protocol.master import HANDLERS, MasterMachine
from palm.protocol.meter import Counts, EdgeCounts
from palm.protocol.publishing import Publisher, StageSession
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
        **options: Any,
    ) -> None:
        self._way = way
        self._expected = tuple(expected)
        super().__init__(name, epoch, endpoints, new_link, values, **options)
        self._flow = Flow(name, way, self._dispatcher, self._settlement, self._publisher)
        self._publisher.finish = self._flow.finish
        self._dispatcher.leave = self._flow.leave
        self._upstreams = Upstreams(
            upstreams(self._timers), self._timers, self._effects, self._forget_given
        )
        for session in self._upstreams.sessions:
            self._clients[session.id] = session
            session.edge = EdgeCounts()
        self._handlers = HANDLERS | _HANDLERS

    def _new_publisher(self) -> Publisher:
        self._publisher = Publisher(self.name, self._timers, self._effects, self._expected)
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

    def _released(self, job: JobState, first: int, n: int) -> None:
        self._flow.release(job, first, n)

    # What stages before this one send

    def _given(
        self, session: ClientSession, message: Submit, batch: Batch | None, now: float
    ) -> None:
        job = session.jobs.get(message.job)
        if job is not None and message.n:
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
        for _ in range(len(job.kept)):  # most often the first ones
            outcome, payloads = job.kept.popleft()
            if not first <= outcome.first or stop < outcome.first + outcome.n:
                job.kept.append((outcome, payloads))
        self._flow.release(job, message.first, message.n)

    def _forget_given(self, session: ClientSession, keep: int) -> None:
        """Let go of the jobs of a stage that did not come over link ``keep``."""
        for job in list(session.jobs.values()):
            if job.then is None and job.link != keep:
                self._dispatcher.close(job)

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

    def _finish(self, now: float) -> None:
        for session in self._upstreams.sessions:
            if session.peer is not None:
                self._effects.append(Send(session.peer, Bye(session.link, f"'{self.name}' stops")))
        super()._finish(now)

    def _check_job(self, job: JobState, leased: list[tuple[int, int]]) -> None:
        if job.passage is None:
            super()._check_job(job, leased)
            return
        held = self._flow.numbers(job.passage) | self._publisher.numbers(job.passage)
        held |= {n for start, stop in self._durability.spans(job) for n in range(start, stop)}
        held |= {piece.first + at for piece in job.astray for at in range(piece.n)}
        open_ = {seq for start, stop in job.open_ranges() for seq in range(start, stop)}
        if not open_ <= held:
            raise PalmError(f"lost on its way: {sorted(open_ - held)} of job {job.id!r}")


def _place(job: JobState) -> str:
    stage = job.route.stage if job.route is not None else 0
    return f"stage {stage + 1}"


_HANDLERS: dict[tuple[str, type[Message]], Callable[..., None]] = {
    ("upstream", Submit): StageMachine._given,
    ("upstream", Release): StageMachine._release,
    ("upstream", Close): StageMachine._close,
    ("stage", Outcome): StageMachine._outcome,
    ("stage", Notice): StageMachine._notice,
    ("stage", Bye): StageMachine._stage_bye,
}
