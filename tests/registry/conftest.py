"""A registry in a thread, and who talks to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.registry_api.client import RegistryClient
from tests.support.postgres import database_url, own_server, postgres_server
from tests.support.registry import Browser, RegistryProcess, RegistryThread, Runner

__all__ = ["database_url", "own_server", "postgres_server"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `both_databases` on both, if it has a database at all."""
    marked = metafunc.definition.get_closest_marker("both_databases")
    if marked and "database_url" in metafunc.fixturenames:
        postgresql = pytest.param("postgresql", marks=pytest.mark.postgres, id="postgresql")
        kinds = [pytest.param("", id="sqlite"), postgresql]
        metafunc.parametrize("database_url", kinds, indirect=True)


@pytest.fixture
def registry(palm_home: Path, database_url: str) -> Iterator[RegistryThread]:
    running = RegistryThread(palm_home, database=database_url).start()
    yield running
    running.stop()


@pytest.fixture
def client(registry: RegistryThread) -> Iterator[RegistryClient]:
    with registry.client() as client:
        client.create_cluster("c")
        yield client


@pytest.fixture
def browser(registry: RegistryThread) -> Browser:
    """Somebody without a token."""
    return Browser(registry.url)


@pytest.fixture
def runner(client: RegistryClient) -> Runner:
    return Runner(client, "c").join()


@pytest.fixture
def process(palm_home: Path, database_url: str) -> Iterator[RegistryProcess]:
    """A registry in a process of its own, yet to be started."""
    running = RegistryProcess(palm_home, *(("--db", database_url) if database_url else ()))
    yield running
    if running.process is not None and running.process.poll() is None:
        running.kill()
