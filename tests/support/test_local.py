"""A registry that tests share: what one of them leaves there fails that one."""

from __future__ import annotations

import subprocess
from functools import partialmethod

import psutil
import pytest

from palm.clusters import up
from palm.runner.local import runner_pid
from palm.runner.registry import find_registry
from palm.runtime.folders import Folders
from tests.support.cluster import until
from tests.support.fixtures import shared_registry
from tests.support.leaks import LeakCheck
from tests.support.local import SharedRegistry, end_cluster
from tests.support.shell import running

__all__ = ["shared_registry"]

pytestmark = pytest.mark.slow


def test_process_that_is_left_fails_the_test(
    shared_registry: SharedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LeakCheck, "found", partialmethod(LeakCheck.found, within=0.5))
    left = "left behind:\n  process .*: sleep 60"
    with pytest.raises(pytest.fail.Exception, match=left), shared_registry.cluster():
        process = subprocess.Popen(["sleep", "60"])
    process.wait(5)
    assert not psutil.pid_exists(process.pid), "it is ended, too"


def test_cluster_that_is_kept_keeps_its_runner_and_fork_server_and_nothing_else(
    shared_registry: SharedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = shared_registry.home
    with shared_registry.cluster() as name:
        with shared_registry.again(name):
            up(hold=False).close()
            until(lambda: runner_pid(Folders.find()) is not None)
            until(lambda: bool(running(home, "palm.runner.forkserver")))
        kept = running(home)
        left = r"left behind:\n  process \d+ \(\w+\): sleep 60$"
        with monkeypatch.context() as soon:  # the end of the cluster takes its time
            soon.setattr(LeakCheck, "found", partialmethod(LeakCheck.found, within=0.5))
            with pytest.raises(pytest.fail.Exception, match=left), shared_registry.again(name):
                process = subprocess.Popen(["sleep", "60"])
        process.wait(5)
        assert running(home) == kept


def test_cluster_that_is_left_fails_the_test(shared_registry: SharedRegistry) -> None:
    with pytest.raises(AssertionError, match="left clusters behind"), shared_registry.cluster():
        create_cluster("left")
    with shared_registry.cluster():
        end_cluster("left")


def create_cluster(name: str) -> None:
    client = find_registry(Folders.find())
    assert client is not None
    with client:
        client.create_cluster(name)


def test_each_test_has_a_cluster_of_its_own(shared_registry: SharedRegistry) -> None:
    names = []
    for _ in range(2):
        with shared_registry.cluster() as name:
            assert Folders.find().cluster == name
            names.append(name)
    assert len(set(names)) == 2
    assert Folders.find().cluster not in names
