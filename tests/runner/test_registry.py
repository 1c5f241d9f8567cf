"""Whoever misses the registry starts it again, and nobody starts a second one."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from palm.files import privatefile
from palm.runner import registry as module
from palm.runner.registry import ensure_registry, read_registry, revive_registry
from palm.runtime.folders import Folders
from tests.support.cluster import until
from tests.support.local import end_clusters

pytestmark = pytest.mark.slow


@pytest.fixture
def killed(palm_home: Path) -> Iterator[Folders]:
    """Folders whose registry was killed with -9."""
    folders = Folders.find()
    with ensure_registry(folders) as client:
        client.create_cluster(folders.cluster)
    record = read_registry(folders)
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    until(lambda: not record.is_running)
    yield folders
    end_clusters()


def test_killed_registry_is_started_once_though_many_miss_it(killed: Folders) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(revive_registry, [killed] * 4))
    assert len({record.pid for record in found if record is not None}) == 1
    assert all(record is not None and record.is_running for record in found)
    log = (killed.state / "registry.log").read_text()
    assert "a registry runs already" not in log
    assert log.count("listens on") == 2


def test_registry_is_started_all_the_same_when_who_is_to_start_it_hangs(
    killed: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TURN", 0.2)
    fd = privatefile.open_lock(killed.state / "registry-start.lock")
    fcntl.flock(fd, fcntl.LOCK_EX)
    record = revive_registry(killed)
    os.close(fd)
    assert record is not None
    assert record.is_running
