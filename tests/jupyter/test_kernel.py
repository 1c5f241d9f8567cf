"""Real kernels: what a component outlives, what it does not, and what is shown."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from palm.clusters import attach
from palm.runner.local import runner_pid
from palm.runtime.folders import Folders
from tests.jupyter.conftest import Kernel, make_kernel
from tests.support.cluster import until
from tests.support.leaks import processes_of
from tests.support.local import SharedRegistry

pytestmark = [
    pytest.mark.slow,
    # The kernel's client keeps a context, and so threads and descriptors, for the process.
    pytest.mark.no_leak_check("threads", "descriptors"),
]

START = "%load_ext palm_jupyter\n%palm master --name foo"
WORKER = """%%palm_worker foo --replicas 2
import os, time
def double(x):
    return 2 * x
def nap(x):
    time.sleep(0.05)
    with open(os.path.dirname(os.environ["PALM_RUN_DIR"]) + "/napped", "a") as file:
        file.write(".")
    return x
"""
SLOW = """%%palm_worker foo --name slow --replicas 2
import time
time.sleep(60)
def f(x):
    return x
"""


def components(home: Path) -> list[psutil.Process]:
    found = []
    for process in processes_of(home):
        try:
            if process.cmdline()[1:3] == ["-m", "palm"] and process.cmdline()[3] != "runner":
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture
def home(shared_registry: SharedRegistry) -> Path:
    """Where the registry is; one cluster at a time is in there."""
    return shared_registry.home


@pytest.fixture
def cluster(kernel: Kernel, home: Path) -> Kernel:
    start_all(kernel, home)
    return kernel


def start_all(kernel: Kernel, home: Path) -> None:
    kernel.ok(START)
    kernel.ok(WORKER)
    assert len(components(home)) == 3
    kernel.ok("from palm import Client\nclient = Client('foo')")


def test_components_outlive_their_kernel_and_are_found_again(cluster: Kernel, home: Path) -> None:
    before = {process.pid for process in components(home)}
    os.kill(cluster.pid, signal.SIGKILL)
    cluster.restart()
    assert "foo" in cluster.ok("%load_ext palm_jupyter\ns = %palm status\nprint(s)").text
    cluster.ok(START)
    assert "runs already, unchanged" in cluster.ok(WORKER).bundles[-1]["text/plain"]
    cluster.ok("from palm import Client\nclient = Client('foo')")
    cluster.ok("assert client.eval('foo.double', 4) == 8")
    assert before == {process.pid for process in components(home)}


def test_second_notebook_finds_them_and_they_end_after_the_last_one(
    cluster: Kernel, cluster_name: str, home: Path
) -> None:
    folders = Folders.find()
    other = make_kernel()
    try:
        other.ok("%load_ext palm_jupyter\n%palm attach")
        other.ok("%palm up --linger 0")
        found = attach()
        assert found is not None
        with found:
            assert len(found.registry.view_cluster(cluster_name).holders) == 2
            cluster.close()
            until(lambda: len(found.registry.view_cluster(cluster_name).holders) == 1, within=60)
            other.ok("from palm import Client\nassert Client('foo').eval('foo.double', 4) == 8")
            assert len(components(home)) == 3
    finally:
        other.close()
    until(lambda: not components(home), within=60, what="components end after their linger")
    until(lambda: runner_pid(folders) is None, within=60)


def test_f14_all_of_a_killed_kernel_is_accounted_for_and_ends_with_its_lease(
    cluster: Kernel, cluster_name: str, home: Path
) -> None:
    folders = Folders.find()
    cluster.ok("%palm up --linger 0")
    os.kill(cluster.pid, signal.SIGKILL)
    found = attach()
    assert found is not None
    with found:
        # The registry knows every process that the kernel left, and nobody else's.
        known = {process.pid for each in found.status().components for process in each.processes}
        assert known == {process.pid for process in components(home)}
        assert len(known) == 3
        assert found.registry.view_cluster(cluster_name).holders, "its lease runs on for a while"
        other = make_kernel()
        try:
            other.ok("%load_ext palm_jupyter\n%palm attach")
            other.ok("from palm import Client\nassert Client('foo').eval('foo.double', 4) == 8")
            (dead,) = (
                holder
                for holder in found.registry.view_cluster(cluster_name).holders
                if f"(pid {cluster.pid}" in holder
            )
            until(
                lambda: dead not in found.registry.view_cluster(cluster_name).holders,
                within=60,
                what="the lease of the dead kernel is over",
            )
            assert known == {process.pid for process in components(home)}, "another one holds it"
        finally:
            other.close()
        until(lambda: not components(home), within=60, what="all ends with the last lease")
        until(lambda: runner_pid(folders) is None, within=60)
        until(lambda: found.registry.view_cluster(cluster_name).state == "ended", within=60)


def test_interrupt_of_a_job_reaches_no_component_and_keeps_what_was_done(
    cluster: Kernel, home: Path
) -> None:
    before = {process.pid for process in components(home)}
    running = cluster.start("client.job('foo.nap', range(10_000)).to_frame()")
    napped = home / "napped"
    until(lambda: napped.exists() and napped.stat().st_size > 20)
    cluster.manager.interrupt_kernel()
    assert cluster.finish(running).error is not None
    partial = cluster.ok("frame = client.jobs[-1].to_frame(partial=True)\nprint(len(frame))")
    assert 0 < int(partial.text) < 10_000
    cluster.ok("assert client.eval('foo.double', 4) == 8")
    assert {process.pid for process in components(home)} == before


def test_interrupt_while_a_start_waits_leaves_nothing_half_started(
    cluster: Kernel, home: Path
) -> None:
    running = cluster.start(SLOW)
    until(lambda: len(components(home)) == 5)
    cluster.manager.interrupt_kernel()
    result = cluster.finish(running)
    assert result.error is not None and result.error.args[0] == "KeyboardInterrupt"
    until(lambda: len(components(home)) == 3)


def test_error_of_a_start_is_short_and_shows_the_cells_own_lines(cluster: Kernel) -> None:
    result = cluster.run("%%palm_worker foo --name bad\nimport not_there\ndef f(x): return x")
    assert result.error is not None and result.error.args[0] == "StartFailed"
    assert 'File "<palm_worker foo>", line 2' in result.errors
    assert "ModuleNotFoundError" in result.errors
    assert "session.py" not in result.errors and len(result.errors.splitlines()) < 12


def test_error_in_a_function_shows_the_cells_own_lines(cluster: Kernel) -> None:
    cluster.ok("%%palm_worker foo --name other\n\ndef fail(x):\n    return 1 / x  # here\n")
    result = cluster.run("client.eval('foo.fail', 0)")
    assert 'File "<palm_worker foo>", line 4, in fail' in result.errors
    assert "return 1 / x  # here" in result.errors


def test_master_shows_the_panel_and_workers_a_line(kernel: Kernel) -> None:
    (still, live) = kernel.ok(START).bundles
    assert "palm-snapshot" in still["text/html"] and "foo" in still["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in live
    (card,) = kernel.ok(WORKER).bundles
    assert "foo-worker is ready" in card["text/html"]
    assert card["text/plain"].startswith("foo-worker is ready (2 replicas")
    assert len(kernel.ok("%palm status").bundles) == 2
    assert len(kernel.ok("%palm dashboard").bundles) == 2


def test_job_at_the_end_of_a_cell_has_a_card_and_a_snapshot(cluster: Kernel) -> None:
    shown = cluster.ok("job = client.job('foo.double', range(100)).collect()\njob")
    (still, live) = shown.bundles
    assert "palm-snapshot" in still["text/html"]
    assert "job foo.double: done, 100/100 done" in still["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in live
    assert len(cluster.ok("job").bundles) == 2  # it moves here
    cluster.ok("%unload_ext palm_jupyter")


def test_classes_of_a_cell_come_back_as_results(cluster: Kernel) -> None:
    cluster.ok(
        "%%palm_worker foo --name typed\n"
        "from collections import namedtuple\n"
        "from dataclasses import dataclass\n"
        "Pair = namedtuple('Pair', 'a b')\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "def pair(x):\n    return Pair(x, 2 * x)\n"
        "def point(x):\n    return Point(x)\n"
    )
    frame = cluster.ok("print(list(client.job('foo.pair', [1, 2]).to_frame().columns[:2]))")
    assert "['a', 'b']" in frame.text
    assert "Point(x=3)" in cluster.ok("print(client.eval('foo.point', 3))").text


def test_notebook_goes_on_after_somebody_ended_the_cluster(
    lone_kernel: Kernel, palm_home: Path
) -> None:
    start_all(lone_kernel, palm_home)
    other = attach()
    assert other is not None
    with other:
        other.down()
    lone_kernel.ok("%palm master --name foo -o m\nassert m.state == 'ready'")
    lone_kernel.ok("s = %palm status\nassert [c.name for c in s.components] == ['foo']")


LIVE = """%%palm_worker foo --name live --kernel -o live
step = 1
def up(x):
    return x + step
"""


def test_component_in_a_kernel_is_shown_and_its_change_said(cluster: Kernel) -> None:
    cluster.ok(LIVE)
    cluster.ok("assert client.eval('foo.up', 1) == 2")
    cluster.ok("import json\nassert json.load(open(live.connection_file))['transport'] == 'ipc'")
    plain = cluster.ok(LIVE.replace("--kernel ", "")).bundles[-1]["text/plain"]
    assert "now as a process" in plain
    assert "is ready" in cluster.ok("%palm restart live").bundles[-1]["text/plain"]


def test_scale_runs_another_number_of_processes(cluster: Kernel) -> None:
    cluster.ok("c = %palm scale foo-worker 3")
    cluster.ok("assert (c.replicas, len(c.pids)) == (3, 3), c.pids\nold = c.pids[:2]")
    cluster.ok("c = %palm scale foo-worker 2")
    cluster.ok("assert c.replicas == 2 and c.pids[:2] == old, 'what stays is not touched'")
    result = cluster.run("%palm scale foo-wroker 2")
    assert result.error is not None and "did you mean 'foo-worker'?" in str(result.error)


def test_following_shows_lines_as_they_come_and_ends_at_an_interrupt(cluster: Kernel) -> None:
    running = cluster.start("%palm logs foo -f -n 1")
    wait_for_output(cluster, "joined")
    other = attach()
    assert other is not None
    with other:
        other["foo-worker"].restart()  # the cell that follows blocks the kernel meanwhile
    wait_for_output(cluster, "worker foo-worker-0 joined")
    cluster.manager.interrupt_kernel()
    result = cluster.finish(running)
    assert result.error is None and "Traceback" not in result.errors


def wait_for_output(kernel: Kernel, text: str) -> None:
    """Read what the running cell prints, up to a text."""
    while True:
        got = kernel.client.get_iopub_msg(timeout=60)
        if got["msg_type"] == "stream" and text in got["content"]["text"]:
            return
