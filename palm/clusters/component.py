"""A component of a cluster: a name, and the one or more processes behind it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palm.clusters.declaration import Declaration
from palm.clusters.status import ComponentStatus, Status, table
from palm.runner.spool import Stream

if TYPE_CHECKING:
    from palm.clusters.cluster import Cluster

__all__ = ["Change", "Component"]


@dataclass(frozen=True, slots=True)
class Change:
    """What the latest `Cluster.start` did: "started", "kept", "replaced" or "scaled" something.

    ``functions`` and ``replicas`` are those of what was replaced, ``before`` its declaration if
    it was made here.
    """

    kind: str
    before: Declaration | None = None
    functions: tuple[str, ...] = ()
    replicas: int = 0


class Component:
    """One component; made by `Cluster.start`. Its properties show the present state."""

    def __init__(self, cluster: Cluster, name: str, role: str) -> None:
        self._cluster = cluster
        self._name = name
        self._role = role
        #: What was asked for, if it was here.
        self.declared: Declaration | None = None
        #: What the latest `Cluster.start` of this name did.
        self.change = Change("kept")
        #: The version of it that was asked for last.
        self.generation = 0
        #: Its instances that had ended by then.
        self.over: frozenset[str] = frozenset()

    @property
    def cluster(self) -> Cluster:
        """The cluster it belongs to."""
        return self._cluster

    @property
    def name(self) -> str:
        """Its name; the processes of a worker are called ``NAME-0``, ``NAME-1`` and so on."""
        return self._name

    @property
    def role(self) -> str:
        """What it is: "master", "worker", ..., or "process"."""
        return self._role

    @property
    def replicas(self) -> int:
        """How many processes are wanted."""
        return self.status().desired

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
        return self._cluster.endpoints(self._name)

    @property
    def connection_file(self) -> str:
        """For ``jupyter console --existing``, if it runs as a kernel; else ""."""
        return self._cluster.connection_file(self._name)

    def status(self) -> ComponentStatus:
        """Its processes at this moment."""
        return self._cluster.component_status(self._name)

    def wait_ready(self, timeout: float = 30.0) -> Component:
        """Wait until all replicas are ready.

        Raises
        ------
        StartFailed
            With the last error output of the first replica that ended, or was too slow.
        """
        self._cluster.wait_ready(self._name, timeout)
        return self

    def stop(self, grace: float = 5.0) -> None:
        """End its processes: SIGTERM, and SIGKILL after ``grace`` seconds."""
        self._cluster.stop(self._name, grace=grace)

    def restart(self, timeout: float = 30.0) -> Component:
        """Replace its processes by new ones, and wait until they are ready."""
        self._cluster.restart(self._name)
        return self.wait_ready(timeout)

    def signal(self, signal: str, replica: int | None = None) -> tuple[str, ...]:
        """Send a signal, as "HUP", to its processes, or to one; return the names of those.

        Each gets it once, soon or not at all.

        Raises
        ------
        ConfigError
            There is no such signal.
        RegistryError
            Nothing of it runs.
        """
        return self._cluster.signal(self._name, signal, replica)

    def scale(self, n: int) -> Component:
        """Change the number of replicas; those that stay are not touched."""
        self._cluster.scale(self._name, n)
        return self

    def logs(self, n: int = 100, stream: Stream | None = None, grep: str | None = None) -> str:
        """The last ``n`` lines of output, of all replicas, in the order they came.

        Parameters
        ----------
        stream
            "stdout" or "stderr"; both by default.
        grep
            A regular expression; only lines in which it is found.

        Raises
        ------
        ConfigError
            There is no such stream, or ``grep`` is not a regular expression.
        """
        return self._cluster.logs(self._name, n, stream, grep)

    def __repr__(self) -> str:
        return table(Status(self._cluster.name, time.time(), (self.status(),)))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))
