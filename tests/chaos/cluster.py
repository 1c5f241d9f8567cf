"""A whole cluster: a registry, a runner, and a master and workers that the runner keeps running.

Nothing here starts again what was killed: that is for the runner, and for `palm.up`, whose lease
this process holds as a notebook does. It only looks on, and at the end asks three things: is all
there again, does the registry have each line that was written, and is nothing left when it is over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final, Self
from unittest import mock

from palm.clusters import Cluster, up
from palm.errors import PalmError
from palm.runtime.folders import Folders
from tests.chaos.component import MASTER
from tests.chaos.lives import Lives
from tests.chaos.members import Members
from tests.chaos.processes import Place, Slot
from tests.chaos.said import compare, is_complete, read_said, stored_lines
from tests.support.output import StoredOutput

__all__ = ["ClusterSystem"]

NAME: Final = "chaos"
WORKERS: Final = f"{MASTER}-worker"

#: Seconds after which all must be as it was; an end in a row of many is followed by a start up to
#: 12 s later, and that may fail as long as the master is not there.
_BOUND: Final = 90.0
_PAUSE: Final = 0.05

#: Seconds for which it goes on if this process is killed, after those of the lease.
_LINGER: Final = 5.0

_FILE: Final = """
[cluster]
name = "{cluster}"

[components.{master}]
role = "master"
module = "tests.chaos.component"
args = ["master"]
restart = "always"

[components.{workers}]
role = "worker"
module = "tests.chaos.component"
args = ["worker"]
replicas = {count}
needs = ["{master}"]
restart = "always"
"""


class ClusterSystem:
    """Starts a cluster, shows who can be hit, and sees that it is as it should be afterwards."""

    #: What is killed is back after a second or several, not at once.
    pace = 2.0
    roles = frozenset({"registry", "runner", "master", "worker", "client"})

    def __init__(self, place: Place, count: int, clients: Callable[[Place], list[Slot]]) -> None:
        place.environment["PALM_CLUSTER"] = NAME
        self.slots = clients(place)
        self.complaints: list[str] = []
        self.figures: dict[str, Any] = {}
        self._place = place
        self._count = count
        self._stack = ExitStack()
        for name in ("lives", "said"):
            (place.folder / name).mkdir()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ, self._place.environment, clear=True))
            self._cluster = stack.enter_context(up(cluster=NAME, linger=_LINGER))
            file = self._place.folder / "cluster.toml"
            values = {"cluster": NAME, "master": MASTER, "workers": WORKERS, "count": self._count}
            file.write_text(_FILE.format_map(values))
            self._cluster.apply(file)
            for name in (MASTER, WORKERS):
                self._cluster.wait_ready(name, _BOUND)
            names = {f"{WORKERS}-{number}": "worker" for number in range(self._count)}
            lives = Lives(self._place.folder / "lives")
            self.victims = Members(Folders.find(), lives, {MASTER: "master", **names})
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def look(self) -> None:
        """See how all are; to be called all the time."""
        self.victims.look()

    def end(self) -> None:
        """Once there are no more faults: see that all is well, and end all."""
        begun = time.monotonic()
        if self._wait(self._is_well, "all is as it was, and the status says so"):
            self.figures["ready again"] = 1000 * (time.monotonic() - begun)
        self._check_output()
        self.figures["recoveries"] = self.victims.recoveries()
        begun = time.monotonic()
        try:
            self._cluster.down()
        except PalmError as error:
            self.complaints.append(f"the cluster did not end: {error}")
        self.figures["down"] = 1000 * (time.monotonic() - begun)
        self.victims.lives.look()
        left = self.victims.lives.now_by_name()
        if left:
            self.complaints.append(f"left when the cluster had ended: {left}")
        self.complaints += self.victims.lives.complaints

    def _wait(self, holds: Callable[[Cluster], bool], what: str) -> bool:
        deadline = time.monotonic() + _BOUND
        why = ""
        while time.monotonic() < deadline:
            self.look()
            try:
                if holds(self._cluster):
                    return True
                why = str(self._cluster.status())
            except PalmError as error:
                why = str(error)
            time.sleep(_PAUSE)
        self.complaints.append(f"not within {_BOUND:g} s: {what}\n{why}")
        return False

    def _is_well(self, cluster: Cluster) -> bool:
        """Whether all is ready, and each process is the one that the status names."""
        status = cluster.status()
        said = {each.name: each.pid for one in status.components for each in one.processes}
        functions = {one.name: one.functions for one in status.components}
        return (
            status.ready
            and said == self.victims.lives.now_by_name()
            and len(said) == self._count + 1
            and functions[WORKERS] == ("work",)
            and all(member.is_there for member in self.victims.all)
        )

    def _check_output(self) -> None:
        """Hold what the registry has against what each process wrote."""
        said = read_said(self._place.folder / "said")
        output = StoredOutput(self._cluster.registry, NAME, limit=1000)
        begun = time.monotonic()
        try:
            self._wait(lambda _: self._has(output, said), "the registry has all output")
        except AssertionError as error:
            self.complaints.append(f"the output in the registry: {error}")
        stored = stored_lines(bytes(data) for data in output.streams.values())
        self.complaints += compare(said, stored)
        self.figures["complete"] = 1000 * (time.monotonic() - begun)
        self.figures["output"] = sum(map(len, stored.values()))

    @staticmethod
    def _has(output: StoredOutput, said: dict[str, list[bytes]]) -> bool:
        output.read()
        streams = (bytes(data) for data in output.streams.values())
        return is_complete(said, stored_lines(streams))
