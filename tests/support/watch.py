"""Looks over the shoulder of one master in a simulation: what it may not do, whatever happens."""

from __future__ import annotations

from collections import Counter

from palm.protocol.events import Event, Received
from palm.protocol.jobs import JobState
from palm.protocol.master import MasterMachine
from palm.runtime.driver import Driver
from palm.wire.message import Hello, Outcome, Result, Task
from palm.wire.outcome import Kind

__all__ = ["Watch", "WatchedDriver"]


class WatchedDriver(Driver):
    """A driver whose master is watched."""

    watch: Watch

    def handle(self, event: Event) -> None:
        """Let the master react to an event."""
        if isinstance(event, Received):
            self.watch.heard(event)
        super().handle(event)


class Watch:
    """One life of a master.

    ``partitions`` has those of the messages of each job with keys, ``births`` counts the times a
    master began to know a client, by its session.
    """

    def __init__(
        self, master: MasterMachine, partitions: dict[bytes, bytes], births: Counter[bytes]
    ) -> None:
        self._master = master
        self._partitions = partitions
        self._births = births
        #: Functions that a worker has served.
        self._served: set[str] = set()
        #: The message that was leased last for the first time, by job and partition.
        self._latest: dict[tuple[JobState, int], int] = {}
        #: How often a message raised, of those that nobody had answered before.
        self._raised: Counter[tuple[JobState, int]] = Counter()
        self._outcomes: dict[tuple[int, bytes, int], tuple[object, int]] = {}
        self._expired: set[bytes] = set()

    def heard(self, event: Received) -> None:
        """Note what the master is about to hear."""
        message, sessions = event.message, self._master._sessions
        if isinstance(message, Hello):
            if message.role == "worker":
                self._served.update(message.functions)
            elif message.session not in sessions.clients:
                self._births[message.session] += 1
        elif isinstance(message, Result) and message.kinds:
            worker = sessions.peers.get(event.peer)
            lease = getattr(worker, "leases", {}).get(message.lease)
            if worker is not None and lease is not None and message.link == worker.link:
                self._heard_failures(message, lease.job)

    def _heard_failures(self, message: Result, job: JobState) -> None:
        for at, kind in enumerate(message.kinds):
            if kind == Kind.TASK_ERROR and message.first + at not in job.done:
                self._raised[job, message.first + at] += 1

    def leased(self, task: Task) -> None:
        """Look at a lease that goes out."""
        client = self._master._sessions.clients.get(task.session)
        job = client.jobs.get(task.job) if client is not None else None
        assert job is not None, "a lease of a job that is closed"
        assert task.job not in self._expired, "a lease of a job whose time is over"
        for index in range(task.first, task.first + task.n):
            raised = self._raised[job, index]
            assert raised <= job.terms.retries, f"message {index} is tried too often"
        partitions = self._partitions.get(task.job)
        if partitions is None or task.attempt > 1:
            return
        (partition,) = set(partitions[task.first : task.first + task.n])
        latest = self._latest.get((job, partition), -1)
        assert latest <= task.first, f"message {task.first} after {latest} of its key"
        self._latest[job, partition] = task.first

    def gave(self, owner: object, job: JobState | None, outcome: Outcome) -> None:
        """Look at outcomes for a session, or for the journal; they may be repeated."""
        number = outcome.serial if outcome.position < 0 else outcome.position
        for at in range(outcome.n):
            index = outcome.first + at
            key = (id(owner), outcome.job, index)
            if key in self._outcomes:
                assert self._outcomes[key][1] == number, f"message {index} has two outcomes"
                continue
            self._outcomes[key] = (owner, number)  # whose owner lives on: its id is not another's
            if job is not None and outcome.kinds:
                self._check_failure(job, index, outcome.kinds[at], outcome.worker)

    def _check_failure(self, job: JobState, index: int, kind: int, worker: str) -> None:
        if kind == Kind.FUNCTION_NOT_FOUND:
            assert job.function not in self._served, "a function is not found that was there"
        elif kind == Kind.TASK_ERROR and worker and not job.terms.retry_on:
            raised = self._raised[job, index]
            assert raised > job.terms.retries or not job.terms.retries, "tries are left"

    def check(self) -> None:
        """No partition of a job is with two workers, or in two leases."""
        sessions = self._master._sessions
        out = Counter(
            (lease.job, lease.partition)
            for worker in sessions.workers.values()
            for lease in worker.leases.values()
            if lease.partition >= 0
        )
        assert not out or max(out.values()) == 1
        jobs = [job for client in sessions.clients.values() for job in client.jobs.values()]
        self._expired = {job.id for job in jobs if job.expired}
