"""Components in real processes: started, kept, replaced, seen, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from jupyter_client.blocking import BlockingKernelClient

from palm.clusters import CellSource, Cluster, Component, attach, up
from palm.errors import ConfigError, RegistryError
from palm.runner.local import node_name, runner_pid
from palm.runtime.folders import Folders
from palm.runtime.records import read_record
from palm.spec.process import StartFailed
from tests.support.cluster import until
from tests.support.local import SharedRegistry, local_cluster

pytestmark = pytest.mark.slow

DOUBLE = "def double(x):\n    return 2 * x\n"


@pytest.fixture
def cluster(cluster_name: str) -> Iterator[Cluster]:
    with up() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def unused(shared_registry: SharedRegistry) -> Iterator[Cluster]:
    """A cluster for tests that start nothing."""
    with shared_registry.cluster(("processes",)), up() as cluster:
        yield cluster


def master(cluster: Cluster, name: str = "foo") -> Component:
    return cluster.start("master", name).wait_ready()


def worker(cluster: Cluster, source: str = DOUBLE, **options: object) -> Component:
    pushed = CellSource.pack(options.pop("push", {}))  # type: ignore[arg-type]
    target = CellSource(source, "<palm_worker foo>", pushed)
    name = str(options.pop("name", "foo-worker"))
    options.setdefault("args", ("--master", "foo"))
    return cluster.start("worker", name, target, **options).wait_ready()  # type: ignore[arg-type]


def test_component_runs_on_the_node_that_it_is_for(cluster: Cluster) -> None:
    here = node_name()
    assert cluster.start("master", "foo", node=here).wait_ready().state == "ready"
    assert [r.node for r in cluster.registry.component(cluster.name, "foo").replicas] == [here]
    with pytest.raises(ConfigError, match=f"no node '{here}x'") as caught:
        cluster.start("master", "bar", node=f"{here}x")
    assert caught.value.hint == f"did you mean {here!r}?"
    assert "bar" not in cluster


def test_component_waits_for_a_node_of_its_labels(cluster: Cluster) -> None:
    component = cluster.start("master", "foo", labels={"engine": "dask"})
    assert component.state == "starting"
    assert until(lambda: "no node has the label engine=dask" in str(cluster.status()))
    cluster.start("master", "foo").wait_ready()


def test_signal_reaches_a_component_by_name(cluster: Cluster) -> None:
    master(cluster)
    with pytest.raises(ConfigError, match="no signal 'HPU'"):
        cluster["foo"].signal("HPU")
    before = cluster["foo"].pid
    assert cluster["foo"].signal("kill") == ("foo",)
    assert until(lambda: cluster["foo"].state == "ready" and cluster["foo"].pid != before)


def test_cell_is_served_and_its_client_is_at_hand(cluster: Cluster) -> None:
    assert master(cluster).state == "ready"
    group = worker(cluster, replicas=2)
    assert (group.functions, group.replicas, len(group.pids)) == (("double",), 2, 2)
    assert cluster["foo"].endpoints
    with cluster.client("foo") as client:
        assert client.eval("foo.double", 21) == 42
    status = cluster.status()
    assert status.ready and status.missing == ()
    frame = status.to_frame()
    assert list(frame.index) == ["foo", "foo-worker-0", "foo-worker-1"]
    assert set(frame["state"]) == {"ready"} and frame["started"].notna().all()


def test_cells_are_linked_by_name(cluster: Cluster) -> None:
    cell = CellSource("def f(x):\n    return x + 1\n", "<first>")
    first = cluster.start("server", "first", cell, args=["--pipelined"])
    hub = cluster.start("hub", "hub", args=["--previous", "first"])
    group = worker(cluster, args=("--master", "hub"), replicas=2)
    for component in (first, hub):
        component.wait_ready()
    assert (first.role, first.functions, hub.role) == ("server", ("echo", "f"), "hub")
    assert [each.role for each in cluster.status().components] == ["server", "hub", "worker"]
    with cluster.client("first") as client:
        assert sorted(client.job(["first.f", "hub.double"], [1, 2])) == [4, 6]
    again = cluster.start("server", "first", cell, args=["--pipelined"])
    assert again.change.kind == "kept"
    assert group.replicas == 2


def test_top_tells_what_components_functions_and_edges_have_to_do(cluster: Cluster) -> None:
    master(cluster)
    worker(cluster)
    with cluster.client("foo") as client:
        assert len(list(client.job("foo.double", range(1000)))) == 1000

        def told() -> bool:
            frame = cluster.top("functions", 0.1)
            return {("foo", "double"), ("foo-worker-0", "double")} <= set(frame.index) and bool(
                (frame["done"] == 1000).all()
            )

        until(told)
    frame = cluster.top()
    assert list(frame.index) == ["foo", "foo-worker-0"]
    assert (frame["done"] == 1000).all() and (frame["failed"] == 0).all()
    assert (frame["rss"] > 1 << 20).all() and frame["cpu"].notna().all()
    assert (frame["rate_out"].dropna() >= 0).all() and (frame["p50"] <= frame["p99"]).all()
    edges = cluster.top("edges")
    assert edges.loc[("foo", "foo-worker-0"), "messages"] == 1000
    with pytest.raises(ConfigError):
        cluster.top("nonsense")


def test_components_take_our_interpreter_folder_path_and_environment(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "only_here.py").write_text("VALUE = 'found'\n")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("OF_THE_NOTEBOOK", "yes")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    master(cluster)
    worker(
        cluster,
        "import os, sys, only_here\n"
        "def tell(x):\n    return [os.getcwd(), sys.executable, only_here.VALUE,"
        " os.environ['OF_THE_NOTEBOOK'], os.environ['MPLBACKEND'], os.environ['OWN']]\n",
        env={"OWN": "1"},
    )
    with cluster.client("foo") as client:
        told = client.eval("foo.tell", 0)
    assert told == [str(tmp_path), sys.executable, "found", "yes", "agg", "1"]


def test_same_declaration_keeps_what_runs(cluster: Cluster) -> None:
    master(cluster)
    group = worker(cluster)
    pids = group.pids
    again = worker(cluster)
    assert again is group and again.pids == pids
    assert again.change.kind == "kept"


def test_changed_declaration_replaces_it_and_says_what_was(cluster: Cluster) -> None:
    master(cluster)
    pids = worker(cluster).pids
    group = worker(cluster, "def triple(x):\n    return 3 * x\n", replicas=2)
    assert group.change.kind == "replaced" and group.change.functions == ("double",)
    assert group.functions == ("triple",) and not set(group.pids) & set(pids)
    before = group.pids
    again = worker(cluster, "def triple(x):\n    return 3 * x\n", replicas=2, replace=True)
    assert again.change.kind == "replaced" and not set(again.pids) & set(before)


def test_pushed_values_arrive_in_private_files_that_go_with_the_component(
    cluster: Cluster,
) -> None:
    master(cluster)
    group = worker(cluster, "def times(x):\n    return x * FACTOR\n", push={"FACTOR": 7})
    with cluster.client("foo") as client:
        assert client.eval("foo.times", 6) == 42
    cells = cluster.folders.cells
    assert {path.stat().st_mode & 0o777 for path in cells.iterdir()} == {0o600}
    assert len(list(cells.glob("*.push"))) == 1
    group.stop()
    assert not list(cells.glob("*.push"))


def test_what_a_notebook_handed_over_goes_with_the_cluster(cluster: Cluster) -> None:
    master(cluster)
    worker(cluster, "def times(x):\n    return x * FACTOR\n", push={"FACTOR": 7})
    cells = cluster.folders.cells
    assert len(list(cells.iterdir())) == 2
    cluster.down()
    assert not list(cells.iterdir())


def test_failed_start_says_why_and_shows_the_cells_own_lines(cluster: Cluster) -> None:
    master(cluster)
    with pytest.raises(StartFailed) as caught:
        worker(cluster, "x = 1\nimport not_there\n")
    assert 'File "<palm_worker foo>", line 2' in caught.value.stderr
    assert "    import not_there" in caught.value.stderr


def test_killed_worker_comes_back(cluster: Cluster) -> None:
    master(cluster)
    group = worker(cluster)
    (pid,) = group.pids
    os.kill(pid, signal.SIGKILL)
    until(lambda: (now := group.status().processes[0]).restarts == 1 and now.state == "ready")
    assert group.pids != (pid,)
    assert group.functions == ("double",)


def test_stop_all_leaves_what_it_was_to_be_looked_at(cluster: Cluster) -> None:
    master(cluster)
    group = worker(cluster, "print('hello')\n" + DOUBLE)
    pids = [*group.pids, *cluster["foo"].pids]
    cluster.stop_all()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert {c.state for c in cluster.status().components} == {"stopped"}
    assert cluster.status().ready, "nothing is wanted, so nothing is missing"
    assert "hello" in group.logs()
    master(cluster)
    assert worker(cluster, "print('hello')\n" + DOUBLE).state == "ready"


def test_logs_of_replicas_are_told_apart_and_can_be_picked(cluster: Cluster) -> None:
    master(cluster)
    source = "import sys\nprint('out \\x1b[31mred')\nprint('oops', file=sys.stderr)\n" + DOUBLE
    group = worker(cluster, source, replicas=2)
    text = until(lambda: (text := group.logs()).count("oops") == 2 and text)
    until(lambda: "push address" in group.logs())
    assert "foo-worker-0 | out red" in text and "foo-worker-1 | out red" in text
    assert sorted(group.logs(stream="stderr").splitlines()) == [
        "foo-worker-0 | oops",
        "foo-worker-1 | oops",
    ]
    assert len(group.logs(n=1, grep="push address").splitlines()) == 1
    assert cluster.logs("foo-worker-0", stream="stderr") == "oops"
    with pytest.raises(ConfigError, match="regular expression"):
        group.logs(grep="(")
    with pytest.raises(ConfigError, match="no such stream"):
        group.logs(stream="stdin")  # type: ignore[arg-type]


def test_scaling_leaves_those_that_stay(cluster: Cluster) -> None:
    master(cluster)
    group = worker(cluster)
    first = group.pids
    group.scale(3).wait_ready()
    assert group.pids[:1] == first and len(group.pids) == 3
    group.scale(1)
    until(lambda: group.pids == first)
    assert cluster.status().ready
    group.scale(0)
    group.scale(2).wait_ready()  # although the one before has just been told to end
    assert len(group.pids) == 2


def test_another_process_finds_components_again(cluster: Cluster) -> None:
    pids = (*master(cluster).pids, *worker(cluster).pids)
    with up() as other:
        assert other.started == ()
        assert (*other["foo"].pids, *other["foo-worker"].pids) == pids
        assert worker(other).change.kind == "kept"
        other.stop_all()
        assert cluster["foo-worker"].state == "stopped" and cluster["foo"].state == "ready"
        other.stop_all(everyone=True)
        assert cluster["foo"].state == "stopped"


def test_component_of_a_shell_is_seen_not_taken_and_can_be_stopped(cluster: Cluster) -> None:
    with in_shell("foo") as pid:
        (seen,) = cluster.status().components
        assert (seen.name, seen.own, seen.state) == ("foo", False, "ready")
        with pytest.raises(ConfigError, match="started elsewhere"):
            cluster.start("master", "foo")
        with pytest.raises(ConfigError, match="was started in a shell"):
            cluster.logs("foo")
        assert master(cluster, "bar").state == "ready"
        cluster.stop("foo")
        until(lambda: not runs(pid))


def test_taking_over_a_name_is_explicit(cluster: Cluster) -> None:
    with in_shell("foo") as pid:
        mine = cluster.start("master", "foo", replace=True).wait_ready()
        assert not runs(pid) and mine.state == "ready"


@contextmanager
def in_shell(name: str) -> Iterator[int]:
    """A master that somebody started in a shell."""
    process = subprocess.Popen(
        [sys.executable, "-m", "palm", "master", "--name", name],
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: read_record(Folders.find(), name))
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        (("snik", "a"), {}, "no role 'snik' .did you mean 'sink'"),
        (("sink", "a", "m"), {}, "whose results does the sink 'a' take"),
        (("hub", "a"), {}, "whose results does the hub 'a' take"),
        (("pipeline", "a"), {"args": ["--previous", "b"]}, "the pipeline 'a' needs a target"),
        (("server", "a", "m"), {"replicas": 2}, "a server cannot have replicas"),
        (("hub", "a", "m"), {"args": ["--previous", "b"]}, "a hub takes no target"),
        (("worker", "a b", "m"), {}, "cannot be the name"),
        (("worker", "a"), {}, "needs a target"),
        (("worker", "a", "m"), {"replicas": 0}, "0 replicas"),
        (("master", "a"), {"replicas": 2}, "replicas"),
        (("master", "a", "m"), {}, "takes no target"),
    ],
)
def test_what_cannot_be_started_is_refused(
    unused: Cluster, arguments: tuple[str, ...], options: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        unused.start(*arguments, **options)  # type: ignore[arg-type]
    assert len(unused) == 0


def test_one_name_is_one_component(cluster: Cluster) -> None:
    master(cluster)
    with pytest.raises(ConfigError, match="is a master here"):
        worker(cluster, name="foo")
    worker(cluster, name="a", replicas=2)
    with pytest.raises(RegistryError, match="'a' has a process 'a-1' too"):
        master(cluster, "a-1")
    with pytest.raises(ConfigError, match="one of the processes of 'a'"):
        cluster.stop("a-1")


def test_unknown_name_comes_with_the_nearest(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="nothing was started yet"):
        cluster["foo"]
    master(cluster)
    for look in (cluster.__getitem__, cluster.stop, cluster.logs):
        with pytest.raises(ConfigError, match="did you mean 'foo'"):
            look("fo")
    assert "foo" in cluster and cluster._ipython_key_completions_() == ["foo"]


# The kernel's client keeps a context, and so threads and descriptors, for the process.
@pytest.mark.no_leak_check("threads", "descriptors")
def test_kernel_serves_and_can_be_looked_into(cluster: Cluster) -> None:
    master(cluster)
    group = worker(cluster, "factor = 2\ndef times(x):\n    return factor * x\n", kernel=True)
    client = BlockingKernelClient(connection_file=group.connection_file)
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(30)
        client.execute_interactive("factor = 10; print('changed', factor)", timeout=30)
    finally:
        client.stop_channels()
    with cluster.client("foo") as palm_client:
        assert palm_client.eval("foo.times", 4) == 40
    until(lambda: "changed 10" in group.logs())
    plain = worker(cluster, "factor = 2\ndef times(x):\n    return factor * x\n")
    assert plain.change.kind == "replaced" and plain.connection_file == ""


def test_ended_cluster_goes_on_with_the_next_start() -> None:
    with local_cluster() as cluster:
        (pid,) = master(cluster).pids
        cluster.down()
        assert not runs(pid) and cluster.folders.run.joinpath("registry.json").exists() is False
        with up() as again:
            assert master(again).state == "ready"
            assert "ready" in again.logs("foo"), "what the first one wrote is there, too"
            again.down()
            assert again.ended and master(again).state == "ready"


@pytest.mark.parametrize("kernel", [False, True], ids=["process", "kernel"])
def test_lease_ends_with_its_last_holder_after_the_linger(cluster_name: str, kernel: bool) -> None:
    folders = Folders.find()
    with up(linger=0) as cluster:
        (pid,) = cluster.start("master", "foo", kernel=kernel).wait_ready().pids
        with up() as other:
            assert len(other.registry.view_cluster(cluster_name).holders) == 2
        cluster.registry.lease(cluster_name, "another notebook", 30.0)
    assert runs(pid), "somebody still holds it"
    found = attach()
    assert found is not None
    with found:
        assert found.registry.view_cluster(cluster_name).holders == ["another notebook"]
        found.registry.release(cluster_name, "another notebook")
        until(lambda: not runs(pid), within=20)
        until(lambda: runner_pid(folders) is None)
