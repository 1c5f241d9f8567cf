"""Components in real processes: started, kept, replaced, seen, stopped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from palm.clusters import CellSource, Cluster, Component
from palm.errors import ConfigError
from palm.spec.process import StartFailed
from tests.support.cluster import until

pytestmark = pytest.mark.slow

DOUBLE = "def double(x):\n    return 2 * x\n"


@pytest.fixture
def cluster(palm_home: Path) -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


def master(cluster: Cluster, name: str = "foo") -> Component:
    return cluster.start("master", name).wait_ready()


def worker(cluster: Cluster, source: str = DOUBLE, **options: object) -> Component:
    pushed = CellSource.pack(options.pop("push", {}))  # type: ignore[arg-type]
    target = CellSource(source, "<palm_worker foo>", pushed)
    name = str(options.pop("name", "foo-worker"))
    options.setdefault("args", ("--master", "foo"))
    return cluster.start("worker", name, target, **options).wait_ready()  # type: ignore[arg-type]


def test_cell_is_served_and_its_client_is_at_hand(cluster: Cluster) -> None:
    assert master(cluster).state == "ready"
    group = worker(cluster, replicas=2)
    assert (group.functions, group.replicas, len(group.pids)) == (("double",), 2, 2)
    assert cluster["foo"].endpoints
    with cluster.client("foo") as client:
        assert client.eval("foo.double", 21) == 42
    status = cluster.status()
    assert status.ready and status.missing == 0
    frame = status.to_frame()
    assert list(frame.index) == ["foo", "foo-worker-0", "foo-worker-1"]
    assert set(frame["state"]) == {"ready"} and frame["started"].notna().all()


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
    again = worker(cluster, "def triple(x):\n    return 3 * x\n", replicas=2, replace=True)
    assert again.change.kind == "replaced" and not set(again.pids) & set(group.declared.instances)


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


def test_pushed_values_of_a_dead_process_are_removed(cluster: Cluster) -> None:
    left = cluster.folders.cells / "0123456789abcdef.999999999-1.push"
    left.write_bytes(b"secret")
    odd = cluster.folders.cells / "odd.push"
    odd.write_bytes(b"?")
    with Cluster(folders=cluster.folders):
        assert not left.exists() and not odd.exists()


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
    assert worker(cluster_with_master(cluster), "print('hello')\n" + DOUBLE).state == "ready"


def cluster_with_master(cluster: Cluster) -> Cluster:
    master(cluster)
    return cluster


def test_logs_of_replicas_are_told_apart_and_can_be_picked(cluster: Cluster) -> None:
    master(cluster)
    source = "import sys\nprint('out \\x1b[31mred')\nprint('oops', file=sys.stderr)\n" + DOUBLE
    group = worker(cluster, source, replicas=2)
    text = group.logs()
    assert "foo-worker-0 | out red" in text and "foo-worker-1 | out red" in text
    assert text.index("--- stderr ---") < text.index("oops")
    assert group.logs(stream="stderr").splitlines() == [
        "foo-worker-0 | oops",
        "foo-worker-1 | oops",
    ]
    assert len(group.logs(n=1, grep="push address").splitlines()) == 1
    assert cluster.logs("foo-worker-0", stream="stderr") == "oops"
    with pytest.raises(ConfigError, match="regular expression"):
        group.logs(grep="(")


def test_scaling_leaves_those_that_stay(cluster: Cluster) -> None:
    master(cluster)
    group = worker(cluster)
    first = group.pids
    group.scale(3).wait_ready()
    assert group.pids[:1] == first and len(group.pids) == 3
    group.scale(1)
    until(lambda: group.pids == first)
    assert cluster.status().missing == 0


def test_components_of_others_are_seen_not_taken_and_can_be_stopped(cluster: Cluster) -> None:
    with Cluster(folders=cluster.folders) as other:
        master(other)
        (seen,) = cluster.status().components
        assert (seen.name, seen.own, seen.state) == ("foo", False, "ready")
        with pytest.raises(ConfigError, match="started elsewhere"):
            cluster.start("master", "foo")
        assert master(cluster, "bar").state == "ready"
        cluster.stop("foo")
        until(lambda: other["foo"].state == "stopped")


def test_taking_over_a_name_is_explicit(cluster: Cluster) -> None:
    with Cluster(folders=cluster.folders) as other:
        (pid,) = master(other).pids
        mine = cluster.start("master", "foo", replace=True).wait_ready()
        assert not psutil.pid_exists(pid) and mine.state == "ready"


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        (("sink", "a"), {}, "no role 'sink' yet"),
        (("worker", "a b", "m"), {}, "cannot be the name"),
        (("worker", "a"), {}, "needs a target"),
        (("worker", "a", "m"), {"replicas": 0}, "0 replicas"),
        (("master", "a"), {"replicas": 2}, "replicas"),
        (("master", "a", "m"), {}, "takes no target"),
        (("master", "a"), {"kernel": True}, "not available yet"),
        (("master", "a"), {"node": "n"}, "not available yet"),
    ],
)
def test_what_cannot_be_started_is_refused(
    cluster: Cluster, arguments: tuple[str, ...], options: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        cluster.start(*arguments, **options)  # type: ignore[arg-type]
    assert len(cluster) == 0


def test_one_name_is_one_component(cluster: Cluster) -> None:
    master(cluster)
    with pytest.raises(ConfigError, match="is a master here"):
        worker(cluster, name="foo")
    worker(cluster, name="a", replicas=2)
    with pytest.raises(ConfigError, match="process of 'a' already"):
        master(cluster, "a-1")


def test_unknown_name_comes_with_the_nearest(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="nothing was started yet"):
        cluster["foo"]
    master(cluster)
    for look in (cluster.__getitem__, cluster.stop, cluster.logs):
        with pytest.raises(ConfigError, match="did you mean 'foo'"):
            look("fo")
    assert "foo" in cluster and cluster._ipython_key_completions_() == ["foo"]
