"""The ancestor's three scripts through registry and runner, each process killed with -9 in turn,
and then all at once.

A client sends messages all the time, and the third script runs between the kills. Registry and
runner are brought back by a lease, as a notebook has it; all else by the runner.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.clients import Client
from palm.clusters import Cluster, connect
from palm.runner.local import runner_pid
from palm.runner.registry import read_registry
from tests.support.cluster import until
from tests.support.local import end_clusters
from tests.support.output import StoredOutput, written_digests
from tests.support.seed import BOUND, KINDS, PLAIN, Seed, copy_scripts
from tests.support.shell import arguments

pytestmark = pytest.mark.slow

VICTIMS = ("registry", "runner", "foo", "foo-worker-0", "foo-worker-1")
#: Messages without an outcome, at most.
UNDER_WAY = 200


class Stream:
    """A job without an end, until it is told that it may; its results are kept in the order."""

    def __init__(self, address: str) -> None:
        self.results: list[bytes] = []
        self.error: Exception | None = None
        self._may_end = threading.Event()
        self._room = threading.Semaphore(UNDER_WAY)
        self._client = Client("foo", address)
        self._thread = threading.Thread(target=self._run, name="stream")
        self._thread.start()

    def _messages(self) -> Iterator[bytes]:
        for number in itertools.count():
            self._room.acquire()
            if self._may_end.is_set():
                return
            yield f" {number}".encode()

    def _run(self) -> None:
        try:
            for result in self._client.job("foo.foo", self._messages(), ordered=True):
                self.results.append(result)
                self._room.release()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def goes_on(self) -> None:
        """Wait for more results."""
        wanted = len(self.results) + 2 * UNDER_WAY  # more than can have been under way before
        until(lambda: len(self.results) >= wanted or self.error, within=BOUND)
        assert self.error is None

    def end(self) -> None:
        """Let it end, and wait for that."""
        self._may_end.set()
        self._room.release()
        self._thread.join(BOUND)
        assert not self._thread.is_alive()
        self._client.close()


@pytest.fixture(params=KINDS)
def seed(request: pytest.FixtureRequest, palm_home: Path, tmp_path: Path) -> Iterator[Seed]:
    seed = Seed(copy_scripts(request.param, tmp_path))
    seed.file.write_text(PLAIN)
    seed.up()
    yield seed
    end_clusters()


def pid_of(cluster: Cluster, name: str) -> int | None:
    """The process that has a place now."""
    if name == "runner":
        return runner_pid(cluster.folders)
    if name == "registry":
        record = read_registry(cluster.folders)
        return record.pid if record is not None and record.is_running else None
    status = cluster.status()
    found = {each.name: each.pid for one in status.components for each in one.processes}
    return found[name]


def kill(cluster: Cluster, *names: str) -> None:
    """Kill processes, and wait until others have their places, and all is ready."""
    before = {name: pid_of(cluster, name) for name in names}

    def others_are_there() -> bool:
        return all(pid_of(cluster, name) not in (None, pid) for name, pid in before.items())

    for pid in before.values():
        os.kill(pid or 0, signal.SIGKILL)
    until(others_are_there, within=BOUND, what=f"{', '.join(names)} came back")
    until(lambda: cluster.status().ready, within=BOUND, what="all is ready")


def launch(seed: Seed, address: str) -> None:
    """Run the client of the three; it prints ten results."""
    done = seed.python("launcher.py", "--server", "foo", "--function", "foo", "--db", address)
    assert (done.returncode, done.stderr) == (0, "")
    results = [line for line in done.stdout.splitlines() if line.startswith("b'")]
    assert len(results) == 10
    assert all(line.endswith(" processed a message'") for line in results)


def test_no_outcome_is_lost_or_doubled_when_each_is_killed_and_then_all(
    seed: Seed,
) -> None:
    with connect("seed") as cluster:
        master = arguments(pid_of(cluster, "foo") or 0)
        address = master[master.index("--db") + 1]
        stream = Stream(address)
        stream.goes_on()
        for names in *((name,) for name in VICTIMS), VICTIMS:
            kill(cluster, *names)
            launch(seed, address)
            stream.goes_on()
        stream.end()
        numbers = [re.fullmatch(rb"\S+ processed (\d+)", result) for result in stream.results]
        assert [int(found[1]) for found in numbers if found] == list(range(len(stream.results)))

        restarts = {p.name: p.restarts for c in cluster.status().components for p in c.processes}
        assert restarts == {"foo": 2, "foo-worker-0": 2, "foo-worker-1": 2}
        stored = StoredOutput(cluster.registry, "seed")
        until(stored.has_all, within=BOUND, what="all output is in the registry")
        assert stored.digests() == written_digests("seed")
        assert len(stored.streams) >= 3
