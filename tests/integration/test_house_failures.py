"""Registry and runner are lost, or told to end things, in the middle of a job: F15, F16, F26.

Each message that a worker begins is a line in a file. It is one of its output, too, and that in a
file of its own as well, since the output is freed on the node once it is stored: so it is known
what ran, how often, and what the registry must have.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from palm.clients import Client, Job
from palm.clusters import Cluster, Component, up
from palm.runner.local import runner_pid
from palm.runner.registry import read_registry
from tests.support.cluster import until
from tests.support.local import end_clusters
from tests.support.output import StoredOutput

pytestmark = pytest.mark.slow

BOUND = 60.0  # seconds; far beyond what any of this takes

#: Seconds for which the registry is away.
AWAY = float(os.environ.get("AWAY_SECONDS", "20"))

#: Messages without an outcome, at most: so that the job ends soon when it may.
UNDER_WAY = 1000

WORK = """
import os, time

def log(suffix):
    path = __file__.removesuffix(".py") + suffix
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

ran, said = log(".ran"), log(f".{os.environ['PALM_INSTANCE']}.said")

def work(i):
    os.write(ran, f"{i}\\n".encode())
    line = f"did {i} {'x' * (i * 7 % 500)}"
    os.write(said, f"{line}\\n".encode())
    print(line, flush=True)
    time.sleep(0.002)
    return i, os.getpid()
"""


class Work:
    """A master and workers, and a job that goes on until it is told that it may end."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.results: list[tuple[int, int]] = []
        self._file = folder / "work.py"
        self._file.write_text(WORK)
        self._may_end = threading.Event()
        self._room = threading.Semaphore(UNDER_WAY)
        self.workers = self.start(4)
        self.client: Client = cluster.client("foo")
        self.job: Job = self.client.job("foo.work", self._messages())

    def start(self, replicas: int) -> Component:
        """Start all, as far as it does not run."""
        self.cluster.start("master", "foo")
        target, args = str(self._file), ("--master", "foo")
        group = self.cluster.start("worker", "foo-worker", target, replicas=replicas, args=args)
        self.cluster["foo"].wait_ready()
        return group.wait_ready()

    def _messages(self) -> Iterator[int]:
        for number in itertools.count():
            self._room.acquire()
            if self._may_end.is_set():
                return
            yield number

    def _take(self, result: tuple[int, int]) -> None:
        self.results.append(result)
        self._room.release()

    def goes_on(self, more: int = 200) -> None:
        """Wait for so many more outcomes."""
        for result in itertools.islice(self.job, more):
            self._take(result)

    def end(self) -> None:
        """Let the job end; each message has its result, once."""
        self._may_end.set()
        self._room.release()
        for result in self.job:
            self._take(result)
        assert sorted(i for i, _ in self.results) == list(range(len(self.results)))
        assert self.job.state == "done"
        assert self.job.progress.failed == 0

    def runs(self) -> Counter[int]:
        """How often each message was begun."""
        return Counter(map(int, self._file.with_suffix(".ran").read_text().split()))

    def said(self) -> dict[str, list[bytes]]:
        """The lines that each worker noted just before it wrote them."""
        return {
            path.name.removeprefix("work.").removesuffix(".said"): path.read_bytes().splitlines()
            for path in self._file.parent.glob("work.*.said")
        }

    def check_output(self, killed: int = 0) -> None:
        """The registry has what was written, and that has a line for each run of a message.

        Of each that was killed the last line may not have been written any more.
        """
        stored = StoredOutput(self.cluster.registry, self.cluster.name)
        until(stored.has_all, within=BOUND, what="all output is in the registry")
        stored.check_kept()
        runs, missing = Counter[int](), 0
        for instance, said in self.said().items():
            data = bytes(stored.streams[instance, "stdout"])
            lines = re.findall(rb"^did \d+ x*$", data, re.MULTILINE)
            assert lines == said[: len(lines)], instance
            missing += len(said) - len(lines)
            runs.update(int(line.split()[1]) for line in lines)
        assert missing <= killed
        assert (self.runs() - runs).total() <= killed
        assert not runs - self.runs()


@contextmanager
def working(folder: Path, *, hold: bool) -> Iterator[Work]:
    """A cluster at work; ``hold`` has this process bring back what is killed of its house."""
    with ExitStack() as stack:
        cluster = stack.enter_context(up(linger="forever", hold=hold))
        stack.callback(end_clusters)
        work = Work(cluster, folder)
        stack.callback(work.client.close)
        work.goes_on()
        yield work


@pytest.fixture
def work(palm_home: Path, tmp_path: Path) -> Iterator[Work]:
    with working(tmp_path, hold=True) as work:
        yield work


def everyone(cluster: Cluster) -> dict[str, int | None]:
    """The processes of all components by name, by what the registry knows."""
    status = cluster.status()
    return {each.name: each.pid for one in status.components for each in one.processes}


def is_running(pid: int | None) -> bool:
    try:
        os.kill(pid or 0, 0)
    except ProcessLookupError:
        return False
    return True


def test_f15_job_goes_on_without_a_runner_and_the_next_one_takes_over_what_runs(
    palm_home: Path, tmp_path: Path
) -> None:
    with working(tmp_path, hold=False) as work:
        cluster, before = work.cluster, everyone(work.cluster)
        os.kill(runner_pid(cluster.folders) or 0, signal.SIGKILL)
        until(lambda: runner_pid(cluster.folders) is None, within=BOUND)
        work.goes_on()
        victim = before["foo-worker-3"]
        os.kill(victim or 0, signal.SIGKILL)
        until(lambda: not is_running(victim), within=BOUND)
        work.goes_on()
        assert runner_pid(cluster.folders) is None, "nobody was to start one yet"

        with up(hold=False):  # as whoever starts or changes something
            until(lambda: runner_pid(cluster.folders), within=BOUND)
        until(lambda: everyone(cluster)["foo-worker-3"] not in (None, victim), within=BOUND)
        until(lambda: cluster.status().ready, within=BOUND)
        after = everyone(cluster)
        assert [name for name in before if before[name] != after[name]] == ["foo-worker-3"]
        while after["foo-worker-3"] not in {pid for _, pid in work.results}:
            work.goes_on()
        work.end()
        restarts = {p.name: p.restarts for c in cluster.status().components for p in c.processes}
        assert restarts.pop("foo-worker-3") == 1
        assert set(restarts.values()) == {0}
        work.check_output(killed=1)


def change(step: str, work: Work) -> None:
    """Do something that ends workers, or all, on purpose; and wait until they are back."""
    workers = work.workers
    if step.startswith("scale"):
        wanted = int(step.split()[1])
        workers.scale(wanted)
        until(lambda: len(workers.pids) == wanted and work.cluster.status().ready, within=BOUND)
    elif step == "restart":
        before = set(workers.pids)
        workers.restart(BOUND)
        assert not before & set(workers.pids)
    elif step == "stop":
        workers.stop()
        assert not workers.pids
        work.start(4)
    else:
        with up(hold=False) as other:  # not we: whoever ends a cluster lets go of it
            other.down()
        assert not list(work.cluster.folders.components.glob("*.json"))
        work.start(4)


@pytest.mark.parametrize(
    "steps",
    [("scale 2", "scale 4"), ("restart",), ("stop",), ("down",),
     ("restart", "scale 2", "stop", "scale 4", "restart")],
    ids=" then ".join,
)  # fmt: skip
def test_f16_what_is_stopped_on_purpose_runs_nothing_twice(
    work: Work, steps: tuple[str, ...]
) -> None:
    for step in steps:
        change(step, work)
        work.goes_on(500)
    work.end()
    assert work.runs() == Counter(range(len(work.results)))
    assert work.job.progress.retried == 0
    work.check_output()


def stop_still(cluster: Cluster) -> Callable[[], object]:
    """Have the registry stand still: it is there and answers nobody."""
    record = read_registry(cluster.folders)
    assert record is not None
    os.kill(record.pid, signal.SIGSTOP)
    return lambda: os.kill(record.pid, signal.SIGCONT)


def end_on_purpose(cluster: Cluster) -> Callable[[], object]:
    """End the registry as an administrator does: nobody brings it back by himself."""
    record = read_registry(cluster.folders)
    assert record is not None
    os.kill(record.pid, signal.SIGTERM)
    until(lambda: read_registry(cluster.folders) is None, within=BOUND)
    return lambda: up(hold=False).close()


@pytest.mark.timeout(AWAY + 180)
@pytest.mark.parametrize(
    ("leave", "seconds"), [(stop_still, AWAY), (end_on_purpose, AWAY / 3)], ids=["stopped", "ended"]
)
def test_f26_registry_that_is_away_holds_up_nobody_and_lacks_nothing_afterwards(
    work: Work, leave: Callable[[Cluster], Callable[[], object]], seconds: float
) -> None:
    before = everyone(work.cluster)
    come_back = leave(work.cluster)
    back_at = time.monotonic() + seconds
    while time.monotonic() < back_at:
        work.goes_on(100)
    come_back()
    work.goes_on(100)
    work.end()
    assert work.runs() == Counter(range(len(work.results)))
    until(lambda: work.cluster.status().ready, within=BOUND)
    assert everyone(work.cluster) == before
    work.check_output()
