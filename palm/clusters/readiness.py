"""Waiting until a component is ready, and saying why it is not."""

from __future__ import annotations

import time
from collections.abc import Callable, Set

from palm.clusters.output import last_lines
from palm.errors import PalmError
from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import ComponentStatus, ReplicaStatus
from palm.spec.process import StartFailed

__all__ = ["Readiness"]

#: Seconds between two looks at a component.
_POLL = 0.01
#: Seconds for the last words of a process that ended, and how many lines of them are shown.
_LAST_WORDS = 3.0
_STDERR_LINES = 20


class Readiness:
    """Looks at the components of one cluster; ``problem`` says why there is no runner."""

    def __init__(self, client: RegistryClient, cluster: str, problem: Callable[[], str]) -> None:
        self._client = client
        self._cluster = cluster
        self._problem = problem

    def wait(
        self, name: str, generation: int, timeout: float, *, is_new: bool, over: Set[str]
    ) -> None:
        """Wait until all replicas of a component are ready, in this generation or a later one.

        One that ``is_new`` fails with its first attempt; one that ran before gets its chances.
        Instances in ``over`` had ended before: how they ended says nothing.

        Raises
        ------
        StartFailed
            With the last error output of the first replica that ended, or was too slow.
        PalmError
            There is no runner to start it.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = self._find(name)
            if found is None or not found.desired:
                raise StartFailed(name, "was stopped before it was ready")
            if found.generation >= generation and _is_complete(found):
                return
            self._check(found, generation, is_new=is_new, over=over)
            if time.monotonic() > deadline:
                raise self._too_slow(found, timeout)
            time.sleep(_POLL)

    def last_errors(self) -> dict[str, str]:
        """The last error output of each process that failed, or is about to be tried again."""
        return {
            replica.name: self._stderr(replica)
            for component in self._client.components(self._cluster)
            for replica in component.replicas
            if component.desired and replica.state in ("failed", "backing-off")
        }

    def _find(self, name: str) -> ComponentStatus | None:
        try:
            return self._client.component(self._cluster, name)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def _check(
        self, found: ComponentStatus, generation: int, *, is_new: bool, over: Set[str]
    ) -> None:
        """Raise if a replica is known not to become ready."""
        states = ["failed", "backing-off"] if is_new else ["failed"]
        if found.role != "process":
            states.append("stopped")
        for replica in found.replicas:
            counts = replica.generation >= generation and replica.instance not in over
            if counts and replica.state in states:
                raise StartFailed(replica.name, replica.reason, self._stderr(replica))

    def _too_slow(self, found: ComponentStatus, timeout: float) -> PalmError:
        if problem := self._problem():
            return PalmError(f"{found.name} cannot be started: {problem}")
        reason = f"was not ready within {timeout:g} s"
        for replica in found.replicas:
            if replica.state != "ready":
                stderr = self._stderr(replica)
                return StartFailed(replica.name, reason, stderr, timed_out=True)
        why = f" ({found.reason})" if found.reason else ""
        return StartFailed(found.name, f"{reason}{why}", timed_out=True)

    def _stderr(self, replica: ReplicaStatus) -> str:
        """The last error output of a process, once all of it has arrived."""
        end = replica.written.get("stderr")
        deadline = time.monotonic() + _LAST_WORDS
        while True:
            page = self._client.output(
                self._cluster, name=replica.name, stream="stderr", lines=_STDERR_LINES
            )
            records = [each for each in page.records if each.instance == replica.instance]
            have = records[-1].end if records else 0
            if end is None or have >= end or time.monotonic() > deadline:
                return "\n".join(line.text for line in last_lines(records, _STDERR_LINES))
            time.sleep(_POLL)


def _is_complete(found: ComponentStatus) -> bool:
    # A server that has ended serves nobody; any other program may have done what it was for.
    done = found.done if found.role == "process" else 0
    return found.actual + done >= found.desired
