"""A registry in a thread, and who talks to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.registry_api.client import RegistryClient
from tests.support.registry import Browser, RegistryProcess, RegistryThread, Runner


@pytest.fixture
def registry(palm_home: Path) -> Iterator[RegistryThread]:
    running = RegistryThread(palm_home).start()
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
def process(palm_home: Path) -> Iterator[RegistryProcess]:
    """A registry in a process of its own, yet to be started."""
    running = RegistryProcess(palm_home)
    yield running
    if running.process is not None and running.process.poll() is None:
        running.kill()
