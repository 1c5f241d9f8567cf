"""A journal for machines: what is on disk survives a crash, what is on its way there in part."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

from palm.protocol.effects import LoadInputs, LoadOutcomes, Write
from palm.protocol.entries import (
    Begun,
    Entry,
    Inputs,
    JobBegun,
    JobEnded,
    Outcomes,
    Owned,
    Recovered,
)
from palm.protocol.events import Event, InputsLoaded, OutcomesLoaded, Written
from palm.wire.message import Route, Terms

__all__ = ["Disk", "Kept"]


@dataclass
class Kept:
    """What is on disk of a job."""

    function: str
    client: str
    terms: Terms
    began: float
    owner: bytes = b""
    chain: str = ""
    route: Route | None = None
    closed: bool = False
    ended: bool = False
    begun: int = 0
    inputs: list[Inputs] = field(default_factory=list)
    outcomes: list[Outcomes] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """Count of its messages."""
        return sum(entry.batch.n for entry in self.inputs)


class Disk:
    """Commands wait until `work` carries some of them out.

    ``load_at_once`` is how many entries are read back at a time.
    """

    def __init__(self, load_at_once: int = 2) -> None:
        self.jobs: dict[bytes, Kept] = {}
        self.commands: deque[Write | LoadInputs | LoadOutcomes] = deque()
        self._load_at_once = load_at_once

    def put(self, command: Write | LoadInputs | LoadOutcomes) -> None:
        """Take a command of a machine."""
        self.commands.append(command)

    def work(self, n: int, now: float) -> list[Event]:
        """Carry out the next ``n`` commands; return what the machine is to hear."""
        heard: list[Event] = []
        for _ in range(min(n, len(self.commands))):
            command = self.commands.popleft()
            if isinstance(command, Write):
                self._write(command.entry, now)
                if heard and isinstance(heard[-1], Written):
                    heard.pop()  # they are written together
                heard.append(Written(command.ticket))
            elif isinstance(command, LoadInputs):
                heard.append(self._load_inputs(command))
            else:
                heard.append(self._load_outcomes(command))
        return heard

    def crash(self, survive: int, now: float) -> None:
        """Lose all that is on its way, but for the first ``survive`` commands."""
        self.work(survive, now)
        self.commands.clear()

    def recover(self, now: float) -> list[Recovered]:
        """Return what a master is told at its start."""
        return [
            Recovered(
                key,
                job.function,
                job.client,
                job.terms,
                job.accepted,
                job.closed,
                job.begun,
                len(job.outcomes),
                sum(len(e.outcome.kinds) - e.outcome.kinds.count(0) for e in job.outcomes),
                [(e.outcome.first, e.outcome.first + e.outcome.n) for e in job.outcomes],
                now - job.began,
                job.ended,
                job.owner,
                job.chain,
                job.route,
            )
            for key, job in self.jobs.items()
        ]

    def _write(self, entry: Entry, now: float) -> None:
        if isinstance(entry, JobBegun):
            assert entry.job not in self.jobs, "a job begins twice"
            job = Kept(
                entry.function,
                entry.client,
                entry.terms,
                now,
                entry.owner,
                entry.chain,
                entry.route,
            )
            self.jobs[entry.job] = job
            return
        job = self.jobs.get(entry.job)
        assert job is not None, "a job of which the disk knows nothing"
        if job.ended:
            return
        if isinstance(entry, JobEnded):
            job.ended = True
            job.inputs.clear()
            job.outcomes.clear()
        elif isinstance(entry, Owned):
            job.owner = entry.owner
        elif isinstance(entry, Begun):
            job.begun = entry.upto
        elif isinstance(entry, Inputs):
            assert entry.first == job.accepted, "messages have gaps, or come twice"
            job.closed = job.closed or entry.last
            if entry.batch.n:
                job.inputs.append(entry)
        else:
            assert entry.outcome.position == len(job.outcomes), "outcomes have gaps"
            job.outcomes.append(_copy(entry))

    def _load_inputs(self, wanted: LoadInputs) -> InputsLoaded:
        job = self.jobs.get(wanted.job)
        entries = [] if job is None else job.inputs
        found = [e for e in entries if e.first + e.batch.n > wanted.first]
        return InputsLoaded(wanted.job, found[: self._load_at_once])

    def _load_outcomes(self, wanted: LoadOutcomes) -> OutcomesLoaded:
        job = self.jobs.get(wanted.job)
        entries = [] if job is None else job.outcomes[wanted.position :]
        return OutcomesLoaded(wanted.job, [_copy(e) for e in entries[: self._load_at_once]])


def _copy(entry: Outcomes) -> Outcomes:
    """Return what cannot be changed by whoever has the other one."""
    return Outcomes(entry.job, msgspec.structs.replace(entry.outcome), entry.batch)
