"""A component of a cluster: a name, and the one or more processes behind it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palm.clusters.declaration import Declaration
from palm.clusters.status import ComponentStatus, Status, table
from palm.errors import ConfigError
from palm.runner.spool import STREAMS, Stream

if TYPE_CHECKING:
    from palm.clusters.cluster import Cluster

__all__ = ["Change", "Component"]


@dataclass(frozen=True, slots=True)
class Change:
    """What the latest `Cluster.start` did: "started", "kept" or "replaced" something.

    ``before`` and ``functions`` describe what was replaced.
    """

    kind: str
    before: Declaration | None = None
    functions: tuple[str, ...] = ()


class Component:
    """One component; made by `Cluster.start`. Its properties show the present state."""

    def __init__(self, cluster: Cluster, declared: Declaration, change: Change) -> None:
        self._cluster = cluster
        self.declared = declared
        #: What the latest `Cluster.start` of this name did.
        self.change = change
        #: Functions that its processes serve, as last seen.
        self.served: tuple[str, ...] = ()

    @property
    def cluster(self) -> Cluster:
        """The cluster it belongs to."""
        return self._cluster

    @property
    def name(self) -> str:
        """Its name; the processes of a worker are called ``NAME-0``, ``NAME-1`` and so on."""
        return self.declared.name

    @property
    def role(self) -> str:
        """What it is: "master" or "worker"."""
        return self.declared.role

    @property
    def replicas(self) -> int:
        """How many processes are wanted."""
        return self.declared.replicas

    @property
    def state(self) -> str:
        """The state of the process that needs attention most."""
        return self.status().state

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run."""
        return tuple(p.pid for p in self.status().processes if p.pid is not None)

    @property
    def pid(self) -> int | None:
        """The first process that runs."""
        return next(iter(self.pids), None)

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the functions that its processes serve."""
        return self.status().functions

    @property
    def endpoints(self) -> dict[str, str]:
        """Addresses of its first process, by port ("pull", "db", ...)."""
        record = self._cluster.records().get(self.declared.instances[0])
        return dict(record.endpoints) if record is not None else {}

    def status(self) -> ComponentStatus:
        """Its processes at this moment."""
        return self._cluster.component_status(self.name)

    def wait_ready(self, timeout: float = 30.0) -> Component:
        """Wait until all replicas are ready.

        Raises
        ------
        StartFailed
            With the last error output of the first replica that ended, or was too slow.
        """
        self._cluster.host.wait_ready(self.declared.instances, timeout)
        return self

    def stop(self, grace: float = 5.0) -> None:
        """End its processes: SIGTERM, and SIGKILL after ``grace`` seconds."""
        self._cluster.stop(self.name, grace=grace)

    def restart(self, timeout: float = 30.0) -> Component:
        """Stop it, start it as it was, and wait until it is ready."""
        self._cluster.restart(self.name)
        return self.wait_ready(timeout)

    def scale(self, n: int) -> Component:
        """Change the number of replicas; those that stay are not touched."""
        self._cluster.scale(self.name, n)
        return self

    def logs(self, n: int = 100, stream: Stream | None = None, grep: str | None = None) -> str:
        """The last ``n`` lines of output, of all replicas.

        Parameters
        ----------
        stream
            "stdout" or "stderr"; both by default, stderr last.
        grep
            A regular expression; only lines in which it is found.
        """
        if stream is None:
            out, err = self._stream("stdout", n, grep), self._stream("stderr", n, grep)
            lines = [*out, "--- stderr ---", *err] if err else out
        elif stream in STREAMS:
            lines = self._stream(stream, n, grep)
        else:
            raise ConfigError(f"no such stream: {stream!r}", hint="stdout or stderr")
        return "\n".join(lines)

    def _stream(self, stream: Stream, n: int, grep: str | None) -> list[str]:
        """The last lines of all replicas by time; those without one follow the line before."""
        tails = {i: self._cluster.host.tail(i, stream, n, grep) for i in self.declared.instances}
        if len(tails) == 1:
            return next(iter(tails.values()))
        stamped: list[tuple[str, str]] = []
        for instance, tail in tails.items():
            stamp = ""
            for line in tail:
                found = _STAMP.match(line)
                stamp = found[0] if found else stamp
                stamped.append((stamp, f"{instance} | {line}"))
        stamped.sort(key=_by_stamp)
        return [line for _, line in stamped][-n:]

    def __repr__(self) -> str:
        return table(Status(self._cluster.name, time.time(), (self.status(),)))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:,\d+)?")


def _by_stamp(entry: tuple[str, str]) -> str:
    return entry[0]
