"""Jobs in line for the workers of their function: the highest priority first, then in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from palm.protocol.jobs import JobState

__all__ = ["Lines"]


class Lines:
    """The jobs that have something to lease, by function and priority."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[int, deque[JobState]]] = {}
        #: Count of the jobs with a priority of their own.
        self._special = 0

    def __contains__(self, function: str) -> bool:
        return function in self._lines

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[tuple[str, list[JobState]]]:
        for function, lines in list(self._lines.items()):
            yield function, [job for line in lines.values() for job in line]

    @property
    def plain(self) -> bool:
        """Whether all jobs have the same priority: any that comes first will do."""
        return not self._special

    def add(self, job: JobState) -> None:
        """Put a job at the end of its line; harmless when it is in it."""
        if job.listed:
            return
        job.listed = True
        priority = job.terms.priority
        lines = self._lines.setdefault(job.function, {})
        if priority not in lines:
            lines[priority] = deque()
            if len(lines) > 1:
                self._lines[job.function] = dict(sorted(lines.items(), reverse=True))
                lines = self._lines[job.function]
        lines[priority].append(job)
        self._special += priority != 0

    def remove(self, job: JobState) -> None:
        """Take a job out of its line; harmless when it is in none."""
        if not job.listed:
            return
        job.listed = False
        priority = job.terms.priority
        lines = self._lines[job.function]
        lines[priority].remove(job)
        self._special -= priority != 0
        if not lines[priority]:
            del lines[priority]
            if not lines:
                del self._lines[job.function]

    def first(self, function: str) -> JobState | None:
        """Return the job of a function whose turn it is; those without anything leave the line."""
        while function in self._lines:
            job: JobState = next(iter(self._lines[function].values()))[0]
            if job.waiting:
                return job
            self.remove(job)
        return None

    def served(self, job: JobState) -> None:
        """Note that it was a job's turn: the others of its priority come first now."""
        if job.listed:
            line = self._lines[job.function][job.terms.priority]
            if line[0] is job:
                line.rotate(-1)
