"""Local clusters of tests: they are ended, with runner and registry, when the test is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from palm.clusters import Cluster, attach, up
from palm.runner.registry import find_registry
from palm.runtime.folders import Folders


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
    folders = Folders.find()
    client = find_registry(folders, revive=True)
    if client is None:
        return
    with client:
        names = [info.key for info in client.cluster_list() if info.state != "ended"]
    for name in names or [folders.cluster]:
        end_cluster(name)


def end_cluster(name: str) -> None:
    cluster = attach(name)
    if cluster is not None:
        with cluster:
            cluster.down(grace=1.0)
