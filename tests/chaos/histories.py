"""What the clients and workers of a run wrote down, and whether it is as promised.

A *history* is what one client process wrote of its jobs, in order; a *journal* is what one worker
process wrote of the messages that it ran. Modes of a job:

any       outcomes in any order
ordered   outcomes in the order of the messages
once      any order, and no message may be begun twice
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tests.chaos.work import answer

__all__ = ["Job", "Journal", "Verdict", "judge", "read_history", "read_journal"]

#: How often a message must have been begun and not ended before it may be called poison.
MAX_DEATHS: Final = 3

#: Microseconds between two faults from which on the longest time without a result is that of the
#: first of them.
QUIET: Final = 2_000_000

#: Errors that a job may end a message with, by its mode, though its function raises none.
_ALLOWED: Final = {"once": {"WorkerLost", "MasterLost"}}

Key = tuple[int, int]


@dataclass
class Job:
    """One job as its client saw it; ``end`` is done, hung, failed, or empty: it was killed."""

    number: int
    n: int
    mode: str
    end: str = ""
    #: Index (what the result says, or -1 if unknown) and position (-1 if unknown) in the order
    #: of arrival.
    results: list[tuple[int, int]] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)
    #: When the results came.
    times: list[int] = field(default_factory=list)
    #: Results that are not what belongs to their message.
    wrong: int = 0


@dataclass
class Journal:
    """What one worker process did: (job, index, when it began, when it ended or 0)."""

    pid: int
    runs: list[tuple[int, int, int, int]] = field(default_factory=list)

    @property
    def unfinished(self) -> Key | None:
        """What it had begun and not ended when it wrote its last line."""
        if self.runs and not self.runs[-1][3]:
            return self.runs[-1][:2]
        return None


@dataclass
class Verdict:
    """What a run comes to; ``complaints`` says what is not as promised."""

    jobs: Counter[str] = field(default_factory=Counter)
    #: Of jobs whose client lived: messages, and what became of them.
    messages: int = 0
    results: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    #: Without an outcome: the job ended without, did not go on, or ended in an error.
    lost: int = 0
    hung: int = 0
    failed: int = 0
    #: Of all jobs: outcomes that were not the first of their message, and false results.
    doubled: int = 0
    wrong: int = 0
    misplaced: int = 0
    #: Starts of the function, and how many of them were not the first of their message.
    executions: int = 0
    again: int = 0
    #: Workers killed with -9 while they ran a message.
    killed_in_the_middle: int = 0
    #: Milliseconds from such a kill until the message was begun again.
    begun_again_after: list[float] = field(default_factory=list)
    #: Milliseconds for which no result came after a fault, by its kind, if there was no other
    #: fault for `QUIET`; without jobs of at most once, which wait on purpose.
    gaps: dict[str, list[float]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def read_history(text: str) -> list[Job]:
    """Return the jobs of one client process."""
    jobs: list[Job] = []
    for line in _whole_lines(text):
        what, *fields = line.split()
        if what == "submit":
            jobs.append(Job(int(fields[0]), int(fields[1]), fields[2]))
        elif what == "result":
            position, job, index, value = map(int, fields[:4])
            jobs[-1].results.append((index, position))
            jobs[-1].times.append(int(fields[4]))
            jobs[-1].wrong += (job, value) != (jobs[-1].number, answer(jobs[-1].number, index))
        elif what == "error":
            jobs[-1].errors.append((int(fields[0]), fields[1]))
        elif jobs:  # hung: it may not even have begun
            jobs[-1].end = jobs[-1].end or (f"failed: {fields[0]}" if what == "failed" else what)
    return jobs


def read_journal(pid: int, text: str) -> Journal:
    """Return what one worker process did."""
    journal = Journal(pid)
    for line in _whole_lines(text):
        what, *fields = line.split()
        job, index, at = map(int, fields)
        if what == "begin":
            journal.runs.append((job, index, at, 0))
        else:
            begun = journal.runs[-1]
            journal.runs[-1] = (job, index, begun[2], at)
    return journal


def read_all(folder: Path) -> tuple[list[Job], list[Journal], list[list[str]]]:
    """Return what is in the folder of a run: jobs, journals, and the faults."""
    jobs = [job for path in sorted((folder / "clients").iterdir()) for job in _history(path)]
    journals = [
        read_journal(int(path.name.partition("-")[0]), path.read_text())
        for path in sorted((folder / "workers").iterdir())
    ]
    faults = folder / "faults"
    lines = faults.read_text().splitlines() if faults.exists() else []
    return jobs, journals, [line.split() for line in lines]


def judge(
    jobs: Iterable[Job], journals: Sequence[Journal], faults: Sequence[Sequence[str]] = ()
) -> Verdict:
    """Hold the jobs of a run against what was promised and what the workers did."""
    verdict = Verdict()
    begun: Counter[Key] = Counter()
    ended: Counter[Key] = Counter()
    for journal in journals:
        begun.update((job, index) for job, index, _, _ in journal.runs)
        ended.update((job, index) for job, index, _, end in journal.runs if end)
    verdict.executions, verdict.again = begun.total(), begun.total() - len(begun)
    jobs = list(jobs)
    for job in jobs:
        _judge_outcomes(job, verdict)
        _judge_executions(job, begun, ended, verdict)
    _look_at_kills(journals, faults, verdict)
    _look_at_gaps(jobs, faults, verdict)
    return verdict


def _judge_outcomes(job: Job, verdict: Verdict) -> None:
    complain = _Complaints(job, verdict)
    seen = Counter(index for index, _ in job.results)
    seen.update(index for index, _ in job.errors)
    doubled = seen.total() - len(seen)
    misplaced = _misplaced(job)
    strangers = [index for index in seen if not 0 <= index < job.n]
    verdict.jobs[job.end or "killed"] += 1
    verdict.doubled += doubled
    verdict.wrong += job.wrong + len(strangers)
    verdict.misplaced += misplaced
    complain(doubled, "outcomes of messages that had one")
    complain(job.wrong, "results that are not f(input)")
    complain(len(strangers), "outcomes of messages that were never sent")
    complain(misplaced, "outcomes in the place of another")
    if not job.end:
        return
    missing = job.n - len(seen) + len(strangers)
    verdict.messages += job.n
    verdict.results += len(job.results)
    verdict.errors.update(name for _, name in job.errors)
    if job.end == "done":
        verdict.lost += missing
        complain(missing, "messages without an outcome")
    else:
        verdict.hung += missing if job.end == "hung" else 0
        verdict.failed += missing if job.end != "hung" else 0
        complain(missing or 1, f"messages without an outcome: the job is {job.end}")


def _misplaced(job: Job) -> int:
    moved = sum(position not in (-1, index) for index, position in job.results)
    if job.mode != "ordered" or job.errors:
        return moved
    indices = [index for index, _ in job.results]
    return moved + (indices != sorted(indices))


def _judge_executions(job: Job, begun: Counter[Key], ended: Counter[Key], verdict: Verdict) -> None:
    complain = _Complaints(job, verdict)
    made_up = sum(not ended[job.number, index] for index, _ in job.results)
    complain(made_up, "results of messages that no worker ended")
    if job.mode == "once":
        twice = sum(begun[job.number, index] > 1 for index in range(job.n))
        complain(twice, "messages that were begun twice, in a job of at most once")
    allowed = _ALLOWED.get(job.mode, set())
    unfounded: Counter[str] = Counter()
    for index, name in job.errors:
        key = job.number, index
        poison = name == "PoisonTask" and begun[key] - ended[key] >= MAX_DEATHS
        if not poison and name not in allowed:
            unfounded[name] += 1
    for name, count in unfounded.items():
        complain(count, f"messages that ended as {name}")


def _look_at_kills(
    journals: Sequence[Journal], faults: Sequence[Sequence[str]], verdict: Verdict
) -> None:
    starts: defaultdict[Key, list[int]] = defaultdict(list)
    for journal in journals:
        for job, index, at, _ in journal.runs:
            starts[job, index].append(at)
    unfinished = {journal.pid: journal.unfinished for journal in journals}
    for kind, role, pid, at in faults:
        key = unfinished.get(int(pid))
        if (kind, role) != ("kill", "worker") or key is None:
            continue
        verdict.killed_in_the_middle += 1
        later = [start - int(at) for start in starts[key] if start > int(at)]
        if later:
            verdict.begun_again_after.append(min(later) / 1000)


def _look_at_gaps(jobs: Iterable[Job], faults: Sequence[Sequence[str]], verdict: Verdict) -> None:
    came = sorted(at for job in jobs if job.mode != "once" for at in job.times)
    if not came:
        return
    hits = [(int(at), f"{kind} {role}") for kind, role, _, at in faults]
    ends = [at for at, _ in hits[1:]] + [came[-1]]
    for (at, kind), end in zip(hits, ends, strict=False):
        if end - at >= QUIET:
            within = [at, *came[bisect_left(came, at) : bisect_right(came, end)], end]
            gap = max(later - earlier for earlier, later in pairwise(within))
            verdict.gaps.setdefault(kind, []).append(gap / 1000)


class _Complaints:
    """Adds complaints about a job to a verdict."""

    def __init__(self, job: Job, verdict: Verdict) -> None:
        self._job = job
        self._complaints = verdict.complaints

    def __call__(self, count: int, what: str) -> None:
        if count:
            job = self._job
            name = f"job {job.number} ({job.mode}, {job.n} messages, {job.end or 'killed'})"
            self._complaints.append(f"{name}: {count} {what}")


def _history(path: Path) -> list[Job]:
    return read_history(path.read_text())


def _whole_lines(text: str) -> list[str]:
    return text[: text.rfind("\n") + 1].splitlines()
