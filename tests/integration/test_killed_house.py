"""The runner and the registry killed with -9 in the middle of a job: nothing is lost or doubled.

They come back by themselves: nothing here starts them.
"""

from __future__ import annotations

import os
import re
import signal

import pytest

from palm.clusters import CellSource, Cluster
from palm.runner.local import runner_pid
from palm.runner.registry import read_registry
from tests.support.cluster import until
from tests.support.local import local_cluster
from tests.support.output import Key, StoredOutput, written, written_digests

pytestmark = pytest.mark.slow

BOUND = 60.0  # seconds; far beyond what any of this takes
MESSAGES = 4000
WORK = """
import itertools, os, sys, time

numbers = itertools.count()

def work(i):
    time.sleep(0.001)
    n = next(numbers)
    print(f"{n} did {i} {'x' * (i * 7 % 500)}")
    if i % 5 == 0:
        print(f"{n} complains of {i} {'!' * (i % 90)}", file=sys.stderr)
    return {"seen": i, "pid": os.getpid()}
"""


def house_pids(cluster: Cluster) -> dict[str, int | None]:
    """The runner and the registry, as far as they are there."""
    record = read_registry(cluster.folders)
    registry = record.pid if record is not None and record.is_running else None
    return {"runner": runner_pid(cluster.folders), "registry": registry}


def are_back(cluster: Cluster, before: dict[str, int | None], victims: tuple[str, ...]) -> bool:
    """Whether others have taken the place of those that were killed."""
    now = house_pids(cluster)
    return all(now[name] not in (None, before[name]) for name in victims)


def numbers_of(data: bytes, verb: str) -> tuple[list[int], list[int]]:
    """The numbers of the lines that a worker wrote, and the messages that they are about."""
    found = re.findall(rf"^(\d+) {verb} (\d+) ".encode(), data, re.MULTILINE)
    return [int(n) for n, _ in found], [int(i) for _, i in found]


def check_lines(outputs: dict[Key, bytes]) -> None:
    """Each message has exactly one line, and every worker wrote its own in order."""
    seen: dict[str, list[int]] = {"stdout": [], "stderr": []}
    for (instance, stream), data in outputs.items():
        if instance.startswith("foo-worker-"):
            verb = "did" if stream == "stdout" else "complains of"
            numbers, messages = numbers_of(data, verb)
            assert numbers == sorted(set(numbers))
            if verb == "did":
                assert numbers == list(range(len(numbers)))
            seen[stream] += messages
    assert sorted(seen["stdout"]) == list(range(MESSAGES))
    assert sorted(seen["stderr"]) == list(range(0, MESSAGES, 5))


@pytest.mark.parametrize(
    "victims",
    [("runner",), ("registry",), ("runner", "registry")],
    ids=["runner", "registry", "both"],
)
def test_kill_in_the_middle_of_a_job_loses_no_line_and_no_message(victims: tuple[str, ...]) -> None:
    with local_cluster() as cluster:
        cluster.start("master", "foo")
        source = CellSource(WORK, "<palm_worker foo>")
        group = cluster.start("worker", "foo-worker", source, replicas=2, args=("--master", "foo"))
        group.wait_ready()
        cluster["foo"].wait_ready()
        pids = {"foo": cluster["foo"].pids, "foo-worker": group.pids}
        before = house_pids(cluster)
        with cluster.client("foo") as client:
            job = client.job("foo.work", range(MESSAGES))
            until(lambda: job.progress.done > 200, within=BOUND)
            for name in victims:
                os.kill(before[name] or 0, signal.SIGKILL)
            assert job.progress.done < MESSAGES, "it was to be killed before the end"
            until(lambda: are_back(cluster, before, victims), within=BOUND)
            frame = job.to_frame()
        assert list(frame["seen"]) == list(range(MESSAGES))
        assert frame["error"].isna().all()
        assert set(frame["attempts"]) == {1}
        assert set(frame["pid"]) == set(pids["foo-worker"])

        until(lambda: cluster.status().ready, within=BOUND)
        assert {name: cluster[name].pids for name in pids} == pids
        assert {p.restarts for c in cluster.status().components for p in c.processes} == {0}

        stored = StoredOutput(cluster.registry, cluster.name)
        until(stored.has_all, within=BOUND)
        assert stored.digests() == written_digests(cluster.name)
        assert len(stored.streams) >= 5  # of the master stdout, of each worker both
        check_lines(dict(written(cluster.name)))
