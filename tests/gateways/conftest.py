"""Clusters in threads and in processes, with a gateway or a web server beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from palm.gateways.http import Gateway
from tests.gateways.web import TOKEN, Caller, WebServer
from tests.support.cluster import ThreadCluster
from tests.support.fixtures import cluster, foo, processes

__all__ = ["cluster", "foo", "processes"]


@pytest.fixture
def gateway(cluster: ThreadCluster) -> Callable[..., Caller]:
    """Serve functions behind a gateway, and return who calls them."""

    def serve(*functions: Callable[[Any], Any], **options: Any) -> Caller:
        cluster.master("foo")
        cluster.worker({function.__name__: function for function in functions}, "w")
        served = cluster.serve(Gateway("foo", token=TOKEN, **options))
        assert isinstance(served.component, Gateway)
        return Caller(served.component.url, served=served)

    return serve


@pytest.fixture
def web() -> Iterator[Callable[..., WebServer]]:
    """Run WSGI applications on a threading server of the standard library."""
    servers: list[WebServer] = []

    def run(application: Any, port: int = 0) -> WebServer:
        server = WebServer(application, port)
        servers.append(server)
        return server

    yield run
    for server in servers:
        server.close()
