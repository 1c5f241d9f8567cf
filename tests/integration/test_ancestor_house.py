"""What the ancestor's runner did wrong, together with its manager and its log store (29 to 48).

Here is what only a registry and a runner together can show. 30 is in tests/registry/test_status,
33 to 43 are in tests/registry (see test_ancestor_defects there), 44 in test_killed_house, and what
concerns one of both alone in tests/runner.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from palm.clusters import Cluster, up
from palm.registry_api.schema import ComponentSpec, ReplicaStatus
from palm.runner.local import runner_pid
from tests.support.cluster import ROOT, until
from tests.support.fixtures import cluster_name, shared_registry
from tests.support.local import SharedRegistry
from tests.support.output import StoredOutput, written_digests
from tests.support.shell import running

__all__ = ["cluster_name", "shared_registry"]

pytestmark = pytest.mark.slow

BOUND = 60.0  # seconds; far beyond what any of this takes

#: Says who it is, and stays.
IDLE = "import sys, time; print('here', *sys.argv[1:], flush=True); time.sleep(600)"
FLOOD = "import time\nfor _ in range(20_000): print('x' * 1000)\ntime.sleep(600)"


@pytest.fixture
def cluster(cluster_name: str) -> Iterator[Cluster]:
    with up() as cluster:
        yield cluster


@pytest.fixture
def home(shared_registry: SharedRegistry) -> Path:
    """Where the registry is; one cluster at a time is in there."""
    return shared_registry.home


def want(cluster: Cluster, name: str, source: str = IDLE, **more: object) -> None:
    """Want a component that runs a piece of Python; it counts as ready when it runs."""
    values: dict[str, object] = {
        "command": [sys.executable, "-u", "-c", source],
        "env": {"PYTHONPATH": str(ROOT)},
        "ready": "delay:0",
        "grace": 1.0,
    }
    spec = ComponentSpec(name=name, **(values | more))  # type: ignore[arg-type]
    cluster.registry.declare(cluster.name, spec)


def replicas(cluster: Cluster, name: str) -> list[ReplicaStatus]:
    return cluster.registry.component(cluster.name, name).replicas


def wait_ready(cluster: Cluster, *names: str) -> None:
    def are_ready() -> bool:
        found = {each.name: each for each in cluster.status().components}
        return all(name in found and not found[name].missing for name in names)

    until(are_ready, within=BOUND, what=f"{', '.join(names)} ready")


def missing(cluster: Cluster) -> dict[str, str]:
    """Why what is missing is missing, by component."""
    return {each.component: each.why for each in cluster.status().missing}


def stored(cluster: Cluster, process: str, stream: str = "stdout") -> bytes:
    output = StoredOutput(cluster.registry, cluster.name)
    output.read()
    found = [bytes(data) for (instance, which), data in output.streams.items()
             if instance.startswith(f"{process}.") and which == stream]  # fmt: skip
    return b"".join(found)


def test_29_31_replicas_stay_exact_whoever_asks_and_however_often(
    cluster: Cluster, home: Path
) -> None:
    want(cluster, "w", replicas=5, role="worker")
    want(cluster, "w-", replicas=1, role="worker")  # a name that begins like the other
    wait_ready(cluster, "w", "w-")
    pids = {replica.name: replica.pid for replica in replicas(cluster, "w")}
    for _ in range(2):
        want(cluster, "w", replicas=5, role="worker")
        before = runner_pid(cluster.folders)
        os.kill(before or 0, signal.SIGKILL)
        until(lambda before=before: runner_pid(cluster.folders) not in (None, before),
              within=BOUND)  # fmt: skip
        wait_ready(cluster, "w", "w-")
    assert {replica.name: replica.pid for replica in replicas(cluster, "w")} == pids
    assert len(running(home, IDLE)) == 6
    cluster.scale("w", 2)
    until(lambda: len(running(home, IDLE)) == 3, within=BOUND)
    wait_ready(cluster, "w", "w-")
    until(lambda: {r.name for r in replicas(cluster, "w") if r.pid} == {"w-0", "w-1"}, within=BOUND)


def test_32_address_that_is_taken_fails_the_one_that_wants_it_and_says_so(
    cluster: Cluster,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        source = f"from palm.servers import Master\nMaster('foo', db_address={address!r}).start()"
        want(cluster, "foo", source, role="master", ready="palm")
        want(cluster, "bar", "from palm.servers import Master\nMaster('bar').start()",
             role="master", ready="palm")  # fmt: skip
        wait_ready(cluster, "bar")
        until(lambda: b"in use" in stored(cluster, "foo", "stderr"), within=BOUND)
        assert address.encode() in stored(cluster, "foo", "stderr")
        until(lambda: "exit code 1" in missing(cluster).get("foo", ""), within=BOUND)
        assert set(missing(cluster)) == {"foo"}
    # Once it is free, another try succeeds.
    cluster.restart("foo")
    wait_ready(cluster, "foo")
    assert cluster.endpoints("foo")["db"] == address


def test_33_47_arguments_arrive_as_they_were_written(cluster: Cluster) -> None:
    given = ["a b", '"quoted" \'twice\'', "{0.__class__}", "%(home)s 100%", "$HOME `id` $(id)",
             "*", "", "ä\N{SNOWMAN}", "--x=\\n", "Case Kept"]  # fmt: skip
    source = "import json, sys, time\nprint(json.dumps(sys.argv[1:]))\ntime.sleep(600)"
    args = [*given, "$${name}", "${name}", "${replica}"]
    want(cluster, "foo", source, args=args)
    until(lambda: stored(cluster, "foo").endswith(b"\n"), within=BOUND)
    assert json.loads(stored(cluster, "foo")) == [*given, "${name}", "foo", "0"]


def test_45_flood_of_errors_and_what_is_no_text_block_nobody(cluster: Cluster) -> None:
    source = """
import os, sys, time
sys.stderr.write("error " * 50_000)
os.write(1, bytes(range(256)) * 400)
os.write(1, "\N{SNOWMAN}".encode()[:2])
time.sleep(0.01)
os.write(1, "\N{SNOWMAN}".encode()[2:] + b"\\ndone")
time.sleep(600)
"""
    want(cluster, "foo", source)
    until(lambda: stored(cluster, "foo").endswith(b"done"), within=BOUND)
    assert stored(cluster, "foo") == bytes(range(256)) * 400 + "\N{SNOWMAN}\ndone".encode()
    until(lambda: stored(cluster, "foo", "stderr") == b"error " * 50_000, within=BOUND)
    assert cluster.logs("foo", 2, "stdout").splitlines()[1] == "done"


def test_46_more_components_than_processors_all_run_at_once(cluster: Cluster, home: Path) -> None:
    n = 3 * (os.cpu_count() or 1) + 4
    want(cluster, "many", replicas=n, role="worker")
    want(cluster, "last")
    wait_ready(cluster, "many", "last")
    assert len(running(home, IDLE)) == n + 1
    assert {r.restarts for r in replicas(cluster, "many")} == {0}


def test_47_output_of_a_killed_component_is_kept_and_goes_on(cluster: Cluster) -> None:
    source = """
import os, time
print("life", os.getpid(), "x" * 100_000)
print("no newline at the end", end="")
time.sleep(600)
"""
    want(cluster, "foo", source)
    wait_ready(cluster, "foo")
    pids = []
    for _ in range(3):
        (replica,) = replicas(cluster, "foo")
        assert replica.pid is not None
        pids.append(replica.pid)
        ends = len(pids)
        until(lambda ends=ends: stored(cluster, "foo").count(b"the end") == ends, within=BOUND)
        os.kill(replica.pid, signal.SIGKILL)
        until(lambda: replicas(cluster, "foo")[0].pid not in (None, *pids), within=BOUND)
    pids.append(replicas(cluster, "foo")[0].pid or 0)
    lives = [b"life %d %s\nno newline at the end" % (pid, b"x" * 100_000) for pid in pids]
    until(lambda: stored(cluster, "foo") == b"".join(lives), within=BOUND)
    output = StoredOutput(cluster.registry, cluster.name)
    assert output.has_all()
    assert output.digests() == written_digests(cluster.name)
    events, _ = cluster.registry.events(cluster.name)
    assert sum("killed by SIGKILL" in event.text for event in events) == 3


def test_47_nothing_is_left_of_a_component_that_had_children(cluster: Cluster, home: Path) -> None:
    source = f"""
import subprocess, sys, time
for _ in range(2):
    subprocess.Popen([sys.executable, "-c", {IDLE!r}])
print("started")
time.sleep(600)
"""
    want(cluster, "foo", source)
    until(lambda: len(running(home, IDLE)) == 3, within=BOUND)  # its own line has it, too
    cluster.stop("foo", grace=1.0)
    assert running(home, IDLE) == []


def test_47_bad_components_hold_up_nobody_else(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    want(cluster, "crashes", "raise SystemExit(3)", ready="palm")
    want(cluster, "hangs", IDLE, ready="palm")
    want(cluster, "nowhere", cwd=str(tmp_path / "nowhere"))
    want(cluster, "absent", command=["no-such-program-anywhere"])
    want(cluster, "forbidden", command=[str(tmp_path / "not-executable")])
    want(
        cluster, "floods", "import time\nfor _ in range(20_000): print('x' * 1000)\ntime.sleep(600)"
    )
    want(cluster, "stubborn", "import signal, time\nsignal.signal(15, 1)\nprint('deaf')\n"
         "time.sleep(600)")  # fmt: skip
    want(cluster, "good", replicas=2, role="worker")
    wait_ready(cluster, "good", "floods", "stubborn")
    until(lambda: cluster.component_status("crashes").state == "failed", within=BOUND)
    why = missing(cluster)
    assert set(why) == {"crashes", "hangs", "nowhere", "absent", "forbidden"}
    assert "exit code 3" in why["crashes"]
    assert why["hangs"].startswith("starting")
    assert "nowhere" in why["nowhere"]
    assert "no-such-program-anywhere" in why["absent"]
    assert "not-executable" in why["forbidden"] or "ermission" in why["forbidden"]
    assert [r.restarts for r in replicas(cluster, "good")] == [0, 0]
    until(lambda: cluster.logs("good-0", 1).startswith("here"), within=BOUND)
    cluster.stop("floods", "stubborn", grace=0.5)
    pids = [r.pid for name in ("floods", "stubborn") for r in replicas(cluster, name)]
    assert not any(pid is not None and psutil.pid_exists(pid) for pid in pids)
    assert cluster.component_status("good").ready == 2
