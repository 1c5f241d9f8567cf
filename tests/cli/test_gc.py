"""What dead processes left is found and removed; what is in use, or not stored yet, stays."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from palm.clients import Client
from palm.clusters import Leftovers, attach, leftovers
from palm.clusters.leftovers import YOUNG, remove_socket
from palm.registry_api import RegistryClient
from palm.runner.local import runner_pid
from palm.runner.registry import find_registry
from palm.runner.spool import list_spools
from palm.runtime.folders import Folders, socket_path
from palm.runtime.records import is_running, last_record, process_start_time, read_record
from tests.cli.conftest import WORK, Shell, wait_for_line
from tests.support.cluster import ThreadCluster, until


def age(folder: Path) -> None:
    """Let files look as if they had been there for a while."""
    then = time.time() - 10 * YOUNG
    for path in folder.rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)


def removed(shell: Shell, *options: str) -> dict[str, list[dict[str, Any]]]:
    found = json.loads(shell.palm("gc", "--json", *options).stdout)
    kinds: dict[str, list[dict[str, Any]]] = {}
    for each in found["removed"]:
        kinds.setdefault(each["kind"], []).append(each)
    return kinds


def registry() -> RegistryClient:
    client = find_registry(Folders.find())
    assert client is not None
    return client


def test_empty_folders_have_nothing_to_remove(shell: Shell) -> None:
    assert "nothing is left of the dead" in shell.palm("gc").stdout


@pytest.mark.slow
def test_what_a_killed_component_left_goes_and_its_neighbour_stays(shell: Shell) -> None:
    folders = Folders.find()
    dead, alive = shell.start("master", "--name", "dead"), shell.start("master", "--name", "alive")
    for process in (dead, alive):
        wait_for_line(process, "ready")
    until(lambda: read_record(folders, "dead") and read_record(folders, "alive"))
    sockets = [socket_path(folders, name, "") for name in ("dead", "alive")]
    dead.kill()
    dead.wait(10)
    assert removed(shell) == {}, "it is as young as what is about to start"
    age(folders.run)
    assert {*removed(shell, "--dry-run")} == {"record", "socket"}
    assert last_record(folders, "dead") and sockets[0].exists(), "it was only shown"

    shown = shell.palm("gc").stdout
    assert "its process is gone" in shown
    assert "nobody listens" in shown
    assert not last_record(folders, "dead")
    assert [path.exists() for path in sockets] == [False, True]
    assert [each["name"] for each in shell.status()] == ["alive"]
    assert removed(shell) == {}


@pytest.mark.slow
@pytest.mark.no_leak_check("processes")
def test_processes_that_nobody_wants_are_ended_and_no_others(shell: Shell) -> None:
    folders = Folders.find()
    shell.palm("master", "--name", "foo", "-d")
    pid = shell.processes()["foo"]["pid"]
    start = process_start_time(pid) or 0.0
    runner = runner_pid(folders)
    assert runner is not None
    assert removed(shell) == {}, "a runner looks after it"
    os.kill(runner, signal.SIGKILL)
    until(lambda: runner_pid(folders) is None)
    assert "process" not in removed(shell), "its cluster goes on, and the next runner adopts it"
    assert is_running(pid, start)

    with registry() as client:
        client.end_cluster("default")
    assert [each["pid"] for each in removed(shell, "--dry-run")["process"]] == [pid]
    assert is_running(pid, start), "it was only shown"
    assert f"foo (pid {pid})" in shell.palm("gc").stdout
    assert not is_running(pid, start)


@pytest.mark.slow
def test_stored_output_goes_with_its_cluster_and_other_output_stays(shell: Shell) -> None:
    folders = Folders.find()
    shell.palm("master", "--name", "foo", "-d")
    shell.palm("worker", shell.write("work.py", WORK), "--master", "foo", "--name", "w", "-d")
    assert "output" not in removed(shell), "they run"
    shell.palm("down")
    spools = {state.name: (spool, state) for spool, state in list_spools(folders.spool)}
    for spool, state in spools.values():
        state.started -= 10 * YOUNG
        spool.write_state(state)
    unstored = spools["w-0"][0]
    with unstored.path("stdout").open("ab") as file:
        file.write(b"the last words\n")

    assert [each["name"] for each in removed(shell)["output"]] == [spools["foo"][0].instance]
    assert not spools["foo"][0].folder.exists()
    assert unstored.tail("stdout", 1) == "the last words\n"
    assert "no registry has stored" in shell.palm("gc").stdout
    assert "ready" in shell.palm("logs", "foo").stdout, "the registry has it"


@pytest.mark.slow
def test_files_of_an_ended_cluster_go_and_those_of_one_that_goes_on_stay(shell: Shell) -> None:
    shell.palm("up", "--cluster", "one")
    shell.palm("up", "--cluster", "two")
    files = {}
    for name in ("one", "two"):
        files[name] = Folders.find(cluster=name).cells / "cell.py"
        files[name].write_text("def f(x): return x")
    old = Folders.find().state / "registry.log.old"
    old.write_text("long ago")
    age(Folders.find().run)
    os.utime(old, (1, 1))
    cluster = attach("one")
    assert cluster is not None
    runner = runner_pid(cluster.folders)
    assert runner is not None
    os.kill(runner, signal.SIGKILL)  # it would clear its cells away itself
    with cluster:
        until(lambda: runner_pid(cluster.folders) is None)
        cluster.registry.end_cluster("one")
    found = removed(shell)
    assert [each["cluster"] for each in found["cell"]] == ["one"]
    assert [each["path"] for each in found["log"]] == [str(old)]
    assert not files["one"].exists()
    assert files["two"].exists()


@pytest.mark.slow
@pytest.mark.no_leak_check("processes")
def test_files_of_a_killed_kernel_go_and_those_of_one_that_runs_stay(shell: Shell) -> None:
    shell.palm("master", "--name", "dead", "--kernel", "-d")
    shell.palm("master", "--name", "alive", "--kernel", "-d")
    folders = Folders.find()
    runner, pid = runner_pid(folders), shell.processes()["dead"]["pid"]
    assert runner is not None
    start = process_start_time(pid) or 0.0
    os.kill(runner, signal.SIGKILL)  # it would clear them away itself
    until(lambda: runner_pid(folders) is None)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_running(pid, start))
    age(folders.run)
    assert [each["name"] for each in removed(shell)["kernel"]] == ["dead.json"]
    kernels = folders.run / "default" / "kernels"
    assert [path.name for path in kernels.iterdir()] == ["alive.json"]
    shell.palm("up")
    until(lambda: shell.processes()["alive"]["state"] == "ready", within=60)


def test_clearing_away_all_the_time_disturbs_nobody(palm_home: Path) -> None:
    cluster, over, errors = ThreadCluster(), threading.Event(), []
    dead = cluster.folders.sockets / "dead"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(dead))

    def clear() -> None:
        leftovers = Leftovers(cluster.folders, lambda _: "ended", young=0.05)
        while not over.is_set():
            try:
                leftovers.clear(leftovers.find())
            except Exception as error:  # noqa: BLE001 - the test looks at it
                errors.append(error)

    threads = [threading.Thread(target=clear) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(12):
            master = cluster.master("foo")
            with Client("foo", connect_timeout=20) as client:
                client.set(number, "number")
                assert client.get("number") == number
            master.stop()
        until(lambda: not dead.exists())
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
        cluster.close()
    assert errors == []


def test_socket_that_is_bound_at_the_moment_of_its_removal_stays(
    palm_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = palm_home / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    live = socket.socket(socket.AF_UNIX)

    def look(path: Path) -> bool:
        # As libzmq does: what is there goes, and a new one comes.
        path.unlink()
        live.bind(str(path))
        live.listen()
        return False

    monkeypatch.setattr(leftovers, "is_listening", look)
    with live, socket.socket(socket.AF_UNIX) as peer:
        assert remove_socket(path) is False
        peer.connect(str(path))
    assert [each.name for each in palm_home.iterdir() if each.name != "state"] in (
        ["socket"], ["run", "socket"], ["socket", "run"],
    )  # fmt: skip


def test_socket_of_a_dead_process_is_removed(palm_home: Path) -> None:
    path = palm_home / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert remove_socket(path) is True
    assert not path.exists()
