"""What components have counted, in files: whole, private, few, and gone with their component."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import threading
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palm.protocol.meter import Counts, EdgeCounts, FunctionCounts
from palm.runtime.folders import Folders
from palm.runtime.metrics import EVERY, STALE, Metrics, Reporter, read_metrics
from palm.runtime.records import process_identity, process_start_time
from tests.support.cluster import ThreadCluster, until


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders.find(
        {"PALM_RUN_DIR": str(tmp_path / "run"), "PALM_STATE_DIR": str(tmp_path / "state")}
    )


class Desk:
    """A reporter, its clock, and what it is to report."""

    def __init__(self, folders: Folders, name: str = "foo", instance: str = "i1") -> None:
        self.now = 100.0
        self.received = 0
        self.asked = 0
        logger = logging.getLogger("test-metrics")
        self.reporter = Reporter(
            folders, name, "master", instance, self.counts, logger, lambda: self.now
        )
        self.path = folders.metrics / f"{name}.json"

    def counts(self) -> Counts:
        self.asked += 1
        return Counts({"f": FunctionCounts(received=self.received)})

    def written(self) -> int:
        return msgspec.json.decode(self.path.read_bytes(), type=Metrics).functions["f"].received


def test_what_is_written_is_read(folders: Folders) -> None:
    desk = Desk(folders)
    desk.received = 3
    desk.reporter.look(1)
    [found] = read_metrics(folders)
    assert (found.name, found.role, found.instance, found.pid) == (
        "foo",
        "master",
        "i1",
        os.getpid(),
    )
    assert found.functions["f"].received == 3
    assert stat.S_IMODE(desk.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(desk.path.parent.stat().st_mode) == 0o700


def test_it_is_written_at_most_once_a_second_and_once_more_when_all_is_calm(
    folders: Folders,
) -> None:
    desk = Desk(folders)
    desk.received = 1
    assert desk.reporter.look(1) == inf
    desk.received = 2
    desk.now += 0.25
    assert desk.reporter.look(2) == EVERY - 0.25  # when to look again
    desk.received = 3
    desk.now += 0.25
    assert desk.reporter.look(3) == EVERY - 0.5
    assert desk.written() == 1
    desk.now += 0.5
    assert desk.reporter.look(3) == inf
    assert desk.written() == 3


def test_without_events_nobody_wakes_up_and_nothing_is_asked(folders: Folders) -> None:
    desk = Desk(folders)
    assert desk.reporter.look(0) == inf
    assert (desk.asked, desk.path.exists()) == (0, False)
    desk.reporter.look(1)
    desk.now += 100
    assert desk.reporter.look(1) == inf
    assert desk.asked == 1


def test_events_that_change_no_count_write_nothing(folders: Folders) -> None:
    desk = Desk(folders)
    desk.reporter.look(1)
    before = desk.path.stat().st_mtime_ns
    desk.now += 2
    desk.reporter.look(2)
    assert desk.asked == 2
    assert desk.path.stat().st_mtime_ns == before


def test_who_needs_long_to_look_at_its_jobs_does_so_less_often(folders: Folders) -> None:
    desk = Desk(folders)
    takes = iter([0.002, 0.03, 5.0])

    def counts() -> Counts:
        desk.now += next(takes)
        desk.received += 1
        return Counts({"f": FunctionCounts(received=desk.received)})

    desk.reporter._counts = counts
    for events, every in enumerate((1.0, 3.0, 10.0), start=1):
        begun = desk.now
        desk.reporter.look(events)
        [found] = read_metrics(folders)
        assert found.every == pytest.approx(every)
        assert desk.reporter.look(-1) == pytest.approx(begun + every - desk.now)
        desk.now = begun + every + 0.001


def test_a_reader_never_sees_a_part(folders: Folders) -> None:
    desk = Desk(folders)
    desk.reporter.look(1)
    over = threading.Event()

    def write() -> None:
        for events in range(2, 400):
            desk.received = events
            desk.now += 2
            desk.reporter.look(events)
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        assert len(read_metrics(folders)) == 1
    writer.join()
    assert os.listdir(folders.metrics) == ["foo.json"]


def test_a_full_disk_is_told_once_and_hurts_nobody(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(folders)

    def fail(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("palm.files.privatefile.replace", fail)
        for events in (1, 2, 3):
            assert desk.reporter.look(events) == inf
            desk.now += 2
            desk.received += 1
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text
    desk.reporter.look(4)
    assert desk.written() == 3


def test_close_removes_its_own_file_only(folders: Folders) -> None:
    desk, other = Desk(folders), Desk(folders, instance="i2")
    desk.reporter.look(1)
    other.reporter.look(1)
    desk.reporter.close()
    assert [each.instance for each in read_metrics(folders)] == ["i2"]
    other.reporter.close()
    other.reporter.close()
    assert read_metrics(folders) == []


def test_what_dead_processes_left_is_ignored_and_removed(folders: Folders) -> None:
    child = subprocess.Popen(["sleep", "60"])
    metrics = Metrics(
        name="dead",
        role="worker",
        instance="x",
        pid=child.pid,
        start_time=process_start_time(child.pid) or 0.0,
        identity=process_identity(child.pid),
        time=1.0,
    )
    path = folders.metrics / "dead.json"
    path.write_bytes(msgspec.json.encode(metrics))
    path.chmod(0o600)
    assert [each.name for each in read_metrics(folders)] == ["dead"]
    child.kill()
    child.wait()
    assert read_metrics(folders) == []
    assert not path.exists()


def test_what_is_no_snapshot_is_removed_and_what_is_being_written_stays(folders: Folders) -> None:
    (folders.metrics / "bad.json").write_text("{")
    fresh, stale = folders.metrics / ".a.tmp", folders.metrics / ".b.tmp"
    fresh.touch()
    stale.touch()
    os.utime(stale, (0, stale.stat().st_mtime - 2 * STALE))
    assert read_metrics(folders) == []
    assert os.listdir(folders.metrics) == [".a.tmp"]


# Components


def found(cluster: ThreadCluster, name: str) -> Metrics | None:
    return next((each for each in read_metrics(cluster.folders) if each.name == name), None)


def counted(cluster: ThreadCluster, name: str, n: int) -> Any:
    """Wait until a component has told that so many messages are done."""

    def told() -> FunctionCounts | None:
        metrics = found(cluster, name)
        counts = metrics.functions.get("double") if metrics is not None else None
        return counts if counts is not None and counts.done + counts.failed == n else None

    return until(told, within=8)


def test_a_master_and_its_worker_tell_what_they_did(cluster: ThreadCluster) -> None:
    def double(value: int) -> int:
        return 10 // (value % 10 and 1) * value

    master = cluster.master()
    worker = cluster.worker({"double": double}, "w")
    client = cluster.client()
    list(client.job("foo.double", range(50), errors="return"))
    for name in ("foo", "w"):
        counts = counted(cluster, name, 50)
        assert (counts.received, counts.done, counts.failed) == (50, 45, 5)
        assert (counts.queued, counts.running, counts.dropped) == (0, 0, 0)
        assert sum(counts.latency) == 50
        assert counts.seconds > 0
    metrics = found(cluster, "foo")
    assert metrics is not None
    edges = {(each.source, each.target): each for each in metrics.edges}
    assert set(edges) == {("clients", "foo"), ("foo", "w")}
    for edge in edges.values():
        assert isinstance(edge, EdgeCounts)
        assert (edge.messages, edge.done, edge.failed, edge.open) == (50, 45, 5, 0)
        assert edge.size > 0
    worker.stop()
    assert found(cluster, "w") is None
    master.stop()
    assert os.listdir(cluster.folders.metrics) == []


def test_who_is_idle_does_not_write_again(cluster: ThreadCluster) -> None:
    cluster.master()
    cluster.worker({"double": lambda value: 2 * value}, "w")
    list(cluster.client().job("foo.double", range(50)))
    counted(cluster, "foo", 50)
    counted(cluster, "w", 50)
    folder = cluster.folders.metrics

    def written() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}

    # What comes last, as the ACK of a client, has been told after a second: then it is calm.
    calm = threading.Event()
    before = written()
    for _ in range(4):
        calm.wait(1.1 * EVERY)
        now = written()
        if now == before:
            break
        before = now
    assert not calm.wait(1.5 * EVERY)
    assert written() == before


def test_a_long_call_shows_as_running(cluster: ThreadCluster) -> None:
    go_on = threading.Event()
    cluster.master()
    cluster.worker({"wait": lambda value: go_on.wait(20)}, "w")
    job = cluster.client().job("foo.wait", [1, 2, 3])

    def running(name: str) -> bool:
        metrics = found(cluster, name)
        counts = metrics.functions.get("wait") if metrics is not None else None
        return counts is not None and counts.running >= 1

    try:
        until(lambda: running("foo"))
        until(lambda: running("w"))
    finally:
        go_on.set()
    assert len(list(job)) == 3
