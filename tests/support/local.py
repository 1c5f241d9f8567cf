"""Local clusters of tests: they are ended, with their runners, when the test is over.

A registry takes longer to start than all else that a test needs, so those that a test does not
harm serve all tests of a module: `SharedRegistry`.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from palm.clusters import Cluster, attach, up
from palm.runner.local import runner_pid
from palm.runner.registry import ensure_registry, find_registry, read_registry
from palm.runtime.folders import Folders
from tests.support.cluster import until
from tests.support.folders import use_folders
from tests.support.leaks import KINDS, LeakCheck
from tests.support.shell import running

#: A cluster without components that keeps the registry when that of a test ends.
KEPT = "kept"


class SharedRegistry:
    """A registry, in folders of its own, for tests that each have a cluster to themselves.

    It is this user's registry only while a test has its `cluster`.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._names = (f"t{number:03}" for number in itertools.count(1))
        with self._environment() as environment:
            environment.setenv("PALM_CLUSTER", KEPT)
            with ensure_registry(Folders.find()) as client:
                client.create_cluster(KEPT)
            self._pid = self._running_pid()

    @contextmanager
    def cluster(self, kinds: Collection[str] = KINDS) -> Iterator[str]:
        """A name of a cluster, to be started; fails if anything of these kinds stays behind."""
        name = next(self._names)
        with self._environment() as environment:
            environment.setenv("PALM_CLUSTER", name)
            before = alive_clusters()
            check = LeakCheck(self.home, shared=running(self.home))
            yield name
            # A runner that is about to start does not see that the cluster has ended already.
            until(lambda: runner_pid(Folders.find()) or not running(self.home, "runner", name))
            end_cluster(name)
            _fail_for(check, [kind for kind in kinds if kind != "threads"])
            assert self._running_pid() == self._pid, "the test ended a registry that it shares"
            assert set(alive_clusters()) <= {*before}, "the test left clusters behind"

    @contextmanager
    def again(self, name: str, *kept: str) -> Iterator[None]:
        """A cluster that is there, for one test of several: only components ``kept`` stay.

        What a component is started with is part of it, so the name of the test is hidden: else
        each test would have those that are kept replaced.
        """
        with self._environment() as environment:
            environment.setenv("PALM_CLUSTER", name)
            environment.delenv("PYTEST_CURRENT_TEST", raising=False)
            yield
            with up(hold=False) as cluster:
                pids = [self._pid]
                for component in cluster:
                    if component.name in kept:
                        pids += component.pids
                    else:
                        component.stop(grace=1.0)
                        cluster.remove(component.name)
                pids += self._runner_pids(cluster.folders)
            check = LeakCheck(self.home, shared=pids)
            _fail_for(check, ("processes",))

    def _runner_pids(self, folders: Folders) -> list[int]:
        """The runner of a cluster, and the one fork server that it has as long as it runs."""
        runner = runner_pid(folders)
        if runner is None:
            return []
        children = [child.pid for child in psutil.Process(runner).children()]
        servers = {*running(self.home, "palm.runner.forkserver")} & {*children}
        return [runner, *sorted(servers)[:1]]

    def close(self) -> None:
        """End it."""
        with self._environment():
            end_cluster(KEPT)

    @contextmanager
    def _environment(self) -> Iterator[pytest.MonkeyPatch]:
        with pytest.MonkeyPatch.context() as environment:
            use_folders(environment, self.home)
            yield environment

    def _running_pid(self) -> int | None:
        record = read_registry(Folders.find())
        return record.pid if record is not None and record.is_running else None


def _fail_for(check: LeakCheck, kinds: Collection[str]) -> None:
    leaks = check.found(kinds)
    if leaks:
        check.end_processes()
        pytest.fail("the cluster left behind:\n  " + "\n  ".join(leaks), pytrace=False)


@contextmanager
def local_cluster() -> Iterator[Cluster]:
    """A cluster, its registry and its runner."""
    with up() as cluster:
        try:
            yield cluster
        finally:
            end_clusters()


def end_clusters() -> None:
    """End all clusters in the folders of the test, their runners and their registry."""
    for name in alive_clusters() or [Folders.find().cluster]:
        end_cluster(name)


def alive_clusters() -> list[str]:
    """The clusters in the folders of the test that are not ended; starts a killed registry."""
    client = find_registry(Folders.find(), revive=True)
    if client is None:
        return []
    with client:
        return [info.key for info in client.cluster_list() if info.state != "ended"]


def end_cluster(name: str) -> None:
    cluster = attach(name)
    if cluster is not None:
        with cluster:
            cluster.down(grace=1.0)
