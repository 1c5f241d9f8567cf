"""Fixtures of clusters; the conftest.py of a folder imports those it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from palm.clients import Client
from tests.support.cluster import ProcessCluster, ThreadCluster

__all__ = ["cluster", "foo", "processes"]


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
