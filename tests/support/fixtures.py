"""Fixtures of clusters; the conftest.py of a folder imports those it uses."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from palm.clients import Client
from tests.support.cluster import ProcessCluster, ThreadCluster
from tests.support.leaks import checked_kinds
from tests.support.local import SharedRegistry

__all__ = ["cluster", "cluster_name", "foo", "processes", "shared_registry"]


@pytest.fixture
def cluster(palm_home: Path) -> Iterator[ThreadCluster]:
    """A cluster in threads of this process, with nothing in it yet."""
    cluster = ThreadCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def processes(palm_home: Path, tmp_path: Path) -> Iterator[ProcessCluster]:
    """A cluster in processes of their own, with nothing in it yet."""
    cluster = ProcessCluster(tmp_path)
    yield cluster
    cluster.close()


@pytest.fixture
def foo(cluster: ThreadCluster) -> Callable[..., Client]:
    """Serve functions at a master called foo, and return a client of it."""

    def serve(*functions: Callable[[Any], Any], **options: Any) -> Client:
        cluster.master("foo")
        cluster.worker({function.__name__: function for function in functions}, "w")
        return cluster.client("foo", **options)

    return serve


@pytest.fixture(scope="module")
def shared_registry(session_home: Path) -> Iterator[SharedRegistry]:
    """A registry for the local clusters of a module."""
    # Within the session's own folder, which is looked at when all is over.
    home = session_home / "m"
    registry = SharedRegistry(home)
    yield registry
    registry.close()
    shutil.rmtree(home)


@pytest.fixture
def cluster_name(
    request: pytest.FixtureRequest, shared_registry: SharedRegistry, palm_home: Path
) -> Iterator[str]:
    """The name of a local cluster that nobody else uses, for the test to start."""
    with shared_registry.cluster(checked_kinds(request.node)) as name:
        yield name
