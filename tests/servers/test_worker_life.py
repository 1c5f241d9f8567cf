"""What a worker does before its first message, and its end when it is to be started anew."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.clients import Client
from palm.clusters import Cluster
from palm.errors import ConfigError
from palm.servers import Worker
from tests.support.cluster import ProcessCluster, ThreadCluster, until
from tests.support.local import local_cluster

# Retiring

PIDS = """
import os, time
def pid(value):
    time.sleep(0.001)
    return value, os.getpid()
"""

GROW = """
import os
kept = []
def grow(value):
    kept.append(b'x' * value)
    return os.getpid()
"""


def test_after_so_many_messages_it_ends_well(processes: ProcessCluster) -> None:
    master = processes.master()
    start = "Worker('w', master='foo', functions={'pid': pid}, max_tasks=10)"
    first = processes.worker(PIDS, start)
    with Client("foo") as client:
        job = client.job("foo.pid", range(25))
        assert first.wait() == 0
        assert "retired, and nobody starts it again" in first.output
        master.wait_for("worker w left: it ran as many messages as it may")
        for _ in range(2):
            processes.worker(PIDS, start)
        frame = job.to_frame()
    assert sorted(frame[0]) == list(range(25))
    assert sorted(frame[1].value_counts()) == [5, 10, 10]
    assert set(frame["attempts"]) == {1}


def test_beyond_so_much_memory_it_ends_well(processes: ProcessCluster) -> None:
    master = processes.master()
    start = "Worker('w', master='foo', functions={'grow': grow}, max_rss=200 << 20)"
    first = processes.worker(GROW, start)
    with Client("foo") as client:
        job = client.job("foo.grow", [20 << 20] * 20)
        assert first.wait() == 0
        master.wait_for("worker w left: it has ")
        for _ in range(3):
            processes.worker(GROW, start)
        frame = job.to_frame()
    counts = frame["result"].value_counts()
    assert counts[first.process.pid] in range(5, 10)
    assert set(frame["attempts"]) == {1}


def test_a_limit_that_is_too_low_for_any_message_is_refused(processes: ProcessCluster) -> None:
    processes.master()
    worker = processes.run(
        "from palm.servers import Worker\n"
        "Worker('w', master='foo', functions={'f': abs}, max_rss=1 << 20).start()\n"
    )
    assert worker.wait() == 1
    last = worker.output.splitlines()[-1]
    assert re.search(r"max_rss: worker 'w' has [\d,]+ bytes of memory before its first", last)


@pytest.mark.parametrize("options", [{"max_tasks": 0}, {"max_rss": -1}])
def test_limits_that_cannot_be_are_refused(palm_home: Path, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Worker("w", master="foo", functions={"f": print}, **options)  # type: ignore[arg-type]


@pytest.fixture
def local(palm_home: Path) -> Iterator[Cluster]:
    with local_cluster() as cluster:
        yield cluster


@pytest.mark.slow
def test_a_supervisor_starts_it_again_at_once(local: Cluster, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(PIDS)
    local.start("master", "foo").wait_ready()
    args = ("--master", "foo", "--max-tasks", "20", "--max-rss", "2G")
    component = local.start("worker", "w", str(tmp_path / "work.py"), args=args).wait_ready()
    with local.client("foo") as client:
        frame = client.job("foo.pid", range(200)).to_frame()
    assert sorted(frame[0]) == list(range(200))
    assert list(frame[1].value_counts()) == [20] * 10
    assert set(frame["attempts"]) == {1}
    ends = frame.sort_values("started").groupby(1, sort=False)["started"].agg(["min", "max"])
    gaps = (ends["min"].shift(-1) - ends["max"]).dropna().dt.total_seconds()
    assert gaps.median() < 3, "there is no waiting as after a failure"
    until(lambda: component.status().processes[0].restarts == 10)
    assert "retired, to be started again" in component.logs()


# Making ready


class Ready(Worker):
    """Loads what its function needs."""

    def initialize(self) -> None:
        self.table = {1: "one"}

    def look_up(self, value: int) -> str:
        return self.table[value]


def test_it_makes_ready_what_its_functions_need(cluster: ThreadCluster) -> None:
    cluster.master()
    worker = cluster.worker(Ready("w", master="foo")).component
    assert worker.functions == ["look_up"]  # type: ignore[attr-defined]
    assert cluster.client().eval("foo.look_up", 1) == "one"


def test_functions_have_a_callable_that_makes_ready(cluster: ThreadCluster) -> None:
    cluster.master()
    table: dict[int, str] = {}
    cluster.worker(
        {"look_up": lambda value: table[value], "initialize": str},
        "w",
        initialize=lambda: table.update({1: "one"}),
    )
    client = cluster.client()
    assert client.eval("foo.look_up", 1) == "one"
    assert client.eval("foo.initialize", 1) == "1", "a function may have that name"


SLOW_START = """
import threading, time
class Slow(Worker):
    def initialize(self):
        assert threading.current_thread() is threading.main_thread()
        print("initializes")
        try:
            time.sleep({0})
        finally:
            print("is ready" if {0} < 10 else "was interrupted")

    def f(self, value):
        return value

worker = Slow("w", master="foo")
"""


def test_its_master_knows_it_when_it_is_ready(processes: ProcessCluster) -> None:
    master = processes.master()
    worker = processes.worker(SLOW_START.format(0.3), "worker")
    assert worker.output.index("is ready") < worker.output.index("Got worker pull address")
    master.wait_for("worker w joined")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_it_makes_ready(
    processes: ProcessCluster, number: signal.Signals
) -> None:
    source = "from palm.servers import Worker\n" + SLOW_START.format(60) + "worker.start()\n"
    worker = processes.run(source)
    worker.wait_for("initializes")
    worker.process.send_signal(number)
    assert worker.wait() == 0
    assert worker.output.splitlines() == ["initializes", "was interrupted"]


def test_what_it_raises_ends_it_with_a_traceback_of_the_users_code(
    processes: ProcessCluster,
) -> None:
    path = processes.folder / "broken.py"
    path.write_text(
        "from palm.servers import Worker\n"
        "class Broken(Worker):\n"
        "    def initialize(self):\n"
        "        raise LookupError('no model')\n"
        "    def f(self, value):\n"
        "        return value\n"
    )
    command = f"['worker', {str(path)!r}, '--master', 'foo', '--name', 'w']"
    worker = processes.run(f"import sys\nfrom palm.cli import main\nsys.exit(main({command}))\n")
    assert worker.wait() == 1
    lines = worker.output.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert re.fullmatch(r'  File ".*broken\.py", line 4, in initialize', lines[1])
    assert lines[-2:] == ["LookupError: no model", "palm: w cannot be made ready"]
    assert "palm/servers" not in worker.output


def test_one_that_cannot_make_ready_leaves_nothing(cluster: ThreadCluster) -> None:
    def fail() -> None:
        raise LookupError("no model")

    cluster.master()
    worker = Worker("w", master="foo", functions={"f": print}, initialize=fail)
    with pytest.raises(LookupError, match="no model"):
        worker.start()
    assert worker.initialize_error is not None
